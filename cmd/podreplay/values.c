/* SPDX-License-Identifier: Apache-2.0 */
/* Putting back what a capture has left out. */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { ENV_FILE_MAX = 4 << 20, VOLUME_MAX = 4 << 20 };

static int take_line(struct replay *r, char *line, size_t number, struct err *e)
{
	size_t len = strlen(line);
	if (len && line[len - 1] == '\r')
		line[--len] = '\0';
	if (!*line || *line == '#')
		return 0;
	char *eq = strchr(line, '=');
	const char *value = eq ? eq + 1 : getenv(line);
	if (eq == line)
		return err_set(e, ERR_BAD_INPUT, "%.200s: line %zu: no name", r->opt->env_file,
			       number);
	if (!value)
		return err_set(e, ERR_BAD_INPUT,
			       "%.200s: line %zu: %.80s is not in the environment",
			       r->opt->env_file, number, line);
	AUTO_FREE char *name = eq ? xstrndup(line, (size_t)(eq - line)) : xstrdup(line);
	json_t *j = json_string(value);
	if (!j || json_object_set_new(r->given, name, j) < 0)
		return err_set(e, ERR_BAD_INPUT, "%.200s: line %zu: not UTF-8", r->opt->env_file,
			       number);
	return 0;
}

int replay_read_env(struct replay *r, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(ENV_FILE_MAX);
	size_t number = 0;
	r->given = json_object();
	r->values = json_object();
	if (!r->opt->env_file)
		return 0;
	if (fs_read_operand(r->opt->env_file, &b, e) < 0)
		return -1;
	char *text = b.data;
	for (char *line; (line = strsep(&text, "\n"));)
		if (take_line(r, line, ++number, e) < 0)
			return -1;
	return 0;
}

/* ---- names to tokens */

static bool is_token(const char *s)
{
	int end = 0;
	size_t n = strlen(s);
	static const char head[] = "[redacted:";
	if (n < sizeof head || strncmp(s, head, sizeof head - 1) != 0)
		return false;
	end = (int)strspn(s + sizeof head - 1, "0123456789");
	return end > 0 && strcmp(s + sizeof head - 1 + end, "]") == 0;
}

static bool bind_name(struct replay *r, const char *token, const char *name)
{
	json_t *v = json_object_get(r->given, name);
	if (v)
		json_object_set(r->values, token, v);
	return v != NULL;
}

/* CONTAINER/NAME counts more than NAME. */
static void bind_env(struct replay *r, const char *ctr, json_t *config)
{
	size_t i;
	json_t *env;
	json_array_foreach (json_object_get(config, "envs"), i, env) {
		const char *name = jsonx_opt_string(env, "key", "");
		const char *token = jsonx_opt_string(env, "value", "");
		AUTO_FREE char *full = xasprintf("%s/%s", ctr, name);
		if (is_token(token) && !bind_name(r, token, full) && !bind_name(r, token, name))
			log_warn("container %s: %s was left out of the archive and is not in "
				 "--env-file: it is '%s'",
				 ctr, name, token);
	}
}

static void bind_annotations(struct replay *r, json_t *config)
{
	const char *name;
	json_t *v;
	json_object_foreach (json_object_get(config, "annotations"), name, v)
		if (json_is_string(v) && is_token(json_string_value(v)))
			(void)bind_name(r, json_string_value(v), name);
}

/* The files of a secret: by the path in the container, or by their own name. */
static void bind_files(struct replay *r, size_t n)
{
	struct err ignored;
	size_t i, k;
	json_t *en, *m;
	AUTO_JSON json_t *v = arc_json(&r->arc, &ignored, "volumes/%zu.json", n);
	json_array_foreach (json_object_get(v, "entries"), i, en) {
		const char *path = jsonx_opt_string(en, "path", "");
		AUTO_BUF struct buf b = BUF_INIT(64);
		AUTO_FREE char *file = *path ? xasprintf("volumes/%zu/%s", n, path)
					     : xasprintf("volumes/%zu.file", n);
		if (!jsonx_opt_bool(en, "redacted", false) ||
		    fs_read_at(r->arc.st.root, file, &b, &ignored) < 0 || !b.data)
			continue;
		b.data[strcspn(b.data, "\n")] = '\0';
		const char *leaf = strrchr(path, '/');
		bool bound = !is_token(b.data) || bind_name(r, b.data, leaf ? leaf + 1 : path);
		json_array_foreach (json_object_get(v, "mounts"), k, m) {
			const char *at = jsonx_opt_string(m, "path", "");
			AUTO_FREE char *full = *path ? xasprintf("%s/%s", at, path) : xstrdup(at);
			bound = (is_token(b.data) && bind_name(r, b.data, full)) || bound;
		}
		if (!bound)
			log_warn("%s of a secret was left out of the archive and is not in "
				 "--env-file: it has '%s' in it",
				 path, b.data);
	}
}

void replay_resolve_values(struct replay *r)
{
	struct err ignored;
	size_t i;
	json_t *row;
	const char *name;
	AUTO_JSON json_t *pod = arc_json(&r->arc, &ignored, "pods/%s/pod.json", r->arc.pod);
	bind_annotations(r, pod);
	json_array_foreach (json_object_get(r->arc.index, "containers"), i, row) {
		AUTO_JSON json_t *config =
			arc_json(&r->arc, &ignored, "containers/%s/container.json",
				 jsonx_opt_string(row, "id", ""));
		bind_annotations(r, config);
		bind_env(r, jsonx_opt_string(row, "name", ""), config);
	}
	for (i = 0; i < json_array_size(json_object_get(r->arc.index, "volumes")); i++)
		bind_files(r, i);
	/* What has no name has its number: redacted:3=value. */
	json_object_foreach (r->given, name, row) {
		AUTO_FREE char *token = xasprintf("[%s]", name);
		if (is_token(token))
			json_object_set(r->values, token, row);
	}
}

/* ---- putting in */

char *replay_fill_text(const struct replay *r, const char *s, size_t len, size_t *out_len)
{
	struct err ignored;
	AUTO_BUF struct buf out = BUF_INIT(256 << 20);
	static const char head[] = "[redacted:";
	while (len > 0) {
		const char *at = memmem(s, len, head, sizeof head - 1);
		const char *end = at ? memchr(at, ']', len - (size_t)(at - s)) : NULL;
		if (!end)
			break;
		AUTO_FREE char *token = xstrndup(at, (size_t)(end + 1 - at));
		json_t *v = json_object_get(r->values, token);
		(void)buf_add(&out, s, (size_t)(at - s), &ignored);
		if (v)
			(void)buf_add(&out, json_string_value(v), json_string_length(v), &ignored);
		else
			(void)buf_addstr(&out, token, &ignored);
		len -= (size_t)(end + 1 - s);
		s = end + 1;
	}
	(void)buf_add(&out, s, len, &ignored);
	*out_len = out.len;
	return buf_take(&out);
}

json_t *replay_fill(const struct replay *r, json_t *j)
{
	if (json_is_string(j)) {
		size_t len;
		AUTO_FREE char *text =
			replay_fill_text(r, json_string_value(j), json_string_length(j), &len);
		json_t *s = json_stringn(text, len);
		return s ? s : json_incref(j);
	}
	json_t *out, *v;
	if (json_is_object(j)) {
		const char *key;
		out = json_object();
		json_object_foreach (j, key, v)
			json_object_set_new(out, key, replay_fill(r, v));
		return out;
	}
	if (!json_is_array(j))
		return json_incref(j);
	size_t i;
	out = json_array();
	json_array_foreach (j, i, v)
		json_array_append_new(out, replay_fill(r, v));
	return out;
}
