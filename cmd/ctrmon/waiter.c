/* SPDX-License-Identifier: Apache-2.0 */
/* A container whose process is not one of this host: its pid file names the sandbox that has all of
 * the pod's processes, and how it ended is what `RUNTIME wait ID` prints once it has. */
#include "auto.h"
#include "flatjson.h"
#include "log.h"
#include "monitor.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

/* A runtime that cannot say it is asked again that many times. */
enum { ANSWER_MAX = 4096, AGAIN_MS = 1000, TRIES = 3, KILLED = 137 };

static void tell(struct monitor *m, int64_t code, bool unknown)
{
	m->wait.told = true;
	m->exit.code = code;
	m->exit.unknown = unknown;
	monitor_event(m, EV_CHILD_EXIT);
}

/* {"id":"…","exitStatus":143} */
static bool read_answer(struct monitor *m, int64_t *code)
{
	char text[ANSWER_MAX];
	ssize_t n = pread(m->wait.out, text, sizeof text, 0);
	const char *start = n > 0 ? memchr(text, '{', (size_t)n) : NULL;
	if (!start)
		return false;
	size_t len = (size_t)(text + n - start);
	while (len && start[len - 1] != '}')
		len--;
	return flatjson_int(start, len, "exitStatus", code) && *code >= 0 && *code <= 255;
}

static void on_again(struct timer *t)
{
	waiter_start(t->arg);
}

static void failed(struct monitor *m)
{
	if (++m->wait.tries < TRIES)
		loop_timer(m->loop, &m->clock, AGAIN_MS, on_again, m);
	else
		tell(m, 255, true);
}

static void on_end(struct watch *w, uint32_t events)
{
	struct monitor *m = w->arg;
	struct proc_result r = {0};
	struct err e;
	int64_t code = 0;
	int fd = w->fd;
	(void)events;
	int reaped = proc_try_reap(&m->wait.proc, &r, &e);
	if (reaped == 0)
		return;
	loop_del(m->loop, w);
	if (reaped < 0)
		close(fd);
	m->wait.proc = PROC_NONE;
	bool said = reaped > 0 && r.exited && r.status == 0 && read_answer(m, &code);
	auto_close(&m->wait.out);
	m->wait.out = -1;
	if (m->state != MON_RUNNING)
		return;
	if (said)
		tell(m, code, false);
	else
		failed(m);
}

static int start(struct monitor *m, struct err *e)
{
	m->wait.out = memfd_create("wait", MFD_CLOEXEC);
	if (m->wait.out < 0)
		return err_sys(e, "memfd");
	if (runtime_verb(m, &m->wait.proc, m->wait.out, "wait", NULL, NULL, NULL, e) < 0)
		return -1;
	return loop_add(m->loop, &m->wait.watch, m->wait.proc.pidfd, EPOLLIN, on_end, m, e);
}

void waiter_start(struct monitor *m)
{
	struct err e;
	if (m->wait.proc.pid > 0 || m->state != MON_RUNNING)
		return;
	if (start(m, &e) == 0)
		return;
	log_warn("wait: %s", e.msg);
	auto_close(&m->wait.out);
	m->wait.out = -1;
	failed(m);
}

int waiter_stdio(struct ctl_client *c, const char *text, size_t len, struct buf *out, struct err *e)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	(void)text;
	(void)len;
	if (buf_addstr(out, "{\"ok\":true", e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int fd = c->m->io.child[i] >= 0 ? fcntl(c->m->io.child[i], F_DUPFD_CLOEXEC, 3) : -1;
		if (fd < 0)
			continue;
		c->pass[c->n_pass++] = fd;
		if (buf_addf(out, e, ",\"%s\":1", names[i]) < 0)
			return -1;
	}
	return buf_addstr(out, "}", e);
}

void waiter_started(struct monitor *m)
{
	stdio_close_child(&m->io);
	if (m->opts->tty && m->io.console >= 0)
		stdio_terminal(m);
	waiter_start(m);
}

void waiter_gone(struct monitor *m)
{
	if (m->state == MON_RUNNING)
		tell(m, KILLED, false);
}

void waiter_sandbox_ended(struct monitor *m)
{
	m->exit.code = KILLED;
	m->exit.signal = KILLED - 128;
	m->exit.sandbox_ended = true;
}

void waiter_close(struct monitor *m)
{
	if (m->wait.proc.pid <= 0)
		return;
	loop_del(m->loop, &m->wait.watch);
	proc_kill(&m->wait.proc, SIGKILL);
	auto_close(&m->wait.proc.pidfd);
	auto_close(&m->wait.out);
}
