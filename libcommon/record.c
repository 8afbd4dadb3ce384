/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "proc.h"
#include "record_plain.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { RECORD_MAX = 1 << 20 };

#define STR(s, f) \
	{ \
#f, M_STR, offsetof(struct s, f) \
	}
#define INT(s, f) \
	{ \
#f, M_INT, offsetof(struct s, f) \
	}
#define BOOL(s, f) \
	{ \
#f, M_BOOL, offsetof(struct s, f) \
	}
#define LIST(s, f) \
	{ \
#f, M_LIST, offsetof(struct s, f) \
	}
/* Not a member of that name, but each of its counters. */
#define COUNTS(s, f) \
	{ \
#f, M_COUNTS, offsetof(struct s, f) \
	}
#define END \
	{ \
		NULL, M_STR, 0 \
	}

static const struct member pod_members[] = {STR(pod_record, id),
					    STR(pod_record, state),
					    STR(pod_record, handler),
					    STR(pod_record, origin),
					    STR(pod_record, boot_id),
					    STR(pod_record, netns),
					    STR(pod_record, network_mode),
					    STR(pod_record, ip),
					    LIST(pod_record, additional_ips),
					    STR(pod_record, cgroup_parent),
					    STR(pod_record, reason),
					    BOOL(pod_record, sandbox),
					    INT(pod_record, created_at),
					    BOOL(pod_record, complete),
					    END};

static const struct member ctr_members[] = {STR(ctr_record, id),
					    STR(ctr_record, pod_id),
					    STR(ctr_record, state),
					    STR(ctr_record, handler),
					    STR(ctr_record, runtime),
					    STR(ctr_record, runtime_root),
					    STR(ctr_record, origin),
					    STR(ctr_record, boot_id),
					    STR(ctr_record, image),
					    STR(ctr_record, image_id),
					    LIST(ctr_record, mount_images),
					    STR(ctr_record, log_path),
					    STR(ctr_record, cgroup_path),
					    STR(ctr_record, start_error),
					    INT(ctr_record, created_at),
					    INT(ctr_record, started_at),
					    INT(ctr_record, pid),
					    INT(ctr_record, pid_start),
					    INT(ctr_record, monitor),
					    INT(ctr_record, monitor_start),
					    INT(ctr_record, stop_signal),
					    BOOL(ctr_record, tty),
					    BOOL(ctr_record, stdin_open),
					    BOOL(ctr_record, stdin_once),
					    BOOL(ctr_record, sandboxed),
					    BOOL(ctr_record, restored),
					    BOOL(ctr_record, complete),
					    END};

static const struct member exit_members[] = {
	INT(exit_record, exit_code),  INT(exit_record, signal),        BOOL(exit_record, oom),
	INT(exit_record, started_at), INT(exit_record, finished_at),   COUNTS(exit_record, used),
	INT(exit_record, lost_lines), INT(exit_record, dropped_lines), STR(exit_record, reason),
	STR(exit_record, message),    STR(exit_record, stderr_tail),   END};

static void members_release(const struct member *m, void *rec)
{
	for (; m->name; m++) {
		void *at = (char *)rec + m->offset;
		if (m->type == M_STR)
			free(TAKE(*(char **)at));
		else if (m->type == M_LIST)
			json_decref(TAKE(*(json_t **)at));
	}
}

static void member_read(const struct member *m, void *rec, json_t *j)
{
	void *at = (char *)rec + m->offset;
	json_t *v = json_object_get(j, m->name);
	switch (m->type) {
	case M_STR:
		*(char **)at = xstrdup(json_is_string(v) ? json_string_value(v) : "");
		break;
	case M_INT:
		*(int64_t *)at = json_is_integer(v) ? json_integer_value(v) : 0;
		break;
	case M_BOOL:
		*(bool *)at = json_is_true(v);
		break;
	case M_LIST:
		*(json_t **)at = json_is_array(v) ? json_incref(v) : json_array();
		break;
	case M_COUNTS:
		for (const struct cgroup_counter *k = cgroup_counters; k->name; k++)
			*(int64_t *)(void *)((char *)at + k->offset) = jsonx_opt_int(j, k->name, 0);
		break;
	}
}

