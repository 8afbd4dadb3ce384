/* SPDX-License-Identifier: Apache-2.0 */
#include "why.h"

#include "auto.h"
#include "crilog.h"
#include "failed.h"
#include "jsonx.h"
#include "podreplay.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static long log_lines = 10;

const struct opt why_table[] = {
	{"lines", 'n', OPT_INT, &log_lines, "N", "how many lines of each log are shown (10)"},
	{.name = NULL},
};

/* Strings of records may be cut, or of any bytes: what is not UTF-8 is left out. */
static void put(json_t *j, const char *key, const char *s)
{
	if (s && *s)
		json_object_set_new(j, key, json_string(s));
}

static void put_int(json_t *j, const char *key, json_int_t n)
{
	if (n)
		json_object_set_new(j, key, json_integer(n));
}

static void put_time(json_t *j, const char *key, int64_t ns)
{
	char stamp[CRILOG_STAMP_SIZE];
	struct timespec ts = {ns / 1000000000, ns % 1000000000};
	if (ns <= 0)
		return;
	crilog_stamp(stamp, &ts);
	put(j, key, stamp);
}

/* ---- steps and events ---- */

static json_t *step_json(const struct story_step *st)
{
	json_t *j = json_object();
	put_time(j, "time", st->when);
	put(j, "rpc", st->rpc);
	put(j, "req", st->req);
	put(j, "command", st->command);
	json_object_set_new(j, "exit", json_integer(st->exit_status));
	json_object_set_new(j, "ms", json_integer(st->ms));
	put(j, "error", st->error);
	put_int(j, "times", st->times > 1 ? (json_int_t)st->times : 0);
	return j;
}

/* A step of the pod, or of that container. */
static bool concerns(const struct story *s, const struct story_step *st, const char *only)
{
	if (!only || strstr(st->command, only))
		return true;
	for (size_t i = 0; i < s->n_ctrs; i++)
		if (strstr(st->command, s->ctrs[i].id))
			return false;
	return strstr(st->command, "podnet ") != NULL;
}

static void add_steps(json_t *doc, const struct story *s, const char *only)
{
	json_t *list = json_array();
	json_object_set_new(doc, "steps", list);
	for (size_t i = 0; i < s->n_steps; i++) {
		if (!concerns(s, &s->steps[i], only))
			continue;
		if (why_step_failed(&s->steps[i]) && !json_object_get(doc, "first_failed"))
			json_object_set_new(doc, "first_failed",
					    json_integer((json_int_t)json_array_size(list)));
		json_array_append_new(list, step_json(&s->steps[i]));
	}
}

static void add_event(json_t *list, int64_t when, const char *event, const struct story_ctr *c)
{
	size_t at = 0;
	json_t *j = json_object(), *other;
	if (when <= 0) {
		json_decref(j);
		return;
	}
	put_time(j, "time", when);
	put(j, "event", event);
	put(j, "container", *c->name ? c->name : c->id);
	/* In order; what is equal stays as it came. */
	json_array_foreach (list, at, other)
		if (strcmp(jsonx_opt_string(other, "time", ""), jsonx_opt_string(j, "time", "")) >
		    0)
			break;
	json_array_insert_new(list, at, j);
}

static void add_events(json_t *doc, const struct story *s, const char *only)
{
	json_t *list = json_array();
	json_object_set_new(doc, "events", list);
	for (size_t i = 0; i < s->n_ctrs; i++) {
		const struct story_ctr *c = &s->ctrs[i];
		if (only && strcmp(only, c->id) != 0)
			continue;
		add_event(list, c->rec.created_at, "created", c);
		bool refused = c->state == CTR_EXITED && strcmp(c->exit.reason, "StartError") == 0;
		if (!refused)
			add_event(list, c->rec.started_at, "started", c);
		if (c->state == CTR_EXITED)
			add_event(list, c->exit.finished_at, refused ? "not started" : "exited", c);
	}
}

/* ---- containers ---- */

static json_t *asked_json(const struct story_ctr *c)
{
	json_t *j = json_object();
	json_t *args = json_object_get(json_object_get(c->spec, "process"), "args");
	json_t *resources = why_asked_for(c);
	if (!args)
		args = json_object_get(c->config, "command");
	if (json_is_array(args))
		json_object_set(j, "args", args);
	put_int(j, "memory_limit", why_memory_limit(c));
	put_int(j, "cpu_quota", jsonx_opt_int(resources, "cpu_quota", 0));
	put_int(j, "cpu_period", jsonx_opt_int(resources, "cpu_period", 0));
	put_int(j, "pids_limit", why_pids_limit(c));
	return j;
}

static json_t *exit_json(const struct exit_record *x)
{
	json_t *j = json_object();
	AUTO_FREE char *meaning = why_exit_meaning(x);
	json_object_set_new(j, "code", json_integer(x->exit_code));
	put_int(j, "signal", x->signal);
	put(j, "signal_name", why_signal_name(x->signal));
	if (x->oom)
		json_object_set_new(j, "oom", json_true());
	put(j, "reason", x->reason);
	put(j, "meaning", meaning);
	return j;
}

