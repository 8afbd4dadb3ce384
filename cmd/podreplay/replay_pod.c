/* SPDX-License-Identifier: Apache-2.0 */
/* The pod of a replay: its requests, and what is done with them in the recorded order. */
#include "replay.h"
#include "story.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "pbjson.h"
#include "proc.h"
#include "xalloc.h"

#include "cri.pb-c.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { STEP_SLACK_MS = 60000, END_SECONDS = 300, LOOK_SECONDS = 10 };

/* ---- what may not be asked without --allow-privileged */

static int check_privilege(const struct replay *r, const char *what, json_t *config, struct err *e)
{
	const char *wants = replay_privilege(config, r->cfg.default_capabilities);
	if (!wants || r->opt->allow_privileged)
		return 0;
	return err_set(e, ERR_DENIED, "%s wants %s: only with --allow-privileged", what, wants);
}

/* ---- the requests */

/* A recorded request with its values, in the one spelling that ours are written in: whatever its writer
 * has called things, what we look at is what the tools will see. */
static json_t *request(const struct replay *r, json_t *recorded,
		       const ProtobufCMessageDescriptor *d, const char *what, struct err *e)
{
	AUTO_JSON json_t *filled = replay_fill(r, recorded);
	ProtobufCMessage *m = pbjson_read(d, filled, what, e);
	json_t *out = m ? pbjson_write(m, 0, e) : NULL;
	pbjson_free(m);
	return out;
}

static json_t *member(json_t *j, const char *key)
{
	json_t *v = json_object_get(j, key);
	if (json_is_object(v))
		return v;
	json_object_set_new(j, key, json_object());
	return json_object_get(j, key);
}

static int write_request(const struct replay *r, const char *name, json_t *j, struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s/%s", r->base, name);
	return jsonx_replace_at(AT_FDCWD, path, 0600, j, 0, e);
}

static int make_pod_request(const struct replay *r, struct err *e)
{
	AUTO_JSON json_t *recorded = arc_json(&r->arc, e, "pods/%s/pod.json", r->arc.pod);
	if (!recorded)
		return -1;
	AUTO_JSON json_t *pod =
		request(r, recorded, &runtime__v1__pod_sandbox_config__descriptor, "pod.json", e);
	if (!pod || check_privilege(r, "the pod", pod, e) < 0)
		return -1;
	bool systemd = strcmp(r->cfg.cgroup_manager, "systemd") == 0;
	json_object_set_new(pod, "log_directory", json_sprintf("%s/logs", r->base));
	json_object_set_new(member(pod, "linux"), "cgroup_parent",
			    systemd ? json_sprintf("podreplay%.12s.slice", r->pod)
				    : json_sprintf("/podreplay-%.12s", r->pod));
	/* Ports of this machine are not the archive's to take. */
	if (r->opt->stub_network)
		json_object_del(pod, "port_mappings");
	return write_request(r, "pod.json", pod, e);
}

/* The image by its id: a tag may be another by now. */
static void fix_image(const struct replay_ctr *k, json_t *config)
{
	json_t *image = member(config, "image");
	if (!*k->rec.image_id)
		return;
	if (!json_object_get(image, "user_specified_image"))
		json_object_set_new(image, "user_specified_image", json_string(k->rec.image));
	json_object_set_new(image, "image", json_string(k->rec.image_id));
}

static int fix_mounts(const struct replay *r, json_t *config, struct err *e)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(config, "mounts"), i, m) {
		const char *host = jsonx_opt_string(m, "host_path", "");
		json_t *here = json_object_get(r->volumes, host);
		if (*host && !here)
			return err_set(e, ERR_BAD_INPUT,
				       "mounts[%zu]: %.200s is no volume of the archive", i, host);
		if (*host)
			json_object_set(m, "host_path", here);
	}
	return 0;
}

/* The container whose processes it joins, by its id here. */
static void fix_target(const struct replay *r, json_t *config)
{
	json_t *context = json_object_get(json_object_get(config, "linux"), "security_context");
	json_t *options = json_object_get(context, "namespace_options");
	const char *target = jsonx_opt_string(options, "target_id", "");
	for (size_t i = 0; *target && i < r->n_ctrs; i++)
		if (strcmp(r->ctrs[i].recorded, target) == 0 && *r->ctrs[i].id) {
			json_object_set_new(options, "target_id", json_string(r->ctrs[i].id));
			return;
		}
}

