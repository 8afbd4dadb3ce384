/* SPDX-License-Identifier: Apache-2.0 */
#include "redact.h"

#include "auto.h"
#include "base64.h"
#include "jsonx.h"
#include "redact_rules.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LIST_MAX = 1000, LEARNED_MAX = 4096, NEST_MAX = 4, PATH_SIZE = 512, TICKET_MIN = 8 };

struct redactor {
	struct redact_known known;
	json_t *list;
	json_int_t more;
	unsigned long found;
	bool is_studying; /* the document is a copy: nothing is listed */
	int nested;       /* documents within strings */
	size_t len;
	char path[PATH_SIZE]; /* "DOCUMENT: a.b[2]"; what is too long loses its tail */
};

struct redactor *redactor_new(size_t max_learned)
{
	struct redactor *r = xcalloc(1, sizeof *r);
	r->known.max = max_learned ? max_learned : LEARNED_MAX;
	r->list = json_array();
	return r;
}

void redactor_free(struct redactor *r)
{
	if (!r)
		return;
	redact_known_release(&r->known);
	json_decref(r->list);
	free(r);
}

void redactor_number(struct redactor *r)
{
	if (!r->known.numbers)
		r->known.numbers = json_object();
}

void redactor_spare(struct redactor *r, const char *text)
{
	struct redact_known *k = &r->known;
	size_t len = strlen(text);
	if (!k->spared)
		k->spared = json_object();
	(void)json_object_set_new(k->spared, text, json_true());
	k->names = xrealloc(k->names, k->names_len + len + 1);
	memcpy(k->names + k->names_len, text, len);
	k->names[k->names_len + len] = '\n';
	k->names_len += len + 1;
}

void redactor_learn(struct redactor *r, const char *value, size_t len)
{
	redact_known_add(&r->known, value, len);
}

void redactor_learn_lines(struct redactor *r, const char *text, size_t len)
{
	enum { LINE_MIN = 12 };
	redactor_learn(r, text, len);
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - (text + at)) : len - at;
		bool head = n > 5 && memcmp(text + at, "-----", 5) == 0;
		if (n >= LINE_MIN && n < len && !head)
			redactor_learn(r, text + at, n);
		at += n + 1;
	}
}

bool redactor_knows(const struct redactor *r, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (redact_known_at(&r->known, text + i, len - i))
			return true;
	return false;
}

json_t *redactor_list(struct redactor *r)
{
	if (r->more)
		json_array_append_new(r->list, json_pack("{s:I}", "more", r->more));
	r->more = 0;
	return r->list;
}

void redactor_forget_list(struct redactor *r)
{
	json_array_clear(r->list);
	r->more = 0;
}

/* token: of what was taken out; NULL = of several. */
static void note(struct redactor *r, const char *why, const char *token)
{
	const char *number = token ? strchr(token, ':') : NULL;
	r->found++;
	if (r->is_studying)
		return;
	if (json_array_size(r->list) >= LIST_MAX)
		r->more++;
	else /* NULL, and nothing, when the path is cut within a character */
		json_array_append_new(
			r->list,
			json_pack("{s:s%,s:s,s:o*}", "where", r->path, r->len, "why", why, "value",
				  number ? json_integer(strtol(number + 1, NULL, 10)) : NULL));
}

/* Each returns the path's former length. */
static size_t enter(struct redactor *r, const char *prefix, const char *name, size_t i)
{
	size_t before = r->len;
	int n = name ? snprintf(r->path + r->len, sizeof r->path - r->len, "%s%s", prefix, name)
		     : snprintf(r->path + r->len, sizeof r->path - r->len, "[%zu]", i);
	if (n > 0)
		r->len += (size_t)n;
	if (r->len >= sizeof r->path)
		r->len = sizeof r->path - 1;
	return before;
}

static void leave(struct redactor *r, size_t before)
{
	r->len = before;
	r->path[before] = '\0';
}

static const char *key_prefix(const struct redactor *r)
{
	return r->len && r->path[r->len - 1] != ' ' ? "." : "";
}

