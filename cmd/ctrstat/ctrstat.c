/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"
#include "proc.h"
#include "record.h"
#include "tool.h"
#include "tool_format.h"
#include "usage.h"
#include "xalloc.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* When only one table is asked for: how long its processor column looks back. */
enum { FIRST_MS = 250, IO_MAX = 32, INTERFACES_MAX = 16 };

static double interval = 1;
static long count;
static const char *format;

struct row {
	struct row *next;
	char id[ID_SIZE], pod[ID_SIZE];
	char *name, *pod_name;
	pid_t pid;
	bool seen; /* in the round under way */
	struct usage_dirs dirs;
	struct usage u;
	uint64_t io_read, io_written, net_rx, net_tx;
	uint64_t last_ns;
	long long last_at; /* 0: no earlier sample */
	double percent;    /* of one processor; < 0 = not known yet */
};

struct table {
	const struct tool_ctx *ctx;
	struct row *rows;
	char **wanted;
	int n_wanted;
	int signals;
	long round;
};

static char *name_of(const struct state *s, enum object_kind kind, const char *id)
{
	struct err ignored;
	AUTO_CLOSE int dir = object_open(s, kind, id, &ignored);
	AUTO_JSON json_t *j = dir < 0 ? NULL : object_config_read(dir, kind, &ignored);
	return xstrdup(jsonx_opt_string(json_object_get(j, "metadata"), "name", ""));
}

static void row_free(struct row *r)
{
	usage_dirs_release(&r->dirs);
	free(r->name);
	free(r->pod_name);
	free(r);
}

static struct row *find_row(struct table *t, const char *id)
{
	for (struct row *r = t->rows; r; r = r->next)
		if (strcmp(r->id, id) == 0)
			return r;
	return NULL;
}

static struct row *add_row(struct table *t, const struct ctr_record *c)
{
	struct row *r = xcalloc(1, sizeof *r);
	snprintf(r->id, sizeof r->id, "%s", c->id);
	snprintf(r->pod, sizeof r->pod, "%s", c->pod_id);
	r->name = name_of(&t->ctx->st, OBJ_CONTAINER, c->id);
	r->pod_name = name_of(&t->ctx->st, OBJ_POD, c->pod_id);
	r->percent = -1;
	r->next = t->rows;
	t->rows = r;
	return r;
}

static void sample(struct row *r)
{
	struct usage_io io[IO_MAX];
	struct usage_interface net[INTERFACES_MAX];
	long long now = proc_now_ms();
	usage_read(&r->dirs, USAGE_ALL, &r->u);
	if (r->last_at && now > r->last_at && r->u.cpu_ns >= r->last_ns)
		r->percent = (double)(r->u.cpu_ns - r->last_ns) / 1e4 / (double)(now - r->last_at);
	r->last_at = now;
	r->last_ns = r->u.cpu_ns;
	r->io_read = r->io_written = r->net_rx = r->net_tx = 0;
	for (size_t i = 0, n = usage_io_read(&r->dirs, io, IO_MAX); i < n; i++) {
		r->io_read += io[i].read_bytes;
		r->io_written += io[i].write_bytes;
	}
	for (size_t i = 0, n = usage_interfaces(r->pid, net, INTERFACES_MAX); i < n; i++) {
		r->net_rx += net[i].rx_bytes;
		r->net_tx += net[i].tx_bytes;
	}
}

static bool is_wanted(const struct table *t, const char *id, const char *pod)
{
	for (int i = 0; i < t->n_wanted; i++)
		if (strcmp(t->wanted[i], id) == 0 || strcmp(t->wanted[i], pod) == 0)
			return true;
	return t->n_wanted == 0;
}

