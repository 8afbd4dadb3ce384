/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "console.h"
#include "log.h"
#include "monitor.h"
#include "podroot.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* One buffer for all streams: it is empty again before the next read. All that a pipe holds is one
 * read: each wakes a writer that waits, which costs more than the rest of the call. */
enum { PAGE = 4096, PIPE_SIZE = 1 << 18, DRAIN_MAX = 16 << 20 };
static _Alignas(PAGE) char chunk[PIPE_SIZE];

/* Most containers say little: what a burst of output has taken is given back when the next second
 * brings none. */
enum { REST_MS = 1000, BURST = 2 * PAGE, STACK_REST = 64 * PAGE };
static struct {
	struct timer timer;
	bool burst;
} rest;

/* Below us is what deeper calls have left, the runtime's start above all. */
static void rest_stack(void)
{
	uintptr_t below = ((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(PAGE - 1)) - PAGE;
	/* What lies beyond the stack's end is not there: no matter. */
	(void)madvise((void *)(below - STACK_REST), STACK_REST, MADV_DONTNEED);
}

static void on_rest(struct timer *c)
{
	struct monitor *m = c->arg;
	if (rest.burst) {
		rest.burst = false;
		loop_timer(m->loop, c, REST_MS, on_rest, m);
		return;
	}
	(void)madvise(chunk, sizeof chunk, MADV_DONTNEED);
	logfile_rest();
	rest_stack();
}

static void rest_later(struct monitor *m)
{
	rest.burst = true;
	if (!rest.timer.slot)
		loop_timer(m->loop, &rest.timer, REST_MS, on_rest, m);
}

static void keep_tail(struct stdio *s, const char *data, size_t len)
{
	size_t n = len < STDERR_TAIL ? len : STDERR_TAIL;
	size_t keep = s->tail_len + n > STDERR_TAIL ? STDERR_TAIL - n : s->tail_len;
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, data + len - n, n);
	s->tail_len = keep + n;
}

enum { TELL_MS = 1000 };

static void on_tell(struct timer *c)
{
	struct monitor *m = c->arg;
	/* No event says that a disk has space again. */
	if (!logfile_tell(&m->log))
		loop_timer(m->loop, &m->tell, TELL_MS, on_tell, m);
}

static void emit(void *arg, const struct iovec *iov, int count)
{
	struct stream *t = arg;
	struct monitor *m = t->m;
	logfile_write(&m->log, t == &m->io.err, iov, count);
	if ((m->log.lost || m->log.limit.dropped) && !m->tell.slot)
		loop_timer(m->loop, &m->tell, TELL_MS, on_tell, m);
}

static void on_resume(struct timer *c)
{
	struct monitor *m = c->arg;
	struct err e;
	struct stream *both[] = {&m->io.out, &m->io.err};
	m->io.paused = false;
	for (int i = 0; i < 2; i++)
		if (both[i]->watch.fd >= 0 &&
		    loop_modify(m->loop, &both[i]->watch, EPOLLIN, &e) < 0)
			log_error("%s", e.msg);
}

/* The container shall wait: nothing is read for so long. */
static void pause_streams(struct monitor *m, int ms)
{
	struct err e;
	struct stream *both[] = {&m->io.out, &m->io.err};
	m->io.paused = true;
	for (int i = 0; i < 2; i++)
		if (both[i]->watch.fd >= 0 && loop_modify(m->loop, &both[i]->watch, 0, &e) < 0)
			log_error("%s", e.msg);
	loop_timer(m->loop, &m->io.pause, ms, on_resume, m);
}

static void stamp_now(char stamp[CRILOG_STAMP_SIZE])
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	crilog_stamp(stamp, &now);
}

static void close_stream(struct stream *t)
{
	struct crilog_sink sink = {emit, t};
	char stamp[CRILOG_STAMP_SIZE];
	if (t->watch.fd < 0)
		return;
	stamp_now(stamp);
	crilog_end(&t->log, stamp, &sink);
	crilog_release(&t->log);
	loop_close(t->m->loop, &t->watch);
	attach_output_ended(t->m, t == &t->m->io.err);
}

