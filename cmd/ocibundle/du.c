/* SPDX-License-Identifier: Apache-2.0 */
#include "ocibundle.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "record.h"
#include "tool_format.h"
#include "xalloc.h"

#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The size of writable layers. A walk takes as long as it takes, so it is a program of its own, at
 * low priority, and crispd remembers what it says. */

enum { BLOCK = 512, IDLE_NICE = 10, IOPRIO_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };

/* Inodes with several names, each of which is met. */
struct seen {
	uint64_t *slots;
	size_t n, size;
};

static bool add_to(struct seen *s, uint64_t ino)
{
	size_t at = (ino * 0x9e3779b97f4a7c15ULL) % s->size;
	while (s->slots[at] && s->slots[at] != ino)
		at = (at + 1) % s->size;
	if (s->slots[at])
		return false;
	s->slots[at] = ino;
	s->n++;
	return true;
}

/* False when it was met before. */
static bool meet(struct seen *s, uint64_t ino)
{
	if (2 * (s->n + 1) > s->size) {
		struct seen bigger = {.size = s->size ? 2 * s->size : 1024};
		bigger.slots = xcalloc(bigger.size, sizeof *bigger.slots);
		for (size_t i = 0; i < s->size; i++)
			if (s->slots[i])
				add_to(&bigger, s->slots[i]);
		free(s->slots);
		*s = bigger;
	}
	return add_to(s, ino);
}

static void count(const FTSENT *f, struct seen *seen, uint64_t *bytes, uint64_t *inodes)
{
	const struct stat *st = f->fts_statp;
	if (f->fts_info == FTS_DP || f->fts_info == FTS_NS || f->fts_info == FTS_ERR)
		return;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1 && !meet(seen, st->st_ino))
		return;
	*bytes += (uint64_t)st->st_blocks * BLOCK;
	++*inodes;
}

static int measure(const char *path, uint64_t *bytes, uint64_t *inodes, struct err *e)
{
	char *const roots[] = {(char *)path, NULL};
	struct seen seen = {.n = 0};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_XDEV, NULL);
	if (!tree)
		return err_sys(e, "%s", path);
	for (FTSENT *f; (f = fts_read(tree));)
		count(f, &seen, bytes, inodes);
	fts_close(tree);
	free(seen.slots);
	return 0;
}

struct sizes {
	const struct state *s;
	json_t *list;
};

/* For whoever does not want to walk: `ocistore df`. */
static void remember(const struct state *s, const char *id, uint64_t bytes, uint64_t inodes)
{
	struct err why;
	AUTO_CLOSE int dir = object_open_run(s, OBJ_CONTAINER, id, false, &why);
	AUTO_JSON json_t *j = json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)bytes, "inodes",
					(json_int_t)inodes, "at", (json_int_t)record_now_ns());
	if (dir >= 0 && jsonx_replace_at(dir, "du.json", 0600, j, 0, &why) < 0)
		log_debug("container %s: %s", id, why.msg);
}

static int add_ctr(void *arg, const char *id, struct err *e)
{
	struct sizes *z = arg;
	uint64_t bytes = 0, inodes = 0;
	AUTO_FREE char *path =
		xasprintf("%s/%s/%s/upper", z->s->root_path, object_dir_name(OBJ_CONTAINER), id);
	if (measure(path, &bytes, &inodes, e) < 0)
		return -1;
	/* Removed meanwhile, or without a layer of its own. */
	if (inodes == 0) {
		log_debug("container %s: no writable layer", id);
		return 0;
	}
	json_array_append_new(z->list, json_pack("{s:s, s:I, s:I}", "id", id, "bytes",
						 (json_int_t)bytes, "inodes", (json_int_t)inodes));
	remember(z->s, id, bytes, inodes);
	return 0;
}

static bool du_json;
static const char *du_format;
const struct opt du_opts[] = {{"json", 0, OPT_FLAG, &du_json, NULL, "print JSON"},
			      TOOL_FORMAT_OPT(&du_format),
			      {.name = NULL}};

static void print_row(const struct state *s, const json_t *row)
{
	static const char units[] = "BKMGTP";
	struct err why;
	const char *id = jsonx_opt_string((json_t *)row, "id", "");
	AUTO_CLOSE int dir = object_open(s, OBJ_CONTAINER, id, &why);
	AUTO_JSON json_t *config = dir < 0 ? NULL : object_config_read(dir, OBJ_CONTAINER, &why);
	double size = (double)jsonx_opt_int((json_t *)row, "bytes", 0);
	size_t u = 0;
	for (; size >= 1000 && units[u + 1]; u++)
		size /= 1024;
	printf("%-13.12s %-24s %6.*f%c %8" JSON_INTEGER_FORMAT "\n", id,
	       jsonx_opt_string(json_object_get(config, "metadata"), "name", "-"),
	       u && size < 10 ? 1 : 0, size, units[u], jsonx_opt_int((json_t *)row, "inodes", 0));
}

static void print_sizes(const struct state *s, const json_t *list)
{
	size_t i;
	const json_t *row;
	if (du_json) {
		json_dumpf(list, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	if (!du_format)
		printf("%-13s %-24s %7s %8s\n", "ID", "NAME", "SIZE", "INODES");
	json_array_foreach ((json_t *)list, i, row) {
		if (du_format)
			tool_format_print(du_format, row);
		else
			print_row(s, row);
	}
}

int run_du(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	struct sizes z = {&c->st, list};
	(void)setpriority(PRIO_PROCESS, 0, IDLE_NICE);
	(void)syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, IOPRIO_IDLE);
	if (tool_format_check(du_format, e) < 0)
		return -1;
	if (argc == 0 && object_each(&c->st, OBJ_CONTAINER, add_ctr, &z, e) < 0)
		return -1;
	for (int i = 0; i < argc; i++) {
		char id[ID_SIZE];
		if (object_resolve(&c->st, OBJ_CONTAINER, argv[i], id, e) < 0 ||
		    add_ctr(&z, id, e) < 0)
			return -1;
	}
	print_sizes(&c->st, list);
	return 0;
}