/* The text of a value; bytes that are no text stand as {"base64"} (pbjson.h). */
static const char *text_of(const json_t *v)
{
	return json_is_string(v) ? json_string_value(v)
				 : json_string_value(json_object_get(v, "base64"));
}

/* As it is, in base64, and as JSON writes it. */
static void learn_forms(struct redactor *r, const char *s, size_t len)
{
	AUTO_FREE char *b64 = len ? base64_encode(s, len) : NULL;
	AUTO_JSON json_t *j = json_stringn(s, len);
	AUTO_FREE char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
	size_t n = text ? strlen(text) : 0;
	size_t before = r->known.n;
	redactor_learn(r, s, len);
	/* What is spared is so in any form. */
	if (r->known.n == before)
		return;
	if (b64)
		redactor_learn(r, b64, strlen(b64));
	if (n > 2 && n - 2 != len)
		redactor_learn(r, text + 1, n - 2);
}

static void learn_value(struct redactor *r, const json_t *v)
{
	const char *s = text_of(v);
	AUTO_FREE unsigned char *raw = NULL;
	size_t len;
	if (!s)
		return;
	learn_forms(r, s, strlen(s));
	/* The data of a Secret, and bytes: what programs print is what it decodes to. */
	if (strlen(s) >= 8 && base64_decode(s, strlen(s), &raw, &len) == 0)
		redactor_learn(r, (const char *)raw, len);
}

/* `holder` is an object or an array, in which v stands at key or i. */
static void take_out(struct redactor *r, json_t *holder, const char *key, size_t i, const json_t *v,
		     const char *why)
{
	const char *s = text_of(v);
	char token[REDACT_TOKEN_SIZE];
	if (!s || !*s || redact_is_token(s, strlen(s)))
		return;
	learn_value(r, v);
	redact_token(&r->known, s, strlen(s), token);
	size_t before = enter(r, key ? key_prefix(r) : "", key, i);
	note(r, why, token);
	leave(r, before);
	if (key)
		json_object_set_new(holder, key, json_string(token));
	else
		json_array_set_new(holder, i, json_string(token));
}

/* Why the value of this name is one to hide; NULL = it is none. */
static const char *reason(const struct redactor *r, const char *name, const json_t *v)
{
	const char *s = text_of(v);
	if (!s || redact_is_spared(&r->known, s, strlen(s)))
		return NULL;
	if (redact_name_is_secret(name))
		return "name";
	return redact_value_is_secret(s) ? "looks" : NULL;
}

/* "NAME=VALUE" at i of a list: the value goes. */
static void cut_assignment(struct redactor *r, json_t *list, size_t i, const char *why)
{
	const char *s = json_string_value(json_array_get(list, i)), *eq = strchr(s, '=');
	char token[REDACT_TOKEN_SIZE];
	if (!eq[1] || redact_is_token(eq + 1, strlen(eq + 1)) ||
	    redact_is_spared(&r->known, eq + 1, strlen(eq + 1)))
		return;
	redact_token(&r->known, eq + 1, strlen(eq + 1), token);
	AUTO_FREE char *text = xasprintf("%.*s%s", (int)(eq + 1 - s), s, token);
	learn_forms(r, eq + 1, strlen(eq + 1));
	size_t before = enter(r, "", NULL, i);
	note(r, why, token);
	leave(r, before);
	json_array_set_new(list, i, json_string(text));
}

/* The environment: of the CRI, of Kubernetes, of OCI. */
static void take_env(struct redactor *r, json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v) {
		const char *key = jsonx_opt_string(v, "key", jsonx_opt_string(v, "name", NULL));
		const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
		const char *why = NULL;
		if (key && (why = reason(r, key, json_object_get(v, "value")))) {
			size_t before = enter(r, "", NULL, i);
			take_out(r, v, "value", 0, json_object_get(v, "value"), why);
			leave(r, before);
		} else if (eq) {
			AUTO_FREE char *name = xstrndup(s, (size_t)(eq - s));
			if (redact_name_is_secret(name) || redact_value_is_secret(eq + 1))
				cut_assignment(r, list, i,
					       redact_name_is_secret(name) ? "name" : "looks");
		}
	}
}

