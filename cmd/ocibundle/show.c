/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs show and diff: what a config.json says, why, and in what two of them differ. */
#include "ocibundle.h"

#include "auto.h"
#include "buf.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "state.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX = 32 << 20, DIFFERENT = 1 };

bool show_explain;

void print_explained(json_t *spec, const char *sources, size_t len)
{
	AUTO_JSON json_t *lines = flat_config(spec, true);
	const char *path;
	const json_t *value;
	json_object_foreach (lines, path, value) {
		size_t n;
		const char *found = why_find(sources, len, path, &n);
		AUTO_FREE char *source = xstrndup(found, n);
		flat_print(path, &value, 1, source);
	}
}

static int open_bundle(struct tool_ctx *c, const char *typed, char *id, struct err *e)
{
	if (object_resolve(&c->st, OBJ_CONTAINER, typed, id, e) < 0)
		return -1;
	AUTO_CLOSE int run = object_open_run(&c->st, OBJ_CONTAINER, id, false, e);
	int bundle = run < 0 ? -1 : fs_open_dir(run, "bundle", e);
	if (bundle < 0)
		err_wrap(e, "container %s has no bundle (a reboot takes it)", id);
	return bundle;
}

int run_show(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	static const struct create_options preview = {.origin = "hand"};
	char id[ID_SIZE];
	AUTO_BUF struct buf b = BUF_INIT(CONFIG_MAX);
	AUTO_BUF struct buf sources = BUF_INIT(CONFIG_MAX);
	if (argc == 2) {
		c->dry_run = true;
		return create_container(c, &preview, argv[0], argv[1], e);
	}
	AUTO_CLOSE int bundle = open_bundle(c, argv[0], id, e);
	if (bundle < 0 || fs_read_at(bundle, "config.json", &b, e) < 0)
		return err_wrap(e, "container %s", argv[0]);
	if (!show_explain) {
		fwrite(b.data, 1, b.len, stdout);
		return 0;
	}
	AUTO_JSON json_t *spec = jsonx_parse(b.data, b.len, "config.json", e);
	if (!spec || fs_read_at(bundle, "sources", &sources, e) < 0)
		return err_wrap(e, "container %s", id);
	print_explained(spec, sources.data ? sources.data : "", sources.len);
	return 0;
}

/* What has a slash, ends in .json or is "-" is a file; anything else a container. */
static bool is_file(const char *operand)
{
	size_t n = strlen(operand);
	return strcmp(operand, "-") == 0 || strchr(operand, '/') ||
	       (n > 5 && strcmp(operand + n - 5, ".json") == 0);
}

/* Every container has paths with its own id in it. Two containers of one request are equal all the
 * same, so it is read as ID. */
static void hide_id(struct buf *b)
{
	static const char key[] = "\"cgroupsPath\":";
	char id[ID_SIZE];
	const char *p = strstr(b->data, key), *open = p ? strchr(p + strlen(key), '"') : NULL;
	const char *close = open ? strchr(open + 1, '"') : NULL;
	if (!close || close - open <= ID_SIZE)
		return;
	memcpy(id, close - (ID_SIZE - 1), ID_SIZE - 1);
	id[ID_SIZE - 1] = '\0';
	if (!id_is_valid(id))
		return;
	char *w = b->data;
	for (const char *r = b->data; *r;) {
		if (*r == id[0] && strncmp(r, id, ID_SIZE - 1) == 0) {
			*w++ = 'I';
			*w++ = 'D';
			r += ID_SIZE - 1;
		} else {
			*w++ = *r++;
		}
	}
	*w = '\0';
	b->len = (size_t)(w - b->data);
}

static json_t *read_operand(struct tool_ctx *c, const char *operand, struct err *e)
{
	char id[ID_SIZE];
	AUTO_BUF struct buf b = BUF_INIT(CONFIG_MAX);
	AUTO_CLOSE int bundle = -1;
	int r;
	if (is_file(operand)) {
		r = fs_read_operand(operand, &b, e);
	} else {
		bundle = open_bundle(c, operand, id, e);
		r = bundle < 0 ? -1 : fs_read_at(bundle, "config.json", &b, e);
	}
	if (r < 0)
		return NULL;
	if (b.data)
		hide_id(&b);
	AUTO_JSON json_t *j = jsonx_parse(b.data ? b.data : "", b.len, operand, e);
	if (j && !json_is_object(j))
		return err_set_p(e, ERR_BAD_INPUT, "%s: not a config.json", operand);
	return j ? flat_config(j, false) : NULL;
}

int run_diff(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	const char *path;
	json_t *v;
	bool same = true;
	(void)argc;
	AUTO_JSON json_t *a = read_operand(c, argv[0], e);
	AUTO_JSON json_t *b = a ? read_operand(c, argv[1], e) : NULL;
	if (!b)
		return -1;
	json_object_foreach (a, path, v) {
		const json_t *values[] = {v, json_object_get(b, path)};
		if (values[1] && json_equal(values[0], values[1]))
			continue;
		flat_print(path, values, ARRAY_LEN(values), NULL);
		same = false;
	}
	json_object_foreach (b, path, v) {
		const json_t *values[] = {NULL, v};
		if (json_object_get(a, path))
			continue;
		flat_print(path, values, ARRAY_LEN(values), NULL);
		same = false;
	}
	return same ? 0 : DIFFERENT;
}