/* The kubelet makes the directories of logs. */
static int fix_log(const struct replay *r, json_t *config, size_t n, struct err *e)
{
	const char *log = jsonx_opt_string(config, "log_path", "");
	const char *slash = strrchr(log, '/');
	AUTO_FREE char *place = xasprintf("volumes/%s", log);
	if (*log && !arc_path_is_valid(place))
		json_object_set_new(config, "log_path", json_sprintf("%zu.log", n));
	if (!slash || !arc_path_is_valid(place))
		return 0;
	AUTO_FREE char *dir = xasprintf("%s/logs/%.*s", r->base, (int)(slash - log), log);
	return fs_mkdirs(AT_FDCWD, dir, 0700, e);
}

static int make_request(const struct replay *r, const struct replay_ctr *k, size_t n, struct err *e)
{
	AUTO_FREE char *name = xasprintf("%zu.json", n);
	AUTO_JSON json_t *recorded =
		arc_json(&r->arc, e, "containers/%s/container.json", k->recorded);
	if (!recorded)
		return -1;
	AUTO_JSON json_t *config = request(r, recorded, &runtime__v1__container_config__descriptor,
					   "container.json", e);
	if (!config)
		return -1;
	fix_target(r, config);
	if (check_privilege(r, "it", config, e) < 0 || fix_mounts(r, config, e) < 0)
		return err_wrap(e, "container %.64s", k->name);
	fix_image(k, config);
	if (fix_log(r, config, n, e) < 0)
		return -1;
	return write_request(r, name, config, e);
}

static int read_container(struct replay *r, struct replay_ctr *k, json_t *row, struct err *e)
{
	snprintf(k->recorded, ID_SIZE, "%s", jsonx_opt_string(row, "id", ""));
	k->name = jsonx_opt_string(row, "name", "");
	k->attempt = jsonx_opt_int(row, "attempt", 0);
	k->ended = strcmp(jsonx_opt_string(row, "state", ""), "exited") == 0;
	AUTO_FREE char *path = xasprintf("containers/%s", k->recorded);
	AUTO_CLOSE int dir = fs_open_beneath(r->arc.st.root, path, O_RDONLY | O_DIRECTORY, 0, e);
	if (dir < 0 || ctr_record_read_at(dir, &k->rec, e) < 0 ||
	    (k->ended && exit_record_read_at(dir, &k->exit, e) < 0))
		return err_wrap(e, "container %.64s of the archive", k->name);
	return 0;
}

/* How long it had to end: as the step says, or as long as it took until it was killed. */
static void note_grace(struct replay_ctr *k, const char *command)
{
	static const char option[] = "--timeout ";
	const char *said = strstr(command, option);
	size_t len = said ? strspn(said + sizeof option - 1, "0123456789.") : 0;
	double took = (double)(k->exit.finished_at - k->stopped_at) / 1e9;
	if (len > 0 && len < sizeof k->grace)
		snprintf(k->grace, sizeof k->grace, "%.*s", (int)len, said + sizeof option - 1);
	else if (k->exit.signal == SIGKILL)
		snprintf(k->grace, sizeof k->grace, "%.1f",
			 took < LOOK_SECONDS ? took : LOOK_SECONDS);
	else
		snprintf(k->grace, sizeof k->grace, "60");
}

/* The stops of the journal, for containers that did not end by themselves. */
static void find_stops(struct replay *r)
{
	struct err ignored;
	AUTO_STORY struct story s = {0};
	if (story_read_archive(&s, &r->arc, &ignored) < 0)
		return;
	for (size_t i = 0; i < s.n_steps; i++) {
		const struct story_step *st = &s.steps[i];
		if (!story_step_is(st, "ctrrun", "stop"))
			continue;
		for (size_t n = 0; n < r->n_ctrs; n++) {
			struct replay_ctr *k = &r->ctrs[n];
			if (!k->ended || k->stopped_at || k->exit.finished_at < st->when ||
			    !strstr(st->command, k->recorded))
				continue;
			k->stopped_at = st->when;
			note_grace(k, st->command);
		}
	}
}