/* Bytes that are no text become U+FFFD: the log is the program's. */
static json_t *text_json(const char *s, size_t len)
{
	json_t *whole = json_stringn(s, len);
	if (whole)
		return whole;
	AUTO_FREE char *copy = xmalloc(len + 1);
	for (size_t i = 0; i < len; i++)
		copy[i] = (char)((unsigned char)s[i] < 0x80 ? s[i] : '?');
	return json_stringn(copy, len);
}

static json_t *log_json(const struct story_ctr *c)
{
	json_t *list = json_array();
	struct story_line l;
	size_t at = 0;
	while (c->log && story_next_line(c->log, c->log_len, &at, &l)) {
		json_t *j = json_object();
		AUTO_FREE char *stamp = xstrndup(l.stamp, l.stamp_len);
		put(j, "time", stamp);
		put(j, "stream", l.is_stderr ? "stderr" : "stdout");
		json_object_set_new(j, "text", text_json(l.text, l.len));
		json_array_append_new(list, j);
		if (log_lines >= 0 && json_array_size(list) > (size_t)log_lines)
			json_array_remove(list, 0);
	}
	return list;
}

/* ---- peaks against limits ---- */

static json_t *memory_json(const struct story_ctr *c)
{
	const struct cgroup_counts *n = why_counts(c);
	json_t *j = json_object();
	json_int_t with_swap = jsonx_opt_int(why_given(c, "memory"), "swap", 0);
	put_int(j, "peak", n->peak_memory);
	put_int(j, "limit", why_memory_limit(c));
	put_int(j, "limit_met", n->memory_failures);
	if (c->use.has_memory) {
		put_int(j, "now", (json_int_t)c->use.memory);
		put_int(j, "oom_kills", (json_int_t)c->use.oom_kills);
	}
	put_int(j, "swap_peak", n->peak_swap);
	put_int(j, "with_swap_peak", n->peak_memory_swap);
	put_int(j, "with_swap_limit", with_swap > 0 ? with_swap : 0);
	return j;
}

static json_t *cpu_json(const struct story_ctr *c)
{
	const struct cgroup_counts *n = why_counts(c);
	json_t *j = json_object();
	double limit = why_cpu_limit(c);
	if (limit > 0)
		json_object_set_new(j, "limit", json_real(limit));
	if (n->cpu_periods > 0) {
		json_object_set_new(j, "periods", json_integer(n->cpu_periods));
		json_object_set_new(j, "throttled", json_integer(n->cpu_throttled));
		json_object_set_new(j, "throttled_percent", json_integer(why_throttled_percent(n)));
		json_object_set_new(j, "throttled_ms", json_integer(n->cpu_throttled_ns / 1000000));
	}
	return j;
}

static json_t *pids_json(const struct story_ctr *c)
{
	const struct cgroup_counts *n = why_counts(c);
	json_t *j = json_object();
	put_int(j, "peak", n->peak_pids);
	put_int(j, "limit", why_pids_limit(c));
	put_int(j, "refused", n->pids_failures);
	if (c->use.has_tasks)
		put_int(j, "now", (json_int_t)c->use.tasks);
	return j;
}

static json_t *ctr_json(const struct story *s, const struct story_ctr *c)
{
	json_t *j = json_object();
	put(j, "id", c->id);
	put(j, "name", c->name);
	put_int(j, "attempt", c->attempt);
	put(j, "image", c->rec.image);
	put(j, "image_id", c->rec.image_id);
	put(j, "handler", c->rec.handler);
	put(j, "state", ctr_state_name(c->state));
	json_object_set_new(j, "asked", asked_json(c));
	put_time(j, "created_at", c->rec.created_at);
	put_time(j, "started_at", c->rec.started_at);
	if (c->state == CTR_EXITED) {
		put_time(j, "finished_at", c->exit.finished_at);
		json_object_set_new(j, "exit", exit_json(&c->exit));
	}
	json_object_set_new(j, "memory", memory_json(c));
	json_object_set_new(j, "cpu", cpu_json(c));
	json_object_set_new(j, "pids", pids_json(c));
	json_object_set_new(j, "verdict", why_verdict_ctr(s, c));
	json_object_set_new(j, "log", log_json(c));
	return j;
}

/* ---- the document ---- */

static json_t *pod_json(const struct story *s)
{
	json_t *j = json_object(), *meta = json_object_get(s->config, "metadata");
	put(j, "id", s->pod);
	put(j, "name", jsonx_opt_string(meta, "name", ""));
	put(j, "namespace", jsonx_opt_string(meta, "namespace", ""));
	put_int(j, "attempt", jsonx_opt_int(meta, "attempt", 0));
	put(j, "handler", s->rec.handler);
	put(j, "origin", s->rec.origin);
	put(j, "state", s->has_rec ? s->rec.state : "damaged");
	put(j, "reason", s->rec.reason);
	put(j, "ip", s->rec.ip);
	put_time(j, "created_at", s->rec.created_at);
	return j;
}

