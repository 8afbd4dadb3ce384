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
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	STREAM_MAX = 16 << 20, /* bytes of stdout, and of stderr; the CRI's number */
	REPLY_SLACK = 4096,    /* what a reply needs beside the two */
	HELD_MAX = 128 << 20,  /* bytes of output over all commands */
	LINE_MAX_BYTES = 16 << 10,
	RUNNING_MAX = 64,
	CHUNK = 64 << 10,
	READS = 16,      /* chunks of one stream before others get a turn */
	LATE_MS = 10000, /* beyond the command's own timeout */
	KILL_AFTER_MS = 5000,
};

enum stream { OUT, ERR, STREAMS };

struct exec {
	struct exec *next;
	struct execs *all;
	struct call *call; /* NULL once it was cancelled */
	char ctr[ID_SIZE], pod[ID_SIZE], req[24];
	char **cmd;
	size_t n_cmd;
	long long timeout_s;
	bool started, ended, killed, late;
	struct proc proc; /* none when the keeper has it */
	struct proc_result result;
	struct watch end, watch[STREAMS]; /* end: of the process, or the run's gate */
	struct buf buf[STREAMS];
	int told;       /* through it ctrrun tells how it went */
	int said, code; /* 1: the code, -1: an error, 0: nothing yet */
	struct err error;
	struct timer clock;
	int64_t when_ns;
	long long started_ms;
};

struct execs {
	struct crispd *d;
	struct exec *head; /* as they came */
	struct keeper *keeper;
	size_t running, held;
	struct timer turn; /* of the next that is started */
	int devnull;       /* their stdin */
};

static void begin_waiting(struct execs *x);

struct execs *execs_new(struct crispd *d)
{
	struct execs *x = xcalloc(1, sizeof *x);
	x->d = d;
	x->keeper = keeper_new(d, "ctrrun", "exec");
	x->devnull = -1;
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
	for (int i = 0; i < STREAMS; i++) {
		loop_close(x->d->loop, &ex->watch[i]);
		x->held -= ex->buf[i].len;
		buf_release(&ex->buf[i]);
	}
	loop_del(x->d->loop, &ex->end);
	auto_close(&ex->told); /* with that the keeper knows, if it does not yet */
	loop_timer_cancel(x->d->loop, &ex->clock);
	if (!ex->ended && ex->proc.pidfd >= 0) {
		proc_kill(&ex->proc, SIGTERM);
		reaper_take(x->d->reaper, &ex->proc);
	}
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
	auto_close(&x->devnull);
	free(x);
}

/* A line with an exit code or an error. */
static void read_line(struct exec *ex, const char *line, size_t len)
{
	AUTO_JSON json_t *j = json_loadb(line, len, 0, NULL);
	const json_t *told = json_object_get(j, "code");
	const char *kind = json_string_value(told);
	if (json_is_integer(told)) {
		ex->code = (int)json_integer_value(told);
		ex->said = 1;
	} else if (kind) {
		err_set(&ex->error, err_kind_of_name(kind), "%s",
			jsonx_opt_string(j, "msg", "exec failed"));
		ex->said = -1;
	}
}

/* Whether there is nothing more to wait for: a line that says it, the status of one that ended without, or its
 * keeper's end. */
static bool read_told(struct exec *ex)
{
	char text[LINE_MAX_BYTES];
	while (!ex->said) {
		ssize_t n = recv(ex->told, text, sizeof text, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		ex->result = (struct proc_result){.exited = n > 0, .status = SIGKILL};
		if (n == 1)
			ex->result.status = (unsigned char)*text;
		if (n <= 1)
			return true;
		read_line(ex, text, (size_t)n);
	}
	return true;
}

static void timed_out(const struct exec *ex, struct err *e)
{
	err_set(e, ERR_TIMEOUT, "command in container %s: no end within %lld s", ex->ctr,
		ex->timeout_s);
}

/* 0 with the command's exit code, or the error. */
static int outcome(const struct exec *ex, int *code, struct err *e)
{
	int status = proc_exit_code(&ex->result);
	*code = ex->code;
	if (ex->said > 0)
		return 0;
	*e = ex->error;
	if (ex->late || (ex->said < 0 ? e->kind == ERR_TIMEOUT : status == 124)) {
		timed_out(ex, e);
		return -1;
	}
	if (ex->said == 0)
		jobs_read_stderr("ctrrun", ex->buf[ERR].data ? ex->buf[ERR].data : "",
				 ex->buf[ERR].len, status ? status : 1, NULL, e);
	return -1;
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

static ProtobufCBinaryData bytes_of(const struct buf *b, size_t room)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)b->data,
				     .len = b->len < room ? b->len : room};
}