static int look_at(void *arg, const char *id, struct err *e)
{
	struct table *t = arg;
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record c = {.id = NULL};
	AUTO_EXIT_RECORD struct exit_record x = {.reason = NULL};
	(void)e;
	/* One whose record cannot be read is `crispd check`'s business. */
	if (ctr_record_read(&t->ctx->st, id, &c, &ignored) < 0 || !is_wanted(t, id, c.pod_id) ||
	    ctr_effective(&t->ctx->st, &c, &x) != CTR_RUNNING)
		return 0;
	struct row *r = find_row(t, id);
	if (!r)
		r = add_row(t, &c);
	r->seen = true;
	r->pid = (pid_t)c.pid;
	if (!r->dirs.known)
		usage_dirs_of(&r->dirs, r->pid, id);
	if (r->dirs.known)
		sample(r);
	return 0;
}

static int read_all(struct table *t, struct err *e)
{
	for (struct row *r = t->rows; r; r = r->next)
		r->seen = false;
	if (object_each(&t->ctx->st, OBJ_CONTAINER, look_at, t, e) < 0)
		return -1;
	for (struct row **p = &t->rows; *p;) {
		struct row *r = *p;
		if (r->seen) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		row_free(r);
	}
	return 0;
}

static const char *bytes(uint64_t n, char out[16])
{
	static const char units[] = "BKMGTP";
	double v = (double)n;
	size_t i = 0;
	for (; v >= 1000 && i < sizeof units - 2; i++)
		v /= 1024;
	snprintf(out, 16, i && v < 10 ? "%.1f%c" : "%.0f%c", v, units[i]);
	return out;
}

static void print_row(const struct row *r)
{
	char percent[16], used[16], limit[16], in[16], out[16], rx[16], tx[16];
	snprintf(percent, sizeof percent, r->percent < 0 ? "-" : "%.1f%%", r->percent);
	printf("%-13.13s %-20.20s %-20.20s %8s %7s %7s %6llu %7s %7s %7s %7s\n", r->id, r->name,
	       r->pod_name, percent, bytes(r->u.working_set, used),
	       r->u.memory_limit == USAGE_NO_LIMIT ? "-" : bytes(r->u.memory_limit, limit),
	       (unsigned long long)r->u.tasks, bytes(r->io_read, in), bytes(r->io_written, out),
	       bytes(r->net_rx, rx), bytes(r->net_tx, tx));
}

static json_t *count_or_null(uint64_t n)
{
	return n == USAGE_NO_LIMIT ? json_null() : json_integer((json_int_t)n);
}

static void print_json(const struct row *r)
{
	AUTO_JSON json_t *j = json_pack(
		"{s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"id", r->id, "name", r->name, "pod", r->pod, "pod_name", r->pod_name, "cpu_ns",
		(json_int_t)r->u.cpu_ns, "cpu_percent",
		r->percent < 0 ? json_null() : json_real(r->percent), "working_set",
		(json_int_t)r->u.working_set, "memory", (json_int_t)r->u.memory, "memory_limit",
		count_or_null(r->u.memory_limit), "tasks", (json_int_t)r->u.tasks, "throttled_ns",
		(json_int_t)r->u.throttled_ns, "oom_kills", (json_int_t)r->u.oom_kills, "io_read",
		(json_int_t)r->io_read, "io_written", (json_int_t)r->io_written, "net_rx",
		(json_int_t)r->net_rx, "net_tx", (json_int_t)r->net_tx);
	if (format) {
		tool_format_print(format, j);
		return;
	}
	AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	puts(text ? text : "{}");
}

static int busiest_first(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;
	if ((*x)->percent != (*y)->percent)
		return (*x)->percent < (*y)->percent ? 1 : -1;
	return strcmp((*x)->id, (*y)->id);
}