static int members_read(const struct member *m, void *rec, int dir, const char *file, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(RECORD_MAX);
	AUTO_JSON json_t *j = NULL;
	if (fs_read_at(dir, file, &b, e) == 0) {
		if (record_plain_read(m, rec, b.data, b.len))
			return 0;
		members_release(m, rec);
		j = jsonx_parse(b.data, b.len, file, e);
	}
	if (!j) {
		/* Not there yet is one thing; there and unreadable is damage. */
		if (e->kind == ERR_BAD_INPUT || e->kind == ERR_EXHAUSTED)
			e->kind = ERR_BAD_STATE;
		return -1;
	}
	json_int_t version = jsonx_opt_int(j, "version", 0);
	if (version != RECORD_VERSION)
		return err_set(e, ERR_BAD_STATE,
			       "%s: version %" JSON_INTEGER_FORMAT " is not known", file, version);
	for (; m->name; m++)
		member_read(m, rec, j);
	return 0;
}

void record_put_counts(json_t *j, const struct cgroup_counts *c)
{
	for (const struct cgroup_counter *k = cgroup_counters; k->name; k++)
		json_object_set_new(j, k->name, json_integer(cgroup_count(c, k)));
}

static int members_write(const struct member *m, const void *rec, int dir, const char *file,
			 struct err *e)
{
	AUTO_JSON json_t *j = json_pack("{s:i}", "version", RECORD_VERSION);
	for (; m->name; m++) {
		const void *at = (const char *)rec + m->offset;
		json_t *v = NULL;
		if (m->type == M_COUNTS) {
			record_put_counts(j, at);
			continue;
		}
		if (m->type == M_STR) {
			const char *s = *(char *const *)at;
			v = json_string(s ? s : "");
			if (!v) /* not UTF-8: only free text such as stderr_tail can be */
				v = json_string("");
		} else if (m->type == M_INT) {
			v = json_integer(*(const int64_t *)at);
		} else if (m->type == M_BOOL) {
			v = json_boolean(*(const bool *)at);
		} else {
			json_t *list = *(json_t *const *)at;
			v = list ? json_incref(list) : json_array();
		}
		json_object_set_new(j, m->name, v);
	}
	return jsonx_replace_bounded_at(dir, file, 0600, j, RECORD_MAX, e);
}

static int object_read(const struct state *s, enum object_kind kind, const char *id,
		       const struct member *m, void *rec, const char *file, struct err *e)
{
	AUTO_CLOSE int dir = object_open(s, kind, id, e);
	if (dir < 0)
		return -1;
	if (members_read(m, rec, dir, file, e) < 0)
		return err_wrap(e, "%s %s", object_kind_name(kind), id);
	return 0;
}

static int object_write(const struct state *s, enum object_kind kind, const char *id,
			const struct member *m, const void *rec, const char *file, struct err *e)
{
	AUTO_CLOSE int dir = object_open(s, kind, id, e);
	if (dir < 0)
		return -1;
	if (members_write(m, rec, dir, file, e) < 0)
		return err_wrap(e, "%s %s", object_kind_name(kind), id);
	return 0;
}

int pod_record_read(const struct state *s, const char *id, struct pod_record *r, struct err *e)
{
	*r = (struct pod_record){0};
	return object_read(s, OBJ_POD, id, pod_members, r, "state.json", e);
}

int pod_record_read_at(int dir, struct pod_record *r, struct err *e)
{
	*r = (struct pod_record){0};
	return members_read(pod_members, r, dir, "state.json", e);
}

int pod_record_write(const struct state *s, const struct pod_record *r, struct err *e)
{
	return object_write(s, OBJ_POD, r->id, pod_members, r, "state.json", e);
}

void pod_record_release(struct pod_record *r)
{
	members_release(pod_members, r);
}

int pod_check_ready(const struct pod_record *r, struct err *e)
{
	if (r->complete && strcmp(r->state, "ready") == 0 &&
	    strcmp(r->boot_id, state_boot_id()) == 0)
		return 0;
	return err_set(e, ERR_BAD_STATE, "pod %s is not ready%s%s", r->id, *r->reason ? ": " : "",
		       r->reason);
}

int ctr_record_read(const struct state *s, const char *id, struct ctr_record *r, struct err *e)
{
	*r = (struct ctr_record){0};
	return object_read(s, OBJ_CONTAINER, id, ctr_members, r, "state.json", e);
}

