/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs.h"

#include "auto.h"
#include "jobs_tool.h"
#include "journal.h"
#include "log.h"
#include "server.h"
#include "standby.h"
#include "step.h"
#include "svc.h"
#include "svc_exec.h"
#include "telemetry.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { WORK_MAX = 16, STOP_MAX = 256, PULL_MAX = 16, JOBS_MAX = 4096 };

struct waiter {
	struct waiter *next;
	struct job *job;
	struct call *call;
	void (*answer)(struct call *c, const struct job *j);
};

struct job {
	struct job *next, **link; /* link: what points at us in the list */
	struct jobs *js;
	enum job_class class;
	char rpc[48], req[24];
	char pod[ID_SIZE], ctr[ID_SIZE];
	char told[ID_SIZE]; /* a pod that it is not about, whose journal has it */
	char *key;
	json_t *config;
	struct step *steps, **tail;
	struct step *group; /* the first step of what runs now */
	size_t group_left;
	bool submitted, started, stopped, cancelled, progress, mortal;
	bool failed;
	struct err error;
	char *output;
	struct waiter *waiters;
	void (*plan)(struct job *j);
	void (*done)(struct job *j);
};

struct jobs {
	struct crispd *d;
	struct job *head; /* in order of submission */
	size_t count, running[JOB_CLASS_COUNT];
	bool scheduling, again;
	bool ending; /* a call is being cancelled: its connection is in use */
	struct jobs_tools tools;
};

static void schedule(struct jobs *js);
static void advance(struct job *j);

struct jobs *jobs_new(struct crispd *d)
{
	struct jobs *js = xcalloc(1, sizeof *js);
	js->d = d;
	jobs_tools_init(&js->tools, d);
	return js;
}

void jobs_reload(struct jobs *js, const struct config *said)
{
	jobs_tools_reload(&js->tools, said);
	standbys_drop(js->d->standbys);
	execs_drop(js->d->execs);
}

static void job_free(struct job *j)
{
	for (struct step *s = j->steps, *next; s; s = next) {
		next = s->next;
		step_free(s);
	}
	for (struct waiter *w = j->waiters, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	free(j->key);
	json_decref(j->config);
	free(j->output);
	free(j);
}

void jobs_free(struct jobs *js)
{
	if (!js)
		return;
	for (struct job *j = js->head, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	jobs_tools_release(&js->tools);
	free(js);
}

void jobs_count(const struct jobs *js, size_t *running, size_t *waiting)
{
	*running = 0;
	for (size_t i = 0; i < JOB_CLASS_COUNT; i++)
		*running += js->running[i];
	*waiting = js->count - *running;
}

static const struct step *running_step(const struct job *j)
{
	for (const struct step *s = j->steps; s; s = s->next)
		if (s->started_ms && s->watch.fd >= 0)
			return s;
	return NULL;
}

static bool is_stuck(const struct job *j, const struct step *s, long long ms)
{
	long long may = JOBS_STUCK_S * 1000LL;
	if (j->class == JOB_PULL)
		return false;
	/* A stop's clock is its grace and the runtime's time. */
	if (j->class == JOB_STOP && strcmp(s->tool, "ctrrun") == 0 &&
	    s->timeout_ms > svc_runtime_ms(j->js->d))
		may += s->timeout_ms - svc_runtime_ms(j->js->d);
	return ms > may;
}

json_t *jobs_dump(const struct jobs *js)
{
	json_t *list = json_array();
	for (const struct job *j = js->head; j; j = j->next) {
		const struct step *s = running_step(j);
		long long ms = s ? proc_now_ms() - s->started_ms : 0;
		/* What a pull is known by ends with something about its credentials. */
		const char *key = j->key ? j->key : "";
		const char *end = j->class == JOB_PULL ? strrchr(key, ' ') : NULL;
		AUTO_FREE char *what = xstrndup(key, end ? (size_t)(end - key) : strlen(key));
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:b}", "rpc", j->rpc,
					"req", j->req, "pod", j->pod, "container", j->ctr, "what",
					what, "tool", s ? s->tool : "", "seconds",
					(double)ms / 1000, "stuck", s && is_stuck(j, s, ms)));
	}
	return list;
}

size_t jobs_argv(const struct jobs *js, const char *tool, const char **argv)
{
	return jobs_tools_argv(&js->tools, tool, argv);
}

const char *const *jobs_env(struct jobs *js, const char *req, bool proxy)
{
	return jobs_tools_env(&js->tools, req, proxy);
}

struct job *job_new(struct crispd *d, const char *rpc, const char *req, enum job_class class)
{
	struct job *j = xcalloc(1, sizeof *j);
	j->js = d->jobs;
	j->class = class;
	j->tail = &j->steps;
	snprintf(j->rpc, sizeof j->rpc, "%s", rpc);
	snprintf(j->req, sizeof j->req, "%s", req);
	return j;
}

