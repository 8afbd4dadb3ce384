/* SPDX-License-Identifier: Apache-2.0 */
#include "svc_exec.h"

#include "auto.h"
#include "journal.h"
#include "jsonx.h"
#include "keeper.h"
#include "log.h"
#include "proc.h"
#include "reaper.h"
#include "server.h"
#include "services.h"
#include "svc.h"
#include "toolrun.h"
#include "turnstile.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	REPLY_SLACK = 4096, /* what a reply needs beside the two streams */
	RUNNING_MAX = 64,
	OWN_MAX = 4, /* each keeps up to 32 MiB of output, and no keeper counts that */
	STDERR_MAX = 16 << 10,
	LATE_MS = 10000, /* beyond the command's own timeout and what holds its streams */
	KILL_AFTER_MS = TURNSTILE_KILL_MS,
	ASKED_MAX = 3, /* after that a keeper's run is given up */
};

struct exec {
	struct exec *next;
	struct execs *all;
	struct call *call; /* NULL once it was cancelled */
	char ctr[ID_SIZE], pod[ID_SIZE], req[24];
	char **cmd;
	size_t n_cmd;
	long long timeout_s;
	bool started, late;
	bool is_own;    /* the keeper cannot have it */
	unsigned asked; /* how often it was to end */
	struct keeper_run run;
	struct toolrun own;
	struct watch end;
	int told;
	struct timer clock;
	int64_t when_ns;
	long long started_ms;
};

struct execs {
	struct crispd *d;
	struct exec *head; /* as they came */
	struct keeper *keeper;
	size_t running, n_own;
	struct timer turn; /* of the next that is started */
};

/* How it went. */
struct outcome {
	bool exited; /* with this code; else there is an error */
	int code;
	struct err error;
	const char *stdout, *stderr; /* the answer's */
	size_t stdout_len, stderr_len;
};

static void begin_waiting(struct execs *x);

struct execs *execs_new(struct crispd *d)
{
	struct execs *x = xcalloc(1, sizeof *x);
	x->d = d;
	x->keeper = keeper_new(d, "ctrrun", "exec");
	return x;
}

void execs_drop(struct execs *x)
{
	keeper_drop(x->keeper);
}

static void exec_free(struct exec *ex)
{
	struct execs *x = ex->all;
	for (struct exec **p = &x->head; *p; p = &(*p)->next)
		if (*p == ex) {
			*p = ex->next;
			break;
		}
	if (ex->started)
		x->running--;
	if (ex->started && ex->is_own)
		x->n_own--;
	keeper_forget(x->keeper, &ex->run);
	loop_del(x->d->loop, &ex->end);
	loop_timer_cancel(x->d->loop, &ex->clock);
	if (ex->own.proc.pidfd >= 0) {
		proc_kill(&ex->own.proc, SIGTERM);
		reaper_take(x->d->reaper, &ex->own.proc);
	}
	toolrun_close(&ex->own);
	auto_close(&ex->told);
	for (size_t i = 0; i < ex->n_cmd; i++)
		free(ex->cmd[i]);
	free(ex->cmd);
	free(ex);
}

void execs_free(struct execs *x)
{
	if (!x)
		return;
	while (x->head)
		exec_free(x->head);
	loop_timer_cancel(x->d->loop, &x->turn);
	keeper_free(x->keeper);
	free(x);
}

static void timed_out(const struct exec *ex, struct err *e)
{
	err_set(e, ERR_TIMEOUT, "command in container %s: no end within %lld s", ex->ctr,
		ex->timeout_s);
}

/* The status of a ctrrun that said nothing else, and what it said on stderr. */
static void read_status(const struct exec *ex, int status, const char *text, size_t len,
			struct outcome *o)
{
	if (status == err_exit_status(&(struct err){.kind = ERR_TIMEOUT}))
		timed_out(ex, &o->error);
	else
		jobs_read_stderr("ctrrun", text, len, status ? status : 1, NULL, &o->error);
}

/* How many bytes of the answer's there are for this stream; they come one after the other. */
static size_t length(const json_t *line, const char *stream, size_t *left)
{
	json_int_t n = json_integer_value(json_object_get(line, stream));
	size_t len = n < 0 ? 0 : (size_t)n;
	len = len < *left ? len : *left;
	*left -= len;
	return len;
}

static void read_answer(const struct exec *ex, const struct answer *a, struct outcome *o)
{
	AUTO_JSON json_t *line = json_loadb(a->line, a->line_len, 0, NULL);
	json_t *code = json_object_get(line, "code");
	json_int_t exit = json_integer_value(json_object_get(line, "exit"));
	size_t left = a->body_len;
	if (json_is_integer(code) && a->torn) {
		err_set(&o->error, ERR_EXHAUSTED,
			"the output of the command in container %s cannot be taken: too many files "
			"are open, or there is no memory",
			ex->ctr);
	} else if (json_is_integer(code)) {
		o->exited = true;
		o->code = (int)json_integer_value(code);
		o->stdout_len = length(line, "stdout", &left);
		o->stderr_len = length(line, "stderr", &left);
		o->stdout = a->body;
		o->stderr = o->stdout + o->stdout_len;
	} else if (json_is_string(code)) {
		err_set(&o->error, err_kind_of_name(json_string_value(code)), "%s",
			jsonx_opt_string(line, "msg", "exec failed"));
		if (o->error.kind == ERR_TIMEOUT)
			timed_out(ex, &o->error);
	} else {
		read_status(ex, (int)exit, "", 0, o);
	}
	if (!o->exited && ex->late)
		timed_out(ex, &o->error);
}

