/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

const char *create_bundle = ".", *create_console, *create_pid_file;

enum { CONFIG_MAX = 16 << 20 };

/* What the shim is shown is another directory. */
static int set_root(json_t *config, const char *bundle, struct err *e)
{
	const char *path = NULL;
	json_t *root = jsonx_get(config, "config.json", JSON_OBJECT, e, "root", (char *)NULL);
	if (root)
		path = jsonx_string(root, "config.json", "path", e);
	if (!path)
		return -1;
	if (path[0] == '/')
		return 0;
	AUTO_FREE char *full = xasprintf("%s/%s", bundle, path);
	json_object_set_new(root, "path", json_string(full));
	return 0;
}

static void set_size(struct keep_spec *s, json_t *process)
{
	json_t *size = json_object_get(process, "consoleSize");
	json_int_t width = jsonx_opt_int(size, "width", 0);
	json_int_t height = jsonx_opt_int(size, "height", 0);
	if (width > 0 && width <= UINT16_MAX && height > 0 && height <= UINT16_MAX) {
		s->width = (int)width;
		s->height = (int)height;
	}
}

static int create(struct place *p, json_t *config, const char *bundle, struct err *e)
{
	json_t *process = json_object_get(config, "process");
	struct keep_spec s = {
		.p = p,
		.terminal = jsonx_opt_bool(process, "terminal", false),
		.console = create_console,
		.pid_file = create_pid_file,
	};
	set_size(&s, process);
	if (s.terminal && !s.console)
		return err_set(e, ERR_USAGE,
			       "the container has a terminal: --console-socket is needed");
	record_string(&p->rec.bundle, bundle);
	if (set_root(config, bundle, e) < 0 || place_save(p, e) < 0 ||
	    jsonx_replace_at(p->dir, "config.json", 0600, config, 0, e) < 0)
		return -1;
	return keep(&s, e);
}

int verb_create(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	char bundle[PATH_MAX];
	(void)c;
	(void)argc;
	if (!realpath(create_bundle, bundle))
		return err_sys(e, "bundle %s", create_bundle);
	AUTO_FREE char *file = xasprintf("%s/config.json", bundle);
	AUTO_JSON json_t *config = jsonx_read_at(AT_FDCWD, file, CONFIG_MAX, e);
	if (!config || place_make(&p, argv[0], e) < 0)
		return -1;
	if (create(&p, config, bundle, e) == 0)
		return 0;
	/* The stand-in removes it when it has come so far. */
	struct err late;
	struct place again = PLACE_NONE;
	if (place_open(&again, p.id, false, &late) == 0)
		undo_place(&again);
	else
		place_remove(&p);
	place_close(&again);
	return -1;
}
