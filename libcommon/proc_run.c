/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "proc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

enum { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_COUNT };

struct run {
	int fd[STREAM_COUNT]; /* our ends, -1 when closed */
	const char *input;
	size_t input_left;
	struct buf *sink[STREAM_COUNT];
};

static void run_release(struct run *r)
{
	for (int i = 0; i < STREAM_COUNT; i++)
		auto_close(&r->fd[i]);
}

static void run_close(struct run *r, int stream)
{
	close(TAKE_FD(r->fd[stream]));
}

static void feed(struct run *r)
{
	ssize_t n = write(r->fd[STREAM_IN], r->input, r->input_left);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* EPIPE: the child does not want the rest */
		run_close(r, STREAM_IN);
		return;
	}
	r->input += n;
	r->input_left -= (size_t)n;
	if (r->input_left == 0)
		run_close(r, STREAM_IN);
}

static void collect(struct run *r, int stream)
{
	char chunk[16384];
	struct err ignored;
	ssize_t n = read(r->fd[stream], chunk, sizeof chunk);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		run_close(r, stream);
		return;
	}
	struct buf *b = r->sink[stream];
	if (!b)
		return;
	size_t room = b->limit - b->len;
	/* Over the limit: keep what fits, drop the rest, go on reading so that the child does not
	 * block. */
	(void)buf_add(b, chunk, (size_t)n < room ? (size_t)n : room, &ignored);
}

/* Until the child has ended and its pipes are closed, or `grace` ms after its end. */
static int pump(struct run *r, struct proc *p, long long deadline)
{
	enum { GRACE_MS = 100 };
	long long ended = -1;
	for (;;) {
		struct pollfd pfd[STREAM_COUNT + 1];
		for (int i = 0; i < STREAM_COUNT; i++)
			pfd[i] = (struct pollfd){.fd = r->fd[i],
						 .events = i == STREAM_IN ? POLLOUT : POLLIN};
		pfd[STREAM_COUNT] =
			(struct pollfd){.fd = ended < 0 ? p->pidfd : -1, .events = POLLIN};
		if (ended >= 0 && r->fd[STREAM_OUT] < 0 && r->fd[STREAM_ERR] < 0)
			return 0;
		long long now = proc_now_ms(), until = ended < 0 ? deadline : ended + GRACE_MS;
		if (until >= 0 && now >= until)
			return ended >= 0 ? 0 : -1;
		int n = poll(pfd, STREAM_COUNT + 1, until < 0 ? -1 : (int)(until - now));
		if (n < 0 && errno != EINTR)
			return -1;
		if (n <= 0)
			continue;
		if (pfd[STREAM_IN].revents)
			feed(r);
		for (int i = STREAM_OUT; i < STREAM_COUNT; i++)
			if (pfd[i].revents)
				collect(r, i);
		if (pfd[STREAM_COUNT].revents)
			ended = proc_now_ms();
	}
}

/* One pipe whose end `ours` is kept in r (non-blocking) and whose other end is returned. */
static int open_pipe(struct run *r, int stream, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	int mine = stream == STREAM_IN ? fds[1] : fds[0];
	r->fd[stream] = mine;
	fcntl(mine, F_SETFL, fcntl(mine, F_GETFL) | O_NONBLOCK);
	return stream == STREAM_IN ? fds[0] : fds[1];
}

int proc_run(const struct proc_spec *spec, const void *input, size_t input_len, struct buf *out,
	     struct buf *errout, int timeout_ms, struct proc_result *res, struct err *e)
{
	__attribute__((cleanup(run_release))) struct run r = {
		.fd = {-1, -1, -1},
		.input = input,
		.input_left = input_len,
		.sink = {NULL, out, errout},
	};
	struct proc_spec s = *spec;
	struct proc p;
	AUTO_CLOSE int in = -1;
	AUTO_CLOSE int o = -1;
	AUTO_CLOSE int x = -1;
	s.new_group = true;
	long long deadline = timeout_ms < 0 ? -1 : proc_now_ms() + timeout_ms;
	if (input && input_len && (in = s.in = open_pipe(&r, STREAM_IN, e)) < 0)
		return -1;
	if (out && (o = s.out = open_pipe(&r, STREAM_OUT, e)) < 0)
		return -1;
	if (errout && (x = s.err = open_pipe(&r, STREAM_ERR, e)) < 0)
		return -1;
	void (*old)(int) = proc_ignore(SIGPIPE);
	int started = proc_start(&p, &s, e);
	auto_close(&in);
	auto_close(&o);
	auto_close(&x);
	in = o = x = -1;
	int ended = started < 0 ? -1 : pump(&r, &p, deadline);
	signal(SIGPIPE, old);
	if (started < 0)
		return -1;
	return proc_wait(&p, ended < 0 ? 0 : -1, res, e) < 0
		       ? err_set(e, e->kind, "%s: no exit within %d ms", spec->argv[0], timeout_ms)
		       : 0;
}