static int make_requests(struct replay *r, struct err *e)
{
	size_t i;
	json_t *row, *rows = json_object_get(r->arc.index, "containers");
	if (make_pod_request(r, e) < 0)
		return -1;
	r->ctrs = xcalloc(json_array_size(rows) + 1, sizeof *r->ctrs);
	json_array_foreach (rows, i, row) {
		struct replay_ctr *k = &r->ctrs[r->n_ctrs++];
		if (read_container(r, k, row, e) < 0 || make_request(r, k, i, e) < 0)
			return -1;
	}
	find_stops(r);
	return 0;
}

/* ---- waiting */

static bool has_ended(const struct replay *r, const struct replay_ctr *k)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record rec = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	if (!*k->id || *k->error || ctr_record_read(&r->st, k->id, &rec, &ignored) < 0)
		return true;
	enum ctr_state s = ctr_effective(&r->st, &rec, &x);
	return s == CTR_EXITED || s == CTR_PREPARED || s == CTR_CREATED;
}

/* Its monitor's end is the container's. -1: it has none any more. */
static int monitor_of(const struct replay *r, const struct replay_ctr *k)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record rec = {0};
	if (ctr_record_read(&r->st, k->id, &rec, &ignored) < 0)
		return -1;
	return proc_open((pid_t)rec.monitor, (unsigned long long)rec.monitor_start, &ignored);
}

/* 1 when it has ended, 0 at the deadline (proc_now_ms; < 0 = none). */
static int wait_for_end(struct replay *r, const struct replay_ctr *k, long long until,
			struct err *e)
{
	while (!has_ended(r, k)) {
		AUTO_CLOSE int monitor = monitor_of(r, k);
		struct pollfd p[] = {{.fd = monitor, .events = POLLIN},
				     {.fd = r->cancel, .events = POLLIN}};
		long long left = until < 0 ? -1 : until - proc_now_ms();
		if (until >= 0 && left <= 0)
			return 0;
		/* Without a monitor, the record is about to say so. */
		if (monitor < 0 && (left < 0 || left > 100))
			left = 100;
		if (poll(p, ARRAY_LEN(p), (int)left) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (p[1].revents)
			return err_set(e, ERR_CANCELLED, "interrupted");
	}
	return 1;
}

/* ---- the steps */

/* A step that fails is a result, as it was or was not on record; only an interruption ends all. */
static int step(struct replay *r, struct replay_ctr *k, const char *const *words, struct err *e)
{
	int ms = (int)r->cfg.runtime_timeout * 1000 + STEP_SLACK_MS;
	if (tools_run(&r->tools, "ctrrun", words, NULL, ms, e) == 0)
		return 0;
	if (e->kind == ERR_CANCELLED)
		return -1;
	snprintf(k->error, sizeof k->error, "%.500s", e->msg);
	return 1;
}

static int start_container(struct replay *r, struct replay_ctr *k, size_t n, struct err *e)
{
	AUTO_FREE char *file = xasprintf("%s/%zu.json", r->base, n);
	json_t *pod = json_object_get(r->arc.index, "pod");
	bool cri = strcmp(jsonx_opt_string(pod, "origin", ""), "cri") == 0;
	const char *make[] = {"create", r->pod, file, NULL};
	/* Once more, now that those before it have their ids. */
	if (make_request(r, k, n, e) < 0)
		return -1;
	if (tools_line(&r->tools, "ocibundle", make, k->id, sizeof k->id, STEP_SLACK_MS, e) < 0) {
		k->id[0] = '\0';
		if (e->kind == ERR_CANCELLED)
			return -1;
		snprintf(k->error, sizeof k->error, "%.500s", e->msg);
		return 0;
	}
	/* As crispd does, so that a runtime's refusal is told where it was. */
	const char *create[] = {"create", cri ? "--defer-errors" : k->id, cri ? k->id : NULL, NULL};
	const char *start[] = {"start", k->id, NULL};
	int failed = step(r, k, create, e);
	bool only_created = strcmp(k->rec.state, "created") == 0 && !k->ended;
	if (failed == 0 && !only_created)
		failed = step(r, k, start, e);
	return failed < 0 ? -1 : 0;
}

/* One that was stopped runs as long as it did, or for a while, and is stopped again. 1 when it has
 * ended, 0 at the deadline. */
static int bring_to_end(struct replay *r, struct replay_ctr *k, long long until, struct err *e)
{
	if (!k->stopped_at)
		return wait_for_end(r, k, until, e);
	long long ran = (k->stopped_at - k->exit.started_at) / 1000000;
	if (ran > LOOK_SECONDS * 1000 || ran < 0)
		ran = LOOK_SECONDS * 1000;
	long long stop = proc_now_ms() + ran;
	int done = wait_for_end(r, k, stop < until ? stop : until, e);
	const char *words[] = {"stop", "--timeout", k->grace, k->id, NULL};
	if (done == 0 && step(r, k, words, e) < 0)
		return -1;
	return done < 0 ? -1 : 1;
}

/* Those that had ended when this one was made, have to now. */
static int wait_for_earlier(struct replay *r, size_t n, long long until, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct replay_ctr *k = &r->ctrs[i];
		if (!k->ended || !k->exit.finished_at ||
		    k->exit.finished_at > r->ctrs[n].rec.created_at)
			continue;
		int done = bring_to_end(r, k, until, e);
		if (done < 0)
			return -1;
		r->over_time = r->over_time || done == 0;
	}
	return 0;
}