/* Probes run for ever: only what failed on our side is worth a line. */
static void journal_failure(const struct exec *ex, const struct err *e)
{
	const char *argv[10 + 64] = {NULL};
	size_t n = jobs_argv(ex->all->d->jobs, "ctrrun", argv);
	argv[n++] = "exec";
	argv[n++] = ex->ctr;
	for (size_t i = 0; i < ex->n_cmd && i < 60; i++)
		argv[n++] = ex->cmd[i];
	struct journal_step step = {
		.rpc = "ExecSync",
		.req = ex->req,
		.argv = argv,
		.when_ns = ex->when_ns,
		.exit_status = err_exit_status(e),
		.ms = proc_now_ms() - ex->started_ms,
		.error = e->msg,
	};
	journal_append(&ex->all->d->st, ex->pod, &step);
	log_warn("ExecSync: %s", e->msg);
}

static ProtobufCBinaryData bytes_of(const char *data, size_t len, size_t room)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)data, .len = len < room ? len : room};
}

static void finish(struct exec *ex, const struct outcome *o)
{
	struct execs *x = ex->all;
	struct call *c = TAKE(ex->call);
	if (!o->exited)
		journal_failure(ex, &o->error);
	if (c && !o->exited) {
		call_fail(c, &o->error);
	} else if (c) {
		Runtime__V1__ExecSyncResponse reply = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
		/* Both streams full would be more than a client takes in one message. */
		size_t room = (size_t)x->d->cfg.grpc_max_send_msg_size - REPLY_SLACK;
		reply.stdout = bytes_of(o->stdout, o->stdout_len, room);
		reply.stderr = bytes_of(o->stderr, o->stderr_len, room - reply.stdout.len);
		reply.exit_code = o->code;
		call_reply(c, &reply.base);
	}
	exec_free(ex);
	begin_waiting(x);
}

static void on_answer(struct keeper_run *r, const struct answer *a)
{
	struct exec *ex = r->arg;
	struct outcome o = {.exited = false};
	read_answer(ex, a, &o);
	finish(ex, &o);
}

/* One of our own. */
static void on_end(struct watch *w, uint32_t events)
{
	struct exec *ex = w->arg;
	AUTO_FREE struct answer *a = xmalloc(sizeof *a);
	struct outcome o = {.exited = false};
	struct proc_result r = {.exited = true, .status = 1};
	struct err e;
	char text[STDERR_MAX];
	(void)events;
	if (proc_try_reap(&ex->own.proc, &r, &e) == 0)
		return;
	ssize_t n = pread(ex->own.err, text, sizeof text, 0);
	size_t len = n > 0 ? (size_t)n : 0;
	if (answer_receive(ex->told, a) > 0) {
		jobs_read_stderr("ctrrun", text, len, 0, NULL, &e);
		read_answer(ex, a, &o);
		finish(ex, &o);
		answer_release(a);
		return;
	}
	read_status(ex, proc_exit_code(&r), text, len, &o);
	if (ex->late)
		timed_out(ex, &o.error);
	finish(ex, &o);
}

static void on_clock(struct timer *t);

/* It had three times as long as it takes the keeper to kill it. */
static void give_up(struct exec *ex)
{
	struct outcome o = {.exited = false};
	keeper_give_up(ex->all->keeper, &ex->run);
	if (ex->late)
		timed_out(ex, &o.error);
	else
		err_set(&o.error, ERR_CANCELLED, "command in container %s does not end", ex->ctr);
	finish(ex, &o);
}

static void end_it(struct exec *ex)
{
	if (!ex->is_own && ex->asked == ASKED_MAX) {
		give_up(ex);
		return;
	}
	if (ex->is_own)
		proc_kill(&ex->own.proc, ex->asked ? SIGKILL : SIGTERM);
	else
		keeper_end(&ex->run);
	ex->asked++;
	loop_timer(ex->all->d->loop, &ex->clock, KILL_AFTER_MS, on_clock, ex);
}

static void on_clock(struct timer *t)
{
	struct exec *ex = t->arg;
	ex->late = ex->late || !ex->asked;
	end_it(ex);
}

static void on_cancel(void *arg)
{
	struct exec *ex = arg;
	ex->call = NULL;
	if (!ex->started)
		exec_free(ex);
	else
		end_it(ex);
}