static void finish(struct exec *ex)
{
	struct execs *x = ex->all;
	struct call *c = TAKE(ex->call);
	struct err e;
	int code = 0;
	int r = outcome(ex, &code, &e);
	if (r < 0)
		journal_failure(ex, &e);
	if (c && r < 0) {
		call_fail(c, &e);
	} else if (c) {
		Runtime__V1__ExecSyncResponse reply = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
		/* Both streams full would be more than a client takes in one message. */
		size_t room = (size_t)x->d->cfg.grpc_max_send_msg_size - REPLY_SLACK;
		reply.stdout = bytes_of(&ex->buf[OUT], room);
		reply.stderr = bytes_of(&ex->buf[ERR], room - reply.stdout.len);
		reply.exit_code = code;
		call_reply(c, &reply.base);
	}
	exec_free(ex);
	begin_waiting(x);
}

static void on_drained(struct timer *t)
{
	finish(t->arg);
}

static void check_end(struct exec *ex)
{
	if (!ex->ended)
		return;
	if (!ex->call || (ex->watch[OUT].fd < 0 && ex->watch[ERR].fd < 0))
		finish(ex);
}

static void keep(struct exec *ex, enum stream s, const char *data, size_t n)
{
	struct err ignored;
	struct buf *b = &ex->buf[s];
	size_t room = b->limit - b->len, left = HELD_MAX - ex->all->held;
	if (n > room)
		n = room;
	if (n > left)
		n = left;
	if (n && buf_add(b, data, n, &ignored) == 0)
		ex->all->held += n;
}

static void pump(struct exec *ex, enum stream s)
{
	char chunk[CHUNK];
	for (int i = 0; i < READS && ex->watch[s].fd >= 0; i++) {
		ssize_t n = read(ex->watch[s].fd, chunk, sizeof chunk);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			loop_close(ex->all->d->loop, &ex->watch[s]);
		else
			keep(ex, s, chunk, (size_t)n);
	}
}

static void on_data(struct watch *w, uint32_t events)
{
	struct exec *ex = w->arg;
	(void)events;
	for (int s = 0; s < STREAMS; s++)
		if (w == &ex->watch[s])
			pump(ex, (enum stream)s);
	check_end(ex);
}

/* Of a process of ours: 1 has ended, 0 has not. */
static int reap(struct exec *ex)
{
	struct proc_result r = {.exited = true, .status = 1};
	struct err e;
	int n = proc_try_reap(&ex->proc, &r, &e);
	if (n == 0)
		return 0;
	(void)read_told(ex);
	ex->result = r;
	return 1;
}

static void on_end(struct watch *w, uint32_t events)
{
	struct exec *ex = w->arg;
	(void)events;
	if (ex->proc.pidfd >= 0 ? reap(ex) == 0 : !read_told(ex))
		return;
	loop_del(ex->all->d->loop, &ex->end);
	ex->ended = true;
	for (int s = 0; s < STREAMS; s++)
		pump(ex, (enum stream)s);
	/* Whatever else holds the pipes gets this long. */
	loop_timer(ex->all->d->loop, &ex->clock, ex->all->d->cfg.exec_drain_timeout * 1000,
		   on_drained, ex);
	check_end(ex);
}

static void on_clock(struct timer *t);

static void end_it(struct exec *ex)
{
	if (ex->proc.pidfd >= 0)
		proc_kill(&ex->proc, ex->killed ? SIGKILL : SIGTERM);
	else
		shutdown(ex->told, SHUT_WR); /* the keeper does the rest */
	ex->killed = true;
	loop_timer(ex->all->d->loop, &ex->clock, KILL_AFTER_MS, on_clock, ex);
}