/* One read. 1 = there was something, 0 = nothing now, -1 = the stream has ended. */
static int pump(struct stream *t, size_t *len)
{
	struct stdio *s = &t->m->io;
	struct crilog_sink sink = {emit, t};
	char stamp[CRILOG_STAMP_SIZE];
	ssize_t n = read(t->watch.fd, chunk, sizeof chunk);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* A terminal's master gives EIO when the last slave is closed. */
	if (n <= 0)
		return -1;
	*len = (size_t)n;
	if (n > BURST)
		rest_later(t->m);
	if (t->keep_tail)
		keep_tail(s, chunk, (size_t)n);
	if (!s->logging)
		return 1;
	stamp_now(stamp);
	crilog_feed(&t->log, stamp, chunk, (size_t)n, &sink);
	attach_feed(t->m, t == &s->err, chunk, (size_t)n);
	return 1;
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct stream *t = w->arg;
	size_t len = 0;
	/* What nobody can write to any more is read to its end. */
	if (t->m->io.paused && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	int r = pump(t, &len);
	int wait_ms = r > 0 ? limit_block_ms(&t->m->log.limit, len) : 0;
	if (wait_ms && !t->m->io.paused)
		pause_streams(t->m, wait_ms);
	if (r >= 0)
		return;
	close_stream(t);
	monitor_event(t->m, EV_STDIO_EOF);
}

static void drain(struct stream *t)
{
	/* The bound is for a grandchild that writes without end. */
	for (size_t total = 0, len = 0; t->watch.fd >= 0 && total < DRAIN_MAX; total += len) {
		int r = pump(t, &len);
		if (r < 0)
			close_stream(t);
		if (r <= 0)
			return;
	}
}

void stdio_drain(struct monitor *m)
{
	drain(&m->io.out);
	drain(&m->io.err);
}

bool stdio_is_open(const struct stdio *s)
{
	return s->out.watch.fd >= 0 || s->err.watch.fd >= 0;
}

/* The read end goes into the loop, the write end to the child. */
static int open_output(struct monitor *m, struct stream *t, int stream, struct err *e)
{
	char path[32];
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	/* The container gets an end that also reads: were we killed, its next write would otherwise
	 * end it. So it waits until another monitor has found the pipe. */
	snprintf(path, sizeof path, "/proc/self/fd/%d", fds[1]);
	int both = open(path, O_RDWR | O_CLOEXEC);
	if (both >= 0)
		close(fds[1]);
	m->io.child[stream] = both >= 0 ? both : fds[1];
	if (m->opts->pod)
		podroot_give_pipe(m->ctx->cfg.runroot, m->opts->pod, fds[0]);
	/* So that writer and monitor need not take turns; the default does, too. */
	(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	if (loop_add(m->loop, &t->watch, fds[0], EPOLLIN, on_readable, t, e) == 0)
		return 0;
	close(fds[0]);
	return -1;
}

/* The runtime has connected: it sends the terminal's master and goes on. Nothing is read yet: while
 * it opens and closes the other end, a hang-up means nothing. */
static void on_console(struct watch *w, uint32_t events)
{
	struct monitor *m = w->arg;
	struct err e;
	(void)events;
	int fd = console_receive(w->fd, &e);
	if (fd >= 0 && m->io.master < 0)
		m->io.master = fd;
	else
		auto_close(&fd);
}

static int open_console(struct monitor *m, struct err *e)
{
	m->io.console = console_listen(m->run_dir, "console.sock", e);
	if (m->io.console < 0)
		return -1;
	return loop_add(m->loop, &m->io.console_watch, m->io.console, EPOLLIN, on_console, m, e);
}

void stdio_begin(struct monitor *m)
{
	struct stdio *s = &m->io;
	drain(&s->out);
	drain(&s->err);
	s->tail_len = 0;
	s->logging = true;
	rest_later(m);
	/* A runtime with a sandbox sends it when the container is started. */
	if (m->opts->tty && !m->opts->wait)
		stdio_terminal(m);
}

void stdio_terminal(struct monitor *m)
{
	struct stdio *s = &m->io;
	struct err e;
	/* The connection may still be waiting behind the runtime's end in the same batch. */
	if (s->master < 0)
		on_console(&s->console_watch, EPOLLIN);
	if (s->master >= 0 &&
	    loop_add(m->loop, &s->out.watch, s->master, EPOLLIN, on_readable, &s->out, &e) == 0)
		s->master = -1;
	/* With a terminal the container has no part in the stderr pipe. */
	close_stream(&s->err);
}

static void init_streams(struct monitor *m)
{
	struct stdio *s = &m->io;
	size_t max = (size_t)m->opts->line_max;
	s->out.log = CRILOG_INIT("stdout", max);
	s->err.log = CRILOG_INIT("stderr", max);
	s->out.m = s->err.m = m;
	s->err.keep_tail = true;
}

int stdio_adopt(struct monitor *m, int which, int fd, struct err *e)
{
	struct stream *t = which ? &m->io.err : &m->io.out;
	if (!m->io.out.m)
		init_streams(m);
	if (loop_add(m->loop, &t->watch, fd, EPOLLIN, on_readable, t, e) == 0)
		return 0;
	close(fd);
	return -1;
}

int stdio_open(struct monitor *m, struct err *e)
{
	struct stdio *s = &m->io;
	int fds[2];
	init_streams(m);
	if (open_output(m, &s->err, 2, e) < 0)
		return -1;
	if (m->opts->tty)
		return open_console(m, e);
	if (open_output(m, &s->out, 1, e) < 0)
		return -1;
	if (!m->opts->stdin_open)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	s->child[0] = fds[0];
	s->in = fds[1];
	if (m->opts->pod)
		podroot_give_pipe(m->ctx->cfg.runroot, m->opts->pod, fds[0]);
	/* For the clients, which get this very end. */
	fcntl(s->in, F_SETFL, O_NONBLOCK);
	return 0;
}

void stdio_close_child(struct stdio *s)
{
	for (int i = 0; i < 3; i++) {
		auto_close(&s->child[i]);
		s->child[i] = -1;
	}
}

int stdio_resize(struct stdio *s, int64_t width, int64_t height, struct err *e)
{
	if (s->console < 0 || s->out.watch.fd < 0)
		return err_set(e, ERR_BAD_STATE, "the container has no terminal");
	if (width < 1 || width > 65535 || height < 1 || height > 65535)
		return err_set(e, ERR_BAD_INPUT, "terminal size is not within 1 to 65535");
	struct winsize ws = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
	return ioctl(s->out.watch.fd, TIOCSWINSZ, &ws) < 0 ? err_sys(e, "resize terminal") : 0;
}

void stdio_close(struct monitor *m)
{
	struct stdio *s = &m->io;
	loop_timer_cancel(m->loop, &s->pause);
	loop_timer_cancel(m->loop, &m->tell);
	loop_timer_cancel(m->loop, &rest.timer);
	close_stream(&s->out);
	close_stream(&s->err);
	stdio_close_child(s);
	auto_close(&s->in);
	auto_close(&s->master);
	s->in = s->master = -1;
	if (s->console >= 0) {
		loop_del(m->loop, &s->console_watch);
		close(TAKE_FD(s->console));
		unlinkat(m->run_dir, "console.sock", 0);
	}
}