int ctr_record_read_at(int dir, struct ctr_record *r, struct err *e)
{
	*r = (struct ctr_record){0};
	return members_read(ctr_members, r, dir, "state.json", e);
}

int ctr_record_write(const struct state *s, const struct ctr_record *r, struct err *e)
{
	return object_write(s, OBJ_CONTAINER, r->id, ctr_members, r, "state.json", e);
}

void ctr_record_release(struct ctr_record *r)
{
	members_release(ctr_members, r);
}

int exit_record_read(const struct state *s, const char *id, struct exit_record *r, struct err *e)
{
	*r = (struct exit_record){0};
	return object_read(s, OBJ_CONTAINER, id, exit_members, r, "exit.json", e);
}

int exit_record_read_at(int dir, struct exit_record *r, struct err *e)
{
	*r = (struct exit_record){0};
	return members_read(exit_members, r, dir, "exit.json", e);
}

int exit_record_write(const struct state *s, const char *id, const struct exit_record *r,
		      struct err *e)
{
	return object_write(s, OBJ_CONTAINER, id, exit_members, r, "exit.json", e);
}

void exit_record_release(struct exit_record *r)
{
	members_release(exit_members, r);
}

const char *ctr_state_name(enum ctr_state s)
{
	static const char *const names[] = {"prepared", "created", "running", "exited", "unknown"};
	return names[s];
}

bool ctr_is_sandbox(const struct ctr_record *r)
{
	return strcmp(r->origin, ORIGIN_SANDBOX) == 0;
}

static enum ctr_state lost(const struct ctr_record *r, struct exit_record *x, const char *why)
{
	exit_record_release(x);
	*x = (struct exit_record){
		.exit_code = 255,
		.started_at = r->started_at,
		.reason = xstrdup("ContainerStatusUnknown"),
		.message = xstrdup(why),
		.stderr_tail = xstrdup(""),
	};
	return CTR_EXITED;
}

bool ctr_monitor_lives(const struct state *s, const char *id)
{
	struct err ignored;
	char path[ID_SIZE + 32];
	snprintf(path, sizeof path, "%s/%s/monitor.lock", object_dir_name(OBJ_CONTAINER), id);
	return id_is_valid(id) && fs_is_locked_at(s->run, path, &ignored) == 1;
}

enum ctr_state ctr_effective_at(const struct state *s, int dir, const struct ctr_record *r,
				bool monitor_seen, struct exit_record *exit)
{
	struct err e;
	enum ctr_state asked = strcmp(r->state, "running") == 0   ? CTR_RUNNING
			       : strcmp(r->state, "created") == 0 ? CTR_CREATED
								  : CTR_PREPARED;
	*exit = (struct exit_record){0};
	if (exit_record_read_at(dir, exit, &e) == 0)
		return CTR_EXITED;
	if (asked == CTR_PREPARED)
		return CTR_PREPARED;
	if (strcmp(r->boot_id, state_boot_id()) != 0)
		return lost(r, exit, "the host was rebooted");
	if (*r->start_error || monitor_seen || ctr_monitor_lives(s, r->id))
		return asked;
	/* The monitor may have ended properly between the two looks. */
	if (exit_record_read_at(dir, exit, &e) == 0)
		return CTR_EXITED;
	if (proc_is_alive((pid_t)r->pid, (unsigned long long)r->pid_start))
		return asked;
	/* Or a removal may have come between the look at the record and this one. */
	AUTO_CTR_RECORD struct ctr_record now = {0};
	if (ctr_record_read_at(dir, &now, &e) < 0 || !now.state)
		return CTR_PREPARED;
	if (strcmp(now.state, r->state) != 0)
		return ctr_effective_at(s, dir, &now, false, exit);
	return lost(r, exit, "the monitor was lost");
}

enum ctr_state ctr_effective(const struct state *s, const struct ctr_record *r,
			     struct exit_record *exit)
{
	struct err ignored;
	/* Without its directory there is no exit.json either. */
	AUTO_CLOSE int dir = object_open(s, OBJ_CONTAINER, r->id, &ignored);
	return ctr_effective_at(s, dir, r, false, exit);
}

void record_set(char **member, const char *value)
{
	char *copy = xstrdup(value ? value : "");
	free(*member);
	*member = copy;
}

int64_t record_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}