static int create_pod(struct replay *r, struct err *e)
{
	char id[ID_SIZE];
	AUTO_FREE char *file = xasprintf("%s/pod.json", r->base);
	const char *words[] = {"create", "--id", r->pod, "--handler", r->handler, NULL, NULL, NULL};
	words[5] = file;
	int ms = (int)r->cfg.network_timeout * 4000 + STEP_SLACK_MS;
	return tools_line(&r->tools, "podnet", words, id, sizeof id, ms, e);
}

/* To the end of all that has ended on record; what ran then is looked at for a while. */
static int see_it_through(struct replay *r, long long began, struct err *e)
{
	double seconds = r->opt->seconds;
	bool any = false;
	for (size_t i = 0; i < r->n_ctrs; i++)
		any = any || r->ctrs[i].ended;
	if (seconds < 0)
		seconds = any ? END_SECONDS : LOOK_SECONDS;
	long long until = began + (long long)(seconds * 1000);
	/* Those that ended by themselves first: the others were stopped because of them, maybe. */
	for (size_t i = 0; i < 2 * r->n_ctrs; i++) {
		struct replay_ctr *k = &r->ctrs[i % r->n_ctrs];
		if ((!k->ended && any && r->opt->seconds < 0) ||
		    (k->stopped_at != 0) != (i >= r->n_ctrs))
			continue;
		int done = bring_to_end(r, k, until, e);
		if (done < 0)
			return -1;
		r->over_time = r->over_time || (done == 0 && k->ended);
	}
	return 0;
}

int replay_pod(struct replay *r, struct err *e)
{
	if (make_requests(r, e) < 0)
		return -1;
	long long began = proc_now_ms();
	double seconds = r->opt->seconds < 0 ? END_SECONDS : r->opt->seconds;
	long long until = began + (long long)(seconds * 1000);
	if (create_pod(r, e) < 0)
		return -1;
	for (size_t i = 0; i < r->n_ctrs; i++)
		if (wait_for_earlier(r, i, until, e) < 0 ||
		    start_container(r, &r->ctrs[i], i, e) < 0)
			return -1;
	return see_it_through(r, began, e);
}

/* ---- the end */

struct all {
	const struct state *st;
	const char *pod;
	json_t *ids;
};

static int take_id(void *arg, const char *id, struct err *e)
{
	struct all *a = arg;
	struct err why;
	AUTO_CTR_RECORD struct ctr_record rec = {0};
	(void)e;
	if (ctr_record_read(a->st, id, &rec, &why) == 0 && strcmp(rec.pod_id, a->pod) == 0 &&
	    !ctr_is_sandbox(&rec))
		json_array_append_new(a->ids, json_string(id));
	return 0;
}

int replay_remove(const struct tools *t, const struct state *st, const char *pod, struct err *e)
{
	size_t i;
	json_t *id;
	AUTO_JSON json_t *ids = json_array();
	struct all a = {st, pod, ids};
	int r = object_each(st, OBJ_CONTAINER, take_id, &a, e);
	json_array_foreach (ids, i, id) {
		const char *end[] = {"rm", "--force", json_string_value(id), NULL};
		const char *drop[] = {"rm", json_string_value(id), NULL};
		if (tools_run(t, "ctrrun", end, NULL, -1, e) < 0 ||
		    tools_run(t, "ocibundle", drop, NULL, -1, e) < 0)
			r = -1;
	}
	const char *rm[] = {"rm", pod, NULL};
	return tools_run(t, "podnet", rm, NULL, -1, e) < 0 ? -1 : r;
}
