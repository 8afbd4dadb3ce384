/* SPDX-License-Identifier: Apache-2.0 */
#include "jsonx.h"

#include "auto.h"
#include "fs.h"
#include "utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

const char *jsonx_type_name(json_type t)
{
	static const char *const names[] = {"object", "array",   "string",  "integer",
					    "real",   "boolean", "boolean", "null"};
	return names[t];
}

json_t *jsonx_parse(const char *data, size_t len, const char *what, struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(data ? data : "", len, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		return err_set_p(e, ERR_BAD_INPUT, "%s:%d:%d: %s", what, je.line, je.column,
				 je.text);
	return j;
}

json_t *jsonx_read_at(int dirfd, const char *name, size_t limit, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(limit);
	if (fs_read_at(dirfd, name, &b, e) < 0)
		return NULL;
	return jsonx_parse(b.data, b.len, name, e);
}

static int replace(int dirfd, const char *name, mode_t mode, const json_t *j, size_t limit,
		   int fs_flags, struct err *e)
{
	AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_BAD_INPUT, "%s: cannot be written as JSON", name);
	size_t len = strlen(text);
	if (len >= limit)
		return err_set(e, ERR_EXHAUSTED, "%s: %zu bytes are more than %zu", name, len,
			       limit);
	text[len] = '\n'; /* the terminator's place: the length says where the text ends */
	return fs_replace_file_at(dirfd, name, mode, text, len + 1, fs_flags, e);
}

int jsonx_replace_at(int dirfd, const char *name, mode_t mode, const json_t *j, int fs_flags,
		     struct err *e)
{
	return replace(dirfd, name, mode, j, SIZE_MAX, fs_flags, e);
}

int jsonx_replace_bounded_at(int dirfd, const char *name, mode_t mode, const json_t *j,
			     size_t limit, struct err *e)
{
	return replace(dirfd, name, mode, j, limit, 0, e);
}

int jsonx_create_at(int dirfd, const char *name, mode_t mode, const json_t *j, size_t limit,
		    struct err *e)
{
	return replace(dirfd, name, mode, j, limit, FS_NEW, e);
}

json_t *jsonx_get(json_t *j, const char *what, json_type type, struct err *e, ...)
{
	char path[256] = "";
	size_t at = 0;
	const char *key;
	va_list ap;
	va_start(ap, e);
	while (j && (key = va_arg(ap, const char *))) {
		int n = snprintf(path + at, sizeof path - at, "%s%s", at ? "." : "", key);
		at += n > 0 && (size_t)n < sizeof path - at ? (size_t)n : 0;
		j = json_object_get(j, key);
	}
	va_end(ap);
	if (!j)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s: missing", what, path);
	if (json_typeof(j) != type)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s%sexpected %s, found %s", what, path,
				 *path ? ": " : "", jsonx_type_name(type),
				 jsonx_type_name(json_typeof(j)));
	return j;
}

const char *jsonx_string(json_t *j, const char *what, const char *key, struct err *e)
{
	const json_t *v = jsonx_get(j, what, JSON_STRING, e, key, NULL);
	return v ? json_string_value(v) : NULL;
}

int jsonx_int(json_t *j, const char *what, const char *key, json_int_t *out, struct err *e)
{
	const json_t *v = jsonx_get(j, what, JSON_INTEGER, e, key, NULL);
	if (!v)
		return -1;
	*out = json_integer_value(v);
	return 0;
}

const char *jsonx_opt_string(json_t *j, const char *key, const char *fallback)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : fallback;
}

json_int_t jsonx_opt_int(json_t *j, const char *key, json_int_t fallback)
{
	const json_t *v = json_object_get(j, key);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool jsonx_opt_bool(json_t *j, const char *key, bool fallback)
{
	const json_t *v = json_object_get(j, key);
	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static int check_strings(json_t *v, const char *what, const char *key, struct err *e)
{
	size_t i;
	const char *name;
	json_t *item;
	json_array_foreach (v, i, item)
		if (!json_is_string(item))
			return err_set(e, ERR_BAD_INPUT, "%s: %s[%zu]: expected string, found %s",
				       what, key, i, jsonx_type_name(json_typeof(item)));
	json_object_foreach (v, name, item)
		if (!json_is_string(item))
			return err_set(e, ERR_BAD_INPUT, "%s: %s.%.80s: expected string, found %s",
				       what, key, name, jsonx_type_name(json_typeof(item)));
	return 0;
}

static int check_key(const char *name, json_t *v, const char *what, const struct jsonx_key *keys,
		     struct err *e)
{
	while (keys->name && strcmp(keys->name, name) != 0)
		keys++;
	if (!keys->name)
		return err_set(e, ERR_BAD_INPUT, "%s: %.80s: unknown key", what, name);
	json_type type = json_is_false(v) ? JSON_TRUE : json_typeof(v);
	if (keys->type != JSON_NULL && type != keys->type)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: expected %s, found %s", what, name,
			       jsonx_type_name(keys->type), jsonx_type_name(type));
	return keys->flags & JSONX_STRINGS ? check_strings(v, what, name, e) : 0;
}

int jsonx_check_keys(json_t *j, const char *what, const struct jsonx_key *keys, struct err *e)
{
	const char *name;
	json_t *v;
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "%s: expected object, found %s", what,
			       j ? jsonx_type_name(json_typeof(j)) : "nothing");
	json_object_foreach (j, name, v)
		if (check_key(name, v, what, keys, e) < 0)
			return -1;
	for (; keys->name; keys++)
		if ((keys->flags & JSONX_REQUIRED) && !json_object_get(j, keys->name))
			return err_set(e, ERR_BAD_INPUT, "%s: %s: missing", what, keys->name);
	return 0;
}

bool jsonx_has_string(const json_t *list, const char *word)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v)
		if (json_is_string(v) && strcmp(json_string_value(v), word) == 0)
			return true;
	return false;
}

json_t *jsonx_error_event(const struct err *e, int status)
{
	char escaped[4 * sizeof e->msg];
	const char *msg = e->msg;
	if (!utf8_valid(msg, strlen(msg))) {
		utf8_escape(msg, escaped, sizeof escaped);
		msg = escaped;
	}
	return json_pack("{s:s, s:s, s:i, s:s}", "event", "error", "code", err_name(e), "exit",
			 status, "msg", msg);
}
