/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "fs.h"
#include "jsonx.h"
#include "tool_format.h"
#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_MAX = 4 << 20 };

static json_t *exit_json(const struct exit_record *x)
{
	json_t *j = json_pack("{s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "exit_code",
			      (json_int_t)x->exit_code, "signal", (json_int_t)x->signal, "oom",
			      x->oom, "started_at", (json_int_t)x->started_at, "finished_at",
			      (json_int_t)x->finished_at, "lost_lines", (json_int_t)x->lost_lines,
			      "dropped_lines", (json_int_t)x->dropped_lines, "reason", x->reason,
			      "message", x->message, "stderr_tail", x->stderr_tail);
	record_put_counts(j, &x->used);
	return j;
}

/* What the monitor says of the log, while it lives. */
static json_t *log_json(const struct ctr *k)
{
	struct err ignored;
	AUTO_JSON json_t *j = ctl_answer(k, "{\"op\":\"status\"}", &ignored);
	return j ? json_pack("{s:s, s:I, s:I}", "health", jsonx_opt_string(j, "log", "unknown"),
			     "lost_lines", jsonx_opt_int(j, "lost_lines", 0), "dropped_lines",
			     jsonx_opt_int(j, "dropped_lines", 0))
		 : json_pack("{s:s}", "health", "unknown, monitor lost");
}

/* state.json as it is on disk, and beside it what the container is now. */
static json_t *state_json(struct ctr *k, struct err *e)
{
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_CONTAINER, k->id, e);
	json_t *j = dir < 0 ? NULL : jsonx_read_at(dir, "state.json", FILE_MAX, e);
	if (!j)
		return NULL;
	json_object_set_new(j, "status", json_string(ctr_state_name(k->state)));
	if (k->state == CTR_EXITED)
		json_object_set_new(j, "exit", exit_json(&k->exit));
	else if (k->state == CTR_RUNNING)
		json_object_set_new(j, "log", log_json(k));
	return j;
}

int verb_state(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], 0, e) < 0)
		return -1;
	AUTO_JSON json_t *j = state_json(&k, e);
	if (!j)
		return -1;
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static const char *ls_format;
const struct opt ls_opts[] = {TOOL_FORMAT_OPT(&ls_format), {.name = NULL}};

struct listing {
	const struct tool_ctx *c;
	json_t *rows;
};

static json_t *row_of(const struct tool_ctx *c, const char *id)
{
	struct err e;
	AUTO_CTR struct ctr k = CTR_NONE;
	if (ctr_open(&k, c, id, 0, &e) < 0)
		return e.kind == ERR_NOT_FOUND ? NULL
					       : json_pack("{s:s, s:s, s:s}", "id", id, "status",
							   "damaged", "message", e.msg);
	AUTO_CLOSE int dir = object_open(&c->st, OBJ_CONTAINER, id, &e);
	AUTO_JSON json_t *conf = dir < 0 ? NULL : object_config_read(dir, OBJ_CONTAINER, &e);
	const char *name = jsonx_opt_string(json_object_get(conf, "metadata"), "name", "");
	json_t *row =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", id, "name", name, "pod_id",
			  k.rec.pod_id, "image", k.rec.image, "status", ctr_state_name(k.state),
			  "pid", (json_int_t)k.rec.pid, "created_at", (json_int_t)k.rec.created_at);
	if (k.state == CTR_EXITED) {
		json_object_set_new(row, "exit_code", json_integer(k.exit.exit_code));
		json_object_set_new(row, "reason", json_string(k.exit.reason));
	}
	return row;
}

static int add_row(void *arg, const char *id, struct err *e)
{
	struct listing *l = arg;
	json_t *row = row_of(l->c, id);
	(void)e;
	if (row)
		json_array_append_new(l->rows, row);
	return 0;
}

struct row {
	json_t *j;
};

static int newest_first(const void *a, const void *b)
{
	json_int_t x = jsonx_opt_int(((const struct row *)a)->j, "created_at", 0);
	json_int_t y = jsonx_opt_int(((const struct row *)b)->j, "created_at", 0);
	return (x < y) - (x > y);
}

static void print_row(json_t *row)
{
	char status[48], when[32] = "-";
	time_t t = (time_t)(jsonx_opt_int(row, "created_at", 0) / 1000000000);
	struct tm tm;
	if (t > 0 && gmtime_r(&t, &tm))
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	const char *s = jsonx_opt_string(row, "status", "");
	if (json_object_get(row, "exit_code"))
		snprintf(status, sizeof status, "%s (%d)", s,
			 (int)jsonx_opt_int(row, "exit_code", 0));
	else
		snprintf(status, sizeof status, "%s", s);
	const char *pod = jsonx_opt_string(row, "pod_id", "");
	printf("%-13.12s %-24s %-13.12s %-14s %-21s %s\n", jsonx_opt_string(row, "id", ""),
	       jsonx_opt_string(row, "name", ""), *pod ? pod : "-", status, when,
	       jsonx_opt_string(row, "image", ""));
}

int verb_ls(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *rows = json_array();
	struct listing l = {c, rows};
	(void)argc;
	(void)argv;
	if (tool_format_check(ls_format, e) < 0 ||
	    object_each(&c->st, OBJ_CONTAINER, add_row, &l, e) < 0)
		return -1;
	size_t n = json_array_size(rows);
	AUTO_FREE struct row *sorted = xcalloc(n ? n : 1, sizeof *sorted);
	for (size_t i = 0; i < n; i++)
		sorted[i].j = json_array_get(rows, i);
	qsort(sorted, n, sizeof *sorted, newest_first);
	if (!c->json && !ls_format)
		printf("%-13s %-24s %-13s %-14s %-21s %s\n", "ID", "NAME", "POD", "STATUS",
		       "CREATED", "IMAGE");
	AUTO_JSON json_t *out = json_array();
	for (size_t i = 0; i < n; i++) {
		json_array_append(out, sorted[i].j);
		if (ls_format)
			tool_format_print(ls_format, sorted[i].j);
		else if (!c->json)
			print_row(sorted[i].j);
	}
	if (c->json && !ls_format) {
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	return 0;
}

int verb_reopen(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], 0, e) < 0)
		return -1;
	if (k.state != CTR_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", k.id,
			       ctr_state_name(k.state));
	ctr_try_adopt(&k);
	return ctl_ask(&k, "{\"op\":\"reopen\"}", e) < 0 ? err_wrap(e, "reopen log of %s", k.id)
							 : 0;
}
