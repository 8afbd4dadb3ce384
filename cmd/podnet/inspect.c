/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "debt.h"
#include "init.h"
#include "jsonx.h"
#include "ns.h"
#include "podnet.h"
#include "xalloc.h"

#include <stdio.h>
#include <sys/stat.h>

enum { FILE_MAX = 8 << 20 };

/* A file of the pod's as it is; null when there is none or it is damaged. */
static json_t *file_of(int dir, const char *name)
{
	struct err ignored;
	json_t *j = dir < 0 ? NULL : jsonx_read_at(dir, name, FILE_MAX, &ignored);
	return j ? j : json_null();
}

static void add_namespace(json_t *out, const char *name, const char *path)
{
	struct stat st;
	if (!ns_is_pinned(path) || stat(path, &st) < 0)
		return;
	json_object_set_new(out, name,
			    json_pack("{s:s, s:I}", "path", path, "inode", (json_int_t)st.st_ino));
}

static json_t *namespaces_of(const struct pod *p)
{
	static const char *const names[] = {"ipc", "uts", "pid", "user"};
	json_t *out = json_object();
	add_namespace(out, "net", p->netns);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *path = xasprintf("%s/ns/%s", p->run, names[i]);
		add_namespace(out, names[i], path);
	}
	return out;
}

int cmd_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	struct err ignored;
	AUTO_POD struct pod p = {.dir = -1};
	(void)argc;
	if (object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0 || pod_open(&p, c, id, e) < 0)
		return -1;
	AUTO_CLOSE int run = object_open_run(&c->st, OBJ_POD, id, false, &ignored);
	AUTO_JSON json_t *out = json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id, "directory", "",
		"run", p.run, "record", file_of(p.dir, "state.json"), "config",
		file_of(p.dir, "pod.json"), "resources", file_of(p.dir, "resources.json"),
		"attachments", network_records(p.dir), "namespaces", namespaces_of(&p), "init",
		init_alive(&p) > 0 ? file_of(run, "init.json") : json_null(), "debts",
		debt_records(c, id));
	json_object_set_new(out, "directory", json_sprintf("%s/pods/%s", c->cfg.root, id));
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}
