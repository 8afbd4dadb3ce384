/* SPDX-License-Identifier: Apache-2.0 */
#include "turnstile.h"

#include "auto.h"
#include "gate.h"
#include "proc.h"
#include "xalloc.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { RUNS_MAX = 128, WORDS_MAX = TURNSTILE_MAX / 2 };

struct run {
	pid_t pid;
	int gate;         /* we hold it until the run has ended */
	long long due_ms; /* of SIGKILL, once it is not wanted; 0 = it is */
};

static struct {
	int socket, signals; /* socket: -1 = it has ended */
	bool given;
	sigset_t before; /* a run's, as ours was */
	struct run runs[RUNS_MAX];
	size_t n_runs;
	char *program;
	char text[TURNSTILE_MAX];
	char **words;
	int n_words;
} t = {.socket = -1, .signals = -1};

/* SIGCHLD comes by a descriptor. Without one we are of no use, and whoever started us finds another way. */
static void prepare(void)
{
	char name[16], waiting[16];
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, &t.before) < 0 ||
	    (t.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		_exit(1);
	/* ps(1) does not show one that waits as one that works. */
	prctl(PR_GET_NAME, name);
	snprintf(waiting, sizeof waiting, "turn:%.10s", name);
	prctl(PR_SET_NAME, waiting);
}

void turnstile_take(int *argc, char **argv)
{
	t.socket = *argc > 1 ? gate_number(argv[1], TURNSTILE_OPTION) : -1;
	if (t.socket < 0)
		return;
	t.given = true;
	t.program = argv[0];
	memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof *argv);
	--*argc;
}

bool turnstile_given(void)
{
	return t.given;
}

static void forget(size_t i)
{
	close(t.runs[i].gate);
	t.runs[i] = t.runs[--t.n_runs];
}

static void reap(void)
{
	struct signalfd_siginfo ignored[8];
	siginfo_t si;
	while (read(t.signals, ignored, sizeof ignored) > 0)
		;
	while (si.si_pid = 0, waitid(P_ALL, 0, &si, WEXITED | WNOHANG) == 0 && si.si_pid > 0) {
		size_t i = 0;
		while (i < t.n_runs && t.runs[i].pid != si.si_pid)
			i++;
		if (i == t.n_runs)
			continue;
		/* Heard only when the run has not told by itself. */
		gate_send(t.runs[i].gate,
			  si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status);
		forget(i);
	}
}

static void end_unwanted(const struct pollfd *p, long long now)
{
	for (size_t i = 0; i < t.n_runs; i++) {
		struct run *r = &t.runs[i];
		if (!r->due_ms && p[i].revents) {
			r->due_ms = now + TURNSTILE_KILL_MS;
			kill(r->pid, SIGTERM);
		} else if (r->due_ms && r->due_ms <= now) {
			r->due_ms = now + TURNSTILE_KILL_MS;
			kill(r->pid, SIGKILL);
		}
	}
}

/* Fills the entries; the time until the next SIGKILL, -1 = none. */
static int want(struct pollfd *p, long long now)
{
	long long left = -1;
	p[0] = (struct pollfd){.fd = t.n_runs < RUNS_MAX ? t.socket : -1, .events = POLLIN};
	p[1] = (struct pollfd){.fd = t.signals, .events = POLLIN};
	for (size_t i = 0; i < t.n_runs; i++) {
		const struct run *r = &t.runs[i];
		long long mine = r->due_ms > now ? r->due_ms - now : 0;
		p[2 + i] = (struct pollfd){.fd = r->due_ms ? -1 : r->gate, .events = POLLRDHUP};
		if (r->due_ms && (left < 0 || mine < left))
			left = mine;
	}
	return (int)left;
}

void turnstile_wait(void)
{
	struct pollfd p[2 + RUNS_MAX];
	if (t.signals < 0)
		prepare();
	for (;;) {
		if (t.socket < 0 && !t.n_runs)
			_exit(0);
		int timeout = want(p, proc_now_ms());
		if (poll(p, 2 + t.n_runs, timeout) < 0)
			continue;
		end_unwanted(p + 2, proc_now_ms());
		if (p[1].revents)
			reap();
		if (p[0].revents)
			return;
	}
}

/* The length of the message with its descriptors, or -1 for none that is one. */
static ssize_t receive(int fds[TURNSTILE_FDS])
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(TURNSTILE_FDS * sizeof(int))];
	} control;
	struct iovec io = {.iov_base = t.text, .iov_len = sizeof t.text};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	ssize_t n = recvmsg(t.socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	size_t got = 0;
	if (n == 0)
		close(TAKE_FD(t.socket));
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (got)
		memcpy(fds, CMSG_DATA(c), got * sizeof(int));
	if (got == TURNSTILE_FDS && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && !t.text[n - 1])
		return n;
	while (got)
		close(fds[--got]);
	return -1;
}

/* The request's id, then the words. */
static void read_words(size_t len)
{
	size_t n = 0;
	setenv("CRISP_REQ", t.text, 1);
	t.words = xcalloc(len + 2, sizeof *t.words);
	t.words[n++] = t.program;
	for (size_t at = strlen(t.text) + 1; at < len; at += strlen(t.text + at) + 1)
		t.words[n++] = t.text + at;
	t.n_words = (int)n;
}

static void become_run(const int fds[TURNSTILE_FDS], size_t len)
{
	char name[16];
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, name + strlen("turn:"));
	setpgid(0, 0);
	close(TAKE_FD(t.socket));
	close(TAKE_FD(t.signals));
	while (t.n_runs)
		forget(t.n_runs - 1);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0 || close(fds[i]) < 0)
			_exit(1);
	gate_set(fds[3]);
	read_words(len);
	sigprocmask(SIG_SETMASK, &t.before, NULL);
}

bool turnstile_enter(void)
{
	int fds[TURNSTILE_FDS];
	ssize_t len = receive(fds);
	if (len < 0)
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		become_run(fds, (size_t)len);
		return true;
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	if (pid < 0) {
		gate_send(fds[3], 1);
		close(fds[3]);
		return false;
	}
	t.runs[t.n_runs++] = (struct run){.pid = pid, .gate = fds[3]};
	return false;
}

char **turnstile_words(int *argc)
{
	*argc = t.n_words;
	return t.words;
}