static int print_all(const struct table *t, struct err *e)
{
	size_t n = 0, i = 0;
	bool table = !t->ctx->json && !format,
	     redraw = table && isatty(STDOUT_FILENO) && count != 1;
	for (const struct row *r = t->rows; r; r = r->next)
		n++;
	AUTO_FREE const struct row **rows = xcalloc(n + 1, sizeof(struct row *));
	for (const struct row *r = t->rows; r; r = r->next)
		rows[i++] = r;
	qsort(rows, n, sizeof(struct row *), busiest_first);
	if (redraw)
		fputs("\033[H\033[2J", stdout);
	if (table)
		printf("%-13s %-20s %-20s %8s %7s %7s %6s %7s %7s %7s %7s\n", "CONTAINER", "NAME",
		       "POD", "CPU", "MEMORY", "LIMIT", "TASKS", "READ", "WRITTEN", "RECV", "SENT");
	for (i = 0; i < n; i++)
		table ? print_row(rows[i]) : print_json(rows[i]);
	return fflush(stdout) == 0 ? 0 : err_sys(e, "stdout");
}

/* Returns 1 when a signal ends it. */
static int wait_ms(const struct table *t, long long ms, struct err *e)
{
	struct pollfd p = {.fd = t->signals, .events = POLLIN};
	if (poll(&p, 1, (int)ms) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	return p.revents != 0;
}

static int follow(struct table *t, struct err *e)
{
	int r = read_all(t, e);
	if (r == 0)
		r = wait_ms(t, FIRST_MS, e);
	while (r == 0) {
		if (read_all(t, e) < 0 || print_all(t, e) < 0)
			return -1;
		if (count && ++t->round >= count)
			return 0;
		r = wait_ms(t, (long long)(interval * 1000), e);
	}
	return r < 0 ? -1 : 0;
}

/* Operands are names and beginnings of ids; the table compares whole ids. */
static int resolve(struct table *t, int argc, char **argv, struct err *e)
{
	const struct state *s = &t->ctx->st;
	t->wanted = xcalloc((size_t)argc + 1, sizeof *t->wanted);
	for (int i = 0; i < argc; i++) {
		char id[ID_SIZE];
		struct err not_a_ctr;
		if (object_resolve(s, OBJ_CONTAINER, argv[i], id, &not_a_ctr) < 0 &&
		    (not_a_ctr.kind != ERR_NOT_FOUND ||
		     object_resolve(s, OBJ_POD, argv[i], id, e) < 0)) {
			if (not_a_ctr.kind != ERR_NOT_FOUND)
				*e = not_a_ctr;
			else if (e->kind == ERR_NOT_FOUND)
				err_set(e, ERR_NOT_FOUND, "no such container or pod: %.100s",
					argv[i]);
			return -1;
		}
		t->wanted[t->n_wanted++] = xstrdup(id);
	}
	return 0;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct table t = {.ctx = c, .signals = -1};
	if (interval < 0.1 || interval > 3600)
		return err_set(e, ERR_USAGE, "--interval: not within 0.1 to 3600 seconds");
	if (tool_format_check(format, e) < 0)
		return -1;
	if (count < 0)
		return err_set(e, ERR_USAGE, "--count: %ld is negative", count);
	if (!count && (c->json || format || !isatty(STDOUT_FILENO)))
		count = 1;
	int r = resolve(&t, argc, argv, e);
	if (r == 0)
		r = t.signals = proc_end_signals(e);
	if (r >= 0)
		r = follow(&t, e);
	for (struct row *next; t.rows; t.rows = next) {
		next = t.rows->next;
		row_free(t.rows);
	}
	for (int i = 0; i < t.n_wanted; i++)
		free(t.wanted[i]);
	free(t.wanted);
	auto_close(&t.signals);
	return r;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{"interval", 'i', OPT_SECONDS, &interval, "SECONDS", "time between two tables (1)"},
		{"count", 'n', OPT_INT, &count, "N",
		 "end after so many (default: for ever on a terminal, else 1)"},
		TOOL_FORMAT_OPT(&format),
		{.name = NULL},
	};
	static const struct verb verbs[] = {
		{"", "[POD|CTR...]", "show what running containers use", opts, 0, -1, run},
		{.name = NULL},
	};
	static const struct tool tool = {"ctrstat", "show what running containers use",
					 TOOL_STATE | TOOL_JSON, NULL, verbs};
	return tool_main(&tool, argc, argv);
}