json_t *why_document(const struct story *s, const char *only)
{
	json_t *doc = json_pack("{s:i}", "version", 1), *list = json_array();
	json_object_set_new(doc, "pod", pod_json(s));
	json_object_set_new(doc, "verdict", why_verdict_pod(s));
	add_steps(doc, s, only);
	add_events(doc, s, only);
	json_object_set_new(doc, "containers", list);
	for (size_t i = 0; i < s->n_ctrs; i++) {
		if (only && strcmp(only, s->ctrs[i].id) != 0)
			continue;
		json_array_append_new(list, ctr_json(s, &s->ctrs[i]));
		if (only)
			json_object_set_new(doc, "verdict", why_verdict_ctr(s, &s->ctrs[i]));
	}
	return doc;
}

static json_t *unmade_document(json_t *failure)
{
	json_t *pod = json_object(), *v;
	static const char *const same[] = {"id", "name", "namespace", "handler", "origin"};
	json_t *step = json_object();
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		put(pod, same[i], jsonx_opt_string(failure, same[i], ""));
	put_int(pod, "attempt", jsonx_opt_int(failure, "attempt", 0));
	put(pod, "state", "not made");
	put_time(step, "time", jsonx_opt_int(failure, "time", 0));
	put(step, "rpc",
	    strcmp(jsonx_opt_string(failure, "origin", ""), "cri") == 0 ? "RunPodSandbox" : "hand");
	put(step, "req", jsonx_opt_string(failure, "req", ""));
	put(step, "command", "podnet create");
	struct err why = {.kind = err_kind_of_name(jsonx_opt_string(failure, "code", ""))};
	json_object_set_new(step, "exit", json_integer(err_exit_status(&why)));
	if ((v = json_object_get(failure, "ms")))
		json_object_set(step, "ms", v);
	put(step, "error", jsonx_opt_string(failure, "error", ""));
	return json_pack("{s:i, s:o, s:o, s:[o], s:[], s:i, s:[]}", "version", 1, "pod", pod,
			 "verdict", why_verdict_unmade(failure), "steps", step, "events",
			 "first_failed", 0, "containers");
}

static void tell(const struct tool_ctx *c, json_t *doc)
{
	if (c->json) {
		AUTO_FREE char *text = json_dumps(doc, JSON_INDENT(2));
		puts(text ? text : "");
	} else {
		why_print(doc);
	}
}

static int why_archive(struct tool_ctx *c, const char *file, const char *ctr, struct err *e)
{
	AUTO_ARC struct arc a = ARC_NONE;
	AUTO_STORY struct story s = {0};
	const char *only = NULL;
	if (arc_open(&a, file, NULL, ARC_WITHOUT_IMAGES, e) < 0 ||
	    story_read_archive(&s, &a, e) < 0)
		return -1;
	for (size_t i = 0; ctr && i < s.n_ctrs; i++)
		if (strcmp(s.ctrs[i].name, ctr) == 0 ||
		    (strlen(ctr) >= 4 && strncmp(s.ctrs[i].id, ctr, strlen(ctr)) == 0))
			only = s.ctrs[i].id;
	if (ctr && !only)
		return err_set(e, ERR_NOT_FOUND, "%s: no container %s", file, ctr);
	AUTO_JSON json_t *doc = why_document(&s, only);
	tell(c, doc);
	return 0;
}

static int why_pod(struct tool_ctx *c, const char *pod, const char *only, struct err *e)
{
	AUTO_STORY struct story s = {0};
	if (story_read(&s, &c->st, &c->cfg, pod, log_lines < 0 ? 1000 : log_lines, e) < 0)
		return -1;
	AUTO_JSON json_t *doc = why_document(&s, only);
	tell(c, doc);
	return 0;
}

static int why_object(struct tool_ctx *c, const char *typed, struct err *e)
{
	char id[ID_SIZE];
	struct err other;
	if (podreplay_state(c, e) < 0)
		return -1;
	if (object_resolve(&c->st, OBJ_POD, typed, id, e) == 0)
		return why_pod(c, id, NULL, e);
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	if (object_resolve(&c->st, OBJ_CONTAINER, typed, id, &other) == 0) {
		AUTO_CTR_RECORD struct ctr_record r = {0};
		if (ctr_record_read(&c->st, id, &r, e) < 0)
			return -1;
		return why_pod(c, r.pod_id, id, e);
	}
	if (other.kind != ERR_NOT_FOUND) {
		*e = other;
		return -1;
	}
	AUTO_JSON json_t *failure = failed_find(&c->st, typed, e);
	if (!failure)
		return err_set(e, ERR_NOT_FOUND, "no pod, container or archive: %s", typed);
	AUTO_JSON json_t *doc = unmade_document(failure);
	tell(c, doc);
	return 0;
}

int podreplay_why(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct stat st;
	const char *what = argv[0];
	bool is_file = strcmp(what, "-") == 0 || (stat(what, &st) == 0 && !S_ISDIR(st.st_mode)) ||
		       strchr(what, '/');
	if (is_file)
		return why_archive(c, what, argc > 1 ? argv[1] : NULL, e);
	if (argc > 1)
		return err_set(e, ERR_NOT_FOUND, "no such archive: %s", what);
	return why_object(c, what, e);
}