/* Long hexadecimal numbers are what annotations are full of: hashes and ids. */
static bool is_secret_annotation(const char *s)
{
	return redact_value_is_secret(s) &&
	       (!redact_is_random(s, strlen(s), true) || redact_is_random(s, strlen(s), false));
}

static void take_annotations(struct redactor *r, json_t *map, bool by_looks)
{
	const char *key;
	void *tmp;
	json_t *v;
	json_object_foreach_safe (map, tmp, key, v) {
		if (!json_is_string(v))
			continue;
		if (redact_name_is_secret(key))
			take_out(r, map, key, 0, v, "name");
		else if (by_looks && is_secret_annotation(json_string_value(v)))
			take_out(r, map, key, 0, v, "looks");
	}
}

static void take_all(struct redactor *r, json_t *map, const char *const *but)
{
	const char *key;
	void *tmp;
	json_t *v;
	json_object_foreach_safe (map, tmp, key, v) {
		bool kept = false;
		for (const char *const *b = but; b && *b; b++)
			kept |= strcmp(*b, key) == 0;
		if (!kept)
			take_out(r, map, key, 0, v, "place");
	}
}

/* "--token X", "--token=X", "TOKEN=X" */
static void take_args(struct redactor *r, json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v) {
		const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
		const char *next = json_string_value(json_array_get(list, i + 1));
		if (!s || strlen(s) > 4096)
			continue;
		size_t len = eq ? (size_t)(eq - s) : strlen(s);
		/* Only words: a script has its own "=" in it. */
		if (strcspn(s, " \t\n;") < len || !redact_grade_name(s, len))
			continue;
		if (eq)
			cut_assignment(r, list, i, "name");
		else if (*s == '-' && next && *next != '-')
			take_out(r, list, NULL, i + 1, json_array_get(list, i + 1), "name");
	}
}

/* The ticket of a streaming URL. */
static void take_ticket(struct redactor *r, json_t *j, const json_t *v)
{
	const char *s = json_string_value(v), *slash = s ? strrchr(s, '/') : NULL;
	char token[REDACT_TOKEN_SIZE];
	if (!slash || strlen(slash + 1) < TICKET_MIN ||
	    redact_is_token(slash + 1, strlen(slash + 1)))
		return;
	redact_token(&r->known, slash + 1, strlen(slash + 1), token);
	AUTO_FREE char *text = xasprintf("%.*s%s", (int)(slash + 1 - s), s, token);
	note(r, "place", token);
	redactor_learn(r, slash + 1, strlen(slash + 1));
	json_object_set_new(j, "url", json_string(text));
}

static bool is_one_of(const char *key, const char *const *names)
{
	for (; *names; names++)
		if (strcasecmp(key, *names) == 0)
			return true;
	return false;
}

/* What a member's name tells of it. */
static void take_member(struct redactor *r, json_t *j, const char *key, json_t *v, bool is_secret)
{
	static const char *const envs[] = {"env", "envs", NULL};
	static const char *const args[] = {"args", "command", "cmd", "entrypoint", NULL};
	static const char *const data[] = {"data", "stringData", NULL};
	static const char *const kept[] = {"server_address", "username", NULL};
	if (json_is_array(v) && is_one_of(key, envs))
		take_env(r, v);
	else if (json_is_array(v) && is_one_of(key, args))
		take_args(r, v);
	else if (json_is_object(v) && strcmp(key, "annotations") == 0)
		take_annotations(r, v, true);
	else if (json_is_object(v) && strcmp(key, "labels") == 0)
		take_annotations(r, v, false);
	else if (json_is_object(v) && strcmp(key, "auth") == 0)
		take_all(r, v, kept);
	else if (json_is_object(v) && is_secret && is_one_of(key, data))
		take_all(r, v, NULL);
	else if (strcmp(key, "url") == 0)
		take_ticket(r, j, v);
}