/* Until it executes its program we stand still. */
static int start_own(struct exec *ex, const char *const *words, size_t n_words, struct err *e)
{
	struct crispd *d = ex->all->d;
	AUTO_FREE const char **argv = xcalloc(n_words + 20, sizeof *argv);
	char number[16];
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, "socketpair");
	ex->told = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	size_t n = jobs_argv(d->jobs, "ctrrun", argv);
	snprintf(number, sizeof number, "%d", theirs);
	argv[n++] = "exec";
	argv[n++] = "--status-fd";
	argv[n++] = number;
	memcpy(argv + n, words, n_words * sizeof *words);
	if (toolrun_start(&ex->own, argv, jobs_env(d->jobs, ex->req, false), NULL, 0, theirs, e) <
	    0)
		return -1;
	return loop_add(d->loop, &ex->end, ex->own.proc.pidfd, EPOLLIN, on_end, ex, e);
}

/* 1 when it has to wait for others that are not the keeper's. */
static int start(struct exec *ex, struct err *e)
{
	struct execs *x = ex->all;
	AUTO_FREE const char **words = xcalloc(ex->n_cmd + 8, sizeof *words);
	char seconds[24];
	struct err why;
	size_t n = 0;
	words[n++] = "--collect";
	if (ex->timeout_s > 0) {
		snprintf(seconds, sizeof seconds, "%lld", ex->timeout_s);
		words[n++] = "--timeout";
		words[n++] = seconds;
	}
	words[n++] = "--"; /* the command's first word is no option */
	words[n++] = ex->ctr;
	for (size_t i = 0; i < ex->n_cmd; i++)
		words[n++] = ex->cmd[i];
	if (keeper_run(x->keeper, &ex->run, words, ex->req, on_answer, &why) == 0)
		return 0;
	log_debug("ExecSync: %s", why.msg);
	ex->is_own = true;
	return x->n_own < OWN_MAX ? start_own(ex, words, n, e) : 1;
}

/* When ctrrun must have ended it. */
static long long late_ms(const struct exec *ex)
{
	return (ex->timeout_s + ex->all->d->cfg.exec_drain_timeout) * 1000 + LATE_MS;
}

static void begin(struct exec *ex)
{
	struct execs *x = ex->all;
	struct err e;
	ex->when_ns = record_now_ns();
	ex->started_ms = proc_now_ms();
	int r = start(ex, &e);
	if (r > 0)
		return;
	ex->started = true;
	x->running++;
	x->n_own += ex->is_own;
	if (r < 0) {
		call_fail(TAKE(ex->call), &e);
		exec_free(ex);
	} else if (ex->timeout_s > 0) {
		loop_timer(x->d->loop, &ex->clock, late_ms(ex), on_clock, ex);
	}
}

static struct exec *next_waiting(const struct execs *x)
{
	struct exec *ex = x->head;
	while (ex && (ex->started || (ex->is_own && x->n_own == OWN_MAX)))
		ex = ex->next;
	return ex;
}

/* One, then whatever else there is to do: the start of a keeper, or without one, holds the loop up, and a kubelet's
 * probes come many at a time. */
static void on_turn(struct timer *t)
{
	struct execs *x = t->arg;
	server_push(x->d->server); /* what was answered meanwhile goes out before */
	struct exec *ex = next_waiting(x);
	if (ex && x->running < RUNNING_MAX)
		begin(ex);
	begin_waiting(x);
}

static void begin_waiting(struct execs *x)
{
	if (next_waiting(x) && x->running < RUNNING_MAX && !x->turn.slot)
		loop_timer(x->d->loop, &x->turn, 0, on_turn, x);
}

void svc_exec_sync(struct call *c, const ProtobufCMessage *request)
{
	enum { TIMEOUT_MAX_S = 366 * 86400 };
	const Runtime__V1__ExecSyncRequest *r = (const void *)request;
	struct execs *x = call_daemon(c)->execs;
	struct ctr *k = svc_need_ctr(c, r->container_id);
	if (!k)
		return;
	if (!r->n_cmd) {
		svc_fail(c, ERR_BAD_INPUT, "exec: no command");
		return;
	}
	if (k->state != CTR_RUNNING) {
		svc_fail(c, ERR_BAD_STATE, "container %s is not running", k->o.id);
		return;
	}
	struct exec *ex = xcalloc(1, sizeof *ex), **p = &x->head;
	ex->all = x;
	ex->call = c;
	ex->run.arg = ex;
	ex->own = TOOLRUN_NONE;
	ex->end = WATCH_NONE;
	ex->told = -1;
	memcpy(ex->ctr, k->o.id, ID_SIZE);
	snprintf(ex->pod, sizeof ex->pod, "%.64s", k->rec.pod_id);
	snprintf(ex->req, sizeof ex->req, "%s", call_id(c));
	ex->timeout_s = r->timeout > TIMEOUT_MAX_S ? TIMEOUT_MAX_S : r->timeout;
	ex->cmd = xcalloc(r->n_cmd, sizeof(char *));
	for (; ex->n_cmd < r->n_cmd; ex->n_cmd++)
		ex->cmd[ex->n_cmd] = xstrdup(r->cmd[ex->n_cmd]);
	while (*p)
		p = &(*p)->next;
	*p = ex;
	call_on_cancel(c, on_cancel, ex);
	begin_waiting(x);
}