void job_for(struct job *j, const char *pod, const char *ctr)
{
	snprintf(j->pod, sizeof j->pod, "%s", pod ? pod : "");
	snprintf(j->ctr, sizeof j->ctr, "%s", ctr ? ctr : "");
}

void job_tell(struct job *j, const char *pod)
{
	snprintf(j->told, sizeof j->told, "%s", pod);
}

void job_identify(struct job *j, const char *key, json_t *config)
{
	j->key = xstrdup(key);
	j->config = config;
}

struct step *job_step_argv(struct job *j, int flags, long long timeout_ms, const char *const *argv)
{
	struct step *s = step_new(j, flags, timeout_ms, argv[0]);
	const char *begin[8];
	size_t n = jobs_argv(j->js, argv[0], begin);
	for (size_t i = 0; i < n; i++)
		step_word(s, begin[i]);
	for (size_t i = 1; argv[i]; i++)
		step_word(s, argv[i]);
	*j->tail = s;
	j->tail = &s->next;
	return s;
}

void job_plan(struct job *j, void (*plan)(struct job *j))
{
	j->plan = plan;
}

void job_ends_with_client(struct job *j)
{
	j->mortal = true;
}

struct job *job_find(const struct jobs *js, const char *key)
{
	for (struct job *j = js->head; j; j = j->next)
		if (j->key && !j->cancelled && strcmp(j->key, key) == 0)
			return j;
	return NULL;
}

const json_t *job_config(const struct job *j)
{
	return j->config;
}

const struct err *job_error(const struct job *j)
{
	return j->failed ? &j->error : NULL;
}

const char *job_output(const struct job *j)
{
	return j->output ? j->output : "";
}

const char *job_pod(const struct job *j)
{
	return j->pod;
}

const char *job_ctr(const struct job *j)
{
	return j->ctr;
}

struct crispd *job_daemon(const struct job *j)
{
	return j->js->d;
}