static void on_clock(struct timer *t)
{
	struct exec *ex = t->arg;
	ex->late = ex->late || !ex->killed;
	end_it(ex);
}

static void on_cancel(void *arg)
{
	struct exec *ex = arg;
	ex->call = NULL;
	if (!ex->started)
		exec_free(ex);
	else if (ex->ended)
		finish(ex);
	else
		end_it(ex);
}

static int open_stream(struct exec *ex, enum stream s, int *theirs, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	*theirs = fds[1];
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	if (loop_add(ex->all->d->loop, &ex->watch[s], fds[0], EPOLLIN, on_data, ex, e) == 0)
		return 0;
	close(fds[0]);
	return -1;
}

/* /dev/null, opened once and not for each; -1 asks for the latter. */
static int stdin_of(struct execs *x)
{
	if (x->devnull < 0)
		x->devnull = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return x->devnull;
}

/* Until it executes its program we stand still. */
static int start_own(struct exec *ex, const char *const *words, const int streams[3], struct err *e)
{
	struct crispd *d = ex->all->d;
	AUTO_FREE const char **argv = xcalloc(ex->n_cmd + 20, sizeof *argv);
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
	while (*words)
		argv[n++] = *words++;
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = jobs_env(d->jobs, ex->req, false);
	spec.in = streams[0];
	spec.out = streams[1];
	spec.err = streams[2];
	spec.keep = (const int[]){theirs, -1};
	spec.new_group = true;
	if (proc_start(&ex->proc, &spec, e) < 0)
		return -1;
	return loop_add(d->loop, &ex->end, ex->proc.pidfd, EPOLLIN, on_end, ex, e);
}

static int start(struct exec *ex, struct err *e)
{
	struct execs *x = ex->all;
	AUTO_CLOSE int out = -1;
	AUTO_CLOSE int err = -1;
	AUTO_FREE const char **words = xcalloc(ex->n_cmd + 4, sizeof *words);
	char seconds[24];
	struct err why;
	size_t n = 0;
	if (open_stream(ex, OUT, &out, e) < 0 || open_stream(ex, ERR, &err, e) < 0)
		return -1;
	if (ex->timeout_s > 0) {
		snprintf(seconds, sizeof seconds, "%lld", ex->timeout_s);
		words[n++] = "--timeout";
		words[n++] = seconds;
	}
	words[n++] = ex->ctr;
	for (size_t i = 0; i < ex->n_cmd; i++)
		words[n++] = ex->cmd[i];
	const int streams[3] = {stdin_of(x), out, err};
	ex->told = keeper_run(x->keeper, words, ex->req, streams, &why);
	if (ex->told >= 0)
		return loop_add(x->d->loop, &ex->end, ex->told, EPOLLIN, on_end, ex, e);
	log_debug("ExecSync: %s", why.msg);
	return start_own(ex, words, streams, e);
}

static void begin(struct exec *ex)
{
	struct execs *x = ex->all;
	struct err e;
	ex->started = true;
	ex->when_ns = record_now_ns();
	ex->started_ms = proc_now_ms();
	x->running++;
	if (start(ex, &e) < 0) {
		call_fail(TAKE(ex->call), &e);
		exec_free(ex);
	} else if (ex->timeout_s > 0) {
		loop_timer(x->d->loop, &ex->clock, ex->timeout_s * 1000 + LATE_MS, on_clock, ex);
	}
}

static struct exec *next_waiting(const struct execs *x)
{
	struct exec *ex = x->head;
	while (ex && ex->started)
		ex = ex->next;
	return ex;
}

/* One, then whatever else there is to do: a start holds the loop up, and a kubelet's probes come many at a
 * time. */
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
	ex->proc = PROC_NONE;
	ex->end = WATCH_NONE;
	ex->told = -1;
	for (int i = 0; i < STREAMS; i++) {
		ex->watch[i] = WATCH_NONE;
		ex->buf[i] = BUF_INIT(STREAM_MAX);
	}
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