static void walk(struct redactor *r, json_t *j, int depth);

/* A document within a string. NULL: it is none, or there is no secret in it. */
static char *nested(struct redactor *r, const char *s, size_t len)
{
	unsigned long before = r->found;
	if ((*s != '{' && *s != '[') || r->nested >= NEST_MAX)
		return NULL;
	AUTO_JSON json_t *j = json_loadb(s, len, 0, NULL);
	if (!j)
		return NULL;
	r->nested++;
	walk(r, j, 0);
	r->nested--;
	return r->found == before ? NULL : json_dumps(j, JSON_COMPACT);
}

/* The first pass takes out what its place tells, and learns it. */
static void walk(struct redactor *r, json_t *j, int depth)
{
	const char *key;
	void *tmp;
	size_t i;
	json_t *v;
	bool is_secret = strcmp(jsonx_opt_string(j, "kind", ""), "Secret") == 0;
	if (depth > JSON_PARSER_MAX_DEPTH)
		return;
	json_object_foreach_safe (j, tmp, key, v) {
		size_t before = enter(r, key_prefix(r), key, 0);
		take_member(r, j, key, v, is_secret);
		v = json_object_get(j, key);
		AUTO_FREE char *text =
			json_is_string(v) ? nested(r, json_string_value(v), json_string_length(v))
					  : NULL;
		if (text)
			json_object_set_new(j, key, json_string(text));
		else
			walk(r, v, depth + 1);
		leave(r, before);
	}
	json_array_foreach (j, i, v) {
		size_t before = enter(r, "", NULL, i);
		walk(r, v, depth + 1);
		leave(r, before);
	}
}

/* A string without its secrets, or NULL. */
static json_t *cleaned(struct redactor *r, const json_t *v)
{
	size_t len;
	const char *why;
	AUTO_FREE char *text = json_is_string(v) ? redact_scan(&r->known, json_string_value(v),
							       json_string_length(v), &len, &why)
						 : NULL;
	if (!text)
		return NULL;
	note(r, why, NULL);
	json_t *s = json_stringn(text, len);
	return s ? s : json_string(REDACTED);
}

/* The second looks through every string for what was learned, and for what has the looks. */
static void scrub(struct redactor *r, json_t *j, int depth)
{
	const char *key;
	void *tmp;
	size_t i;
	json_t *v, *clean;
	if (depth > JSON_PARSER_MAX_DEPTH)
		return;
	json_object_foreach_safe (j, tmp, key, v) {
		size_t before = enter(r, key_prefix(r), key, 0);
		if ((clean = cleaned(r, v)))
			json_object_set_new(j, key, clean);
		else
			scrub(r, v, depth + 1);
		leave(r, before);
	}
	json_array_foreach (j, i, v) {
		size_t before = enter(r, "", NULL, i);
		if ((clean = cleaned(r, v)))
			json_array_set_new(j, i, clean);
		else
			scrub(r, v, depth + 1);
		leave(r, before);
	}
}

static void name_document(struct redactor *r, const char *where)
{
	r->len = 0;
	enter(r, where, ": ", 0);
}

bool redactor_json(struct redactor *r, const char *where, json_t *j)
{
	unsigned long before = r->found;
	name_document(r, where);
	walk(r, j, 0);
	scrub(r, j, 0);
	return r->found != before;
}

void redactor_study(struct redactor *r, const json_t *j)
{
	AUTO_JSON json_t *copy = json_deep_copy(j);
	r->is_studying = true;
	name_document(r, "");
	walk(r, copy, 0);
	r->is_studying = false;
}

char *redactor_text(struct redactor *r, const char *where, const char *text, size_t len,
		    size_t *out_len)
{
	const char *why;
	char *clean = redact_scan(&r->known, text, len, out_len, &why);
	if (clean) {
		r->len = 0;
		enter(r, where, "", 0);
		note(r, why, NULL);
	}
	return clean;
}

bool redact_name_is_secret(const char *name)
{
	return redact_grade_name(name, strlen(name)) != REDACT_NO;
}