static void on_cancel(void *arg)
{
	struct waiter *w = arg;
	struct job *j = w->job;
	for (struct waiter **p = &j->waiters; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	free(w);
	if (j->waiters || !(j->class == JOB_PULL || j->mortal) || j->cancelled)
		return;
	j->cancelled = true;
	for (struct step *s = j->steps; s; s = s->next)
		if (!(s->flags & (STEP_UNDO | STEP_ALWAYS)))
			step_cancel(s);
	if (j->started)
		return;
	j->js->ending = true;
	schedule(j->js);
	j->js->ending = false;
}

void job_wait(struct job *j, struct call *c, void (*answer)(struct call *c, const struct job *j))
{
	struct waiter *w = xcalloc(1, sizeof *w), **p = &j->waiters;
	*w = (struct waiter){.job = j, .call = c, .answer = answer};
	while (*p)
		p = &(*p)->next;
	*p = w;
	call_on_cancel(c, on_cancel, w);
}

/* What the answers need not wait for. The index is brought up to date before anybody asks it: nothing is read in between,
 * and what ends with a client that is gone starts no job. */
static void settle_job(struct job *j)
{
	struct jobs *js = j->js;
	bool outer = js->scheduling;
	js->scheduling = true;
	if (!js->ending)
		server_push(js->d->server);
	js->scheduling = outer;
	if (j->done)
		j->done(j);
}

static void finish(struct job *j)
{
	struct jobs *js = j->js;
	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	js->count--;
	if (j->started)
		js->running[j->class]--;
	while (j->waiters) {
		struct waiter *w = j->waiters;
		struct call *c = w->call;
		void (*answer)(struct call *, const struct job *) = w->answer;
		j->waiters = w->next;
		free(w);
		answer(c, j);
	}
	settle_job(j);
	job_free(j);
	schedule(js);
}

static void write_journal(const struct step *s)
{
	const struct job *j = s->job;
	struct journal_step entry = {
		.rpc = j->rpc,
		.req = j->req,
		.argv = s->argv,
		.stdin_file = s->stdin_file,
		.when_ns = s->when_ns,
		.exit_status = s->exit_code,
		.ms = s->ms,
		.error = s->failed ? s->error.msg : NULL,
		.warning = s->warning,
	};
	const char *pod = *j->pod ? j->pod : j->told;
	if (*pod)
		journal_append(&j->js->d->st, pod, &entry);
	log_msg(s->failed ? LOG_LVL_WARNING : LOG_LVL_DEBUG, "%s %s%s%s: %s exit=%d ms=%lld%s%s",
		j->rpc,
		*j->ctr   ? "container "
		: *j->pod ? "pod "
			  : "",
		*j->ctr ? j->ctr : j->pod, j->key && !*j->pod ? j->key : "", s->tool, s->exit_code,
		s->ms, s->failed ? ": " : "", s->failed ? s->error.msg : "");
}

/* What one step's end means for the job. */
static void settle(struct step *s)
{
	struct job *j = s->job;
	write_journal(s);
	telemetry_step(j->js->d->telemetry, s->tool, s->failed, s->ms);
	if (s->flags & STEP_UNDO)
		return;
	if (!s->failed) {
		j->progress = true;
		if (s->flags & STEP_DECIDES)
			j->failed = false;
		if (s->flags & STEP_OUTPUT) {
			free(j->output);
			j->output = xstrdup(s->output);
		}
		return;
	}
	if (!j->failed)
		j->error = s->error;
	j->failed = true;
	if (!(s->flags & STEP_GO_ON))
		j->stopped = true;
}

static void on_step(struct step *s)
{
	struct job *j = s->job;
	settle(s);
	if (--j->group_left == 0)
		advance(j);
}

static bool wanted(const struct job *j, const struct step *s)
{
	if (s->flags & STEP_UNDO)
		return (j->failed || j->cancelled) && j->progress;
	if (s->flags & STEP_ALWAYS)
		return true;
	return !j->stopped && !j->cancelled;
}

/* Start the next group of steps that has something to do, or end the job. */
static void advance(struct job *j)
{
	while (j->group) {
		struct step *s = j->group;
		/* One more than run, so that nothing that ends at once advances the job from here.
		 */
		j->group_left = 1;
		do {
			if (wanted(j, s)) {
				if (step_start(s, j->js->d, j->req, on_step) < 0) {
					settle(s);
				} else {
					j->group_left++;
					if (s->then)
						s->then(j);
				}
			}
			s = s->next;
		} while (s && s->flags & STEP_BESIDE);
		j->group = s;
		if (--j->group_left > 0)
			return;
	}
	if (j->cancelled && !j->failed) {
		j->failed = true;
		err_set(&j->error, ERR_CANCELLED, "cancelled by the caller");
	}
	finish(j);
}

static bool same(const char *a, const char *b)
{
	return *a && strcmp(a, b) == 0;
}

/* Must j wait for e, which came earlier and has not ended? */
static bool behind(const struct job *j, const struct job *e)
{
	bool change = e->class == JOB_CREATE || e->class == JOB_CHANGE;
	bool pod = same(j->pod, e->pod), ctr = same(j->ctr, e->ctr);
	bool pod_goes = pod && !*e->ctr && (e->class == JOB_STOP || e->class == JOB_REMOVE);
	switch (j->class) {
	case JOB_CREATE:
		return pod_goes || ctr;
	case JOB_CHANGE:
		return pod_goes || (ctr && e->class != JOB_STOP);
	case JOB_STOP:
		return change && (*j->ctr ? ctr : pod);
	case JOB_REMOVE:
		if (change)
			return *j->ctr ? ctr : pod;
		return e->class == JOB_REMOVE && (*j->ctr ? ctr : pod && !*e->ctr);
	case JOB_PULL:
	case JOB_CLASS_COUNT:
		break;
	}
	return false;
}

static bool has_slot(const struct jobs *js, enum job_class class)
{
	if (class == JOB_STOP)
		return js->running[JOB_STOP] < STOP_MAX;
	if (class == JOB_PULL)
		return js->running[JOB_PULL] < PULL_MAX;
	return js->running[JOB_CREATE] + js->running[JOB_CHANGE] + js->running[JOB_REMOVE] <
	       WORK_MAX;
}

static struct job *next_ready(const struct jobs *js, bool removals)
{
	for (struct job *j = js->head; j; j = j->next) {
		bool blocked = false;
		if (j->started || (j->class == JOB_REMOVE) != removals)
			continue;
		if (j->cancelled)
			return j;
		if (!has_slot(js, j->class))
			continue;
		for (const struct job *e = js->head; e != j && !blocked; e = e->next)
			blocked = behind(j, e);
		if (!blocked)
			return j;
	}
	return NULL;
}

static void schedule(struct jobs *js)
{
	struct job *j;
	if (js->scheduling) {
		js->again = true;
		return;
	}
	js->scheduling = true;
	do {
		js->again = false;
		while ((j = next_ready(js, true)) || (j = next_ready(js, false))) {
			j->started = true;
			js->running[j->class]++;
			if (j->plan)
				j->plan(j);
			j->group = j->steps;
			advance(j);
		}
	} while (js->again);
	js->scheduling = false;
}

void job_submit(struct job *j, void (*done)(struct job *j))
{
	struct jobs *js = j->js;
	struct job **p = &js->head;
	while (*p)
		p = &(*p)->next;
	*p = j;
	j->link = p;
	js->count++;
	j->done = done;
	if (js->count > JOBS_MAX) {
		j->failed = true;
		err_set(&j->error, ERR_EXHAUSTED, "more than %d requests are under way", JOBS_MAX);
		finish(j);
		return;
	}
	schedule(js);
}
