/* SPDX-License-Identifier: Apache-2.0 */
#include "turnstile.h"

#include "answer.h"
#include "auto.h"
#include "gate.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { RUNS_MAX = 128, NAME_SIZE = 24 };

/* What a run says of itself, in memory that all share. */
struct place {
	atomic_size_t held;
	atomic_bool told;
};

struct run {
	pid_t pid; /* 0 = there is none */
	char name[NAME_SIZE];
	long long due_ms; /* of SIGKILL, once it is not wanted; 0 = it is */
};

static struct {
	bool given;
	int socket, signals;
	sigset_t before; /* of signals, a run's as ours was */
	struct run runs[RUNS_MAX];
	struct place *places; /* as many */
	size_t n_runs;
	char *program;
	size_t len; /* of the message */
	/* in a run */
	struct place *place;
	char **words;
	int n_words;
} t = {.socket = -1, .signals = -1};

static char text[TURNSTILE_MAX]; /* the message; the run's name is its first word */

/* Without these we are of no use. */
static void prepare(void)
{
	char name[16], waiting[16];
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	t.places = mmap(NULL, RUNS_MAX * sizeof *t.places, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.places == MAP_FAILED || sigprocmask(SIG_BLOCK, &set, &t.before) < 0 ||
	    (t.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		_exit(1);
	fcntl(t.socket, F_SETFD, FD_CLOEXEC);
	/* ps(1) does not show one that waits as one that works. */
	prctl(PR_GET_NAME, name);
	snprintf(waiting, sizeof waiting, "turn:%.10s", name);
	prctl(PR_SET_NAME, waiting);
}

void turnstile_take(int *argc, char **argv)
{
	t.socket = gate_take_word(argc, argv, TURNSTILE_OPTION);
	t.given = t.socket >= 0;
	t.program = argv[0];
}

bool turnstile_given(void)
{
	return t.given;
}

/* For one that has not. */
static void tell_end(const char *name, int status)
{
	const struct iovec none[ANSWER_PARTS] = {{0}};
	struct err ignored;
	char line[48];
	snprintf(line, sizeof line, TURNSTILE_ENDED, status);
	(void)answer_send(t.socket, name, line, none, &ignored);
}

static void reap(void)
{
	struct signalfd_siginfo ignored[8];
	siginfo_t si;
	while (read(t.signals, ignored, sizeof ignored) > 0)
		;
	while (si.si_pid = 0, waitid(P_ALL, 0, &si, WEXITED | WNOHANG) == 0 && si.si_pid > 0) {
		size_t i = 0;
		while (i < RUNS_MAX && t.runs[i].pid != si.si_pid)
			i++;
		if (i == RUNS_MAX)
			continue;
		if (!atomic_load(&t.places[i].told))
			tell_end(t.runs[i].name,
				 si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status);
		atomic_store(&t.places[i].held, 0);
		t.runs[i].pid = 0;
		t.n_runs--;
	}
}

static void withdraw(const char *name)
{
	for (size_t i = 0; i < RUNS_MAX; i++) {
		struct run *r = &t.runs[i];
		if (r->pid && strcmp(r->name, name) == 0 && !r->due_ms) {
			kill(r->pid, SIGTERM);
			r->due_ms = proc_now_ms() + TURNSTILE_KILL_MS;
		}
	}
}

/* Those whose time is up are killed; the time until the next is, -1 = none. */
static int kill_unwanted(void)
{
	long long now = 0, left = -1;
	for (size_t i = 0, seen = 0; seen < t.n_runs; i++) {
		struct run *r = &t.runs[i];
		seen += r->pid != 0;
		if (!r->pid || !r->due_ms)
			continue;
		now = now ? now : proc_now_ms();
		if (r->due_ms <= now) {
			kill(r->pid, SIGKILL);
			r->due_ms = now + TURNSTILE_KILL_MS;
		}
		if (left < 0 || r->due_ms - now < left)
			left = r->due_ms - now;
	}
	return (int)left;
}

/* The length of the message, 0 for none that is one. */
static size_t receive(void)
{
	ssize_t n = recv(t.socket, text, sizeof text, MSG_DONTWAIT | MSG_TRUNC);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		_exit(0);
	size_t len = n < 0 ? 0 : (size_t)n;
	if (!len || len > sizeof text || text[len - 1])
		return 0;
	return strlen(text) < NAME_SIZE ? len : 0;
}

/* Whether a run is wanted. */
static bool take_message(void)
{
	t.len = receive();
	if (!t.len || strlen(text) + 1 < t.len)
		return t.len;
	withdraw(text);
	return false;
}

void turnstile_wait(void)
{
	if (t.signals < 0)
		prepare();
	for (;;) {
		struct pollfd p[2] = {{.fd = t.socket, .events = POLLIN},
				      {.fd = t.signals, .events = POLLIN}};
		if (t.n_runs == RUNS_MAX)
			p[0].events = 0;
		if (poll(p, 2, kill_unwanted()) <= 0)
			continue;
		if (p[1].revents)
			reap();
		if (p[0].revents && t.n_runs == RUNS_MAX)
			_exit(0); /* it has ended */
		if (p[0].revents && take_message())
			return;
	}
}

/* From behind the run's name: the request's id, then the words. */
static void read_words(const char *from, size_t len)
{
	size_t n = 0;
	setenv("CRISP_REQ", from, 1);
	t.words = xcalloc(len + 2, sizeof *t.words);
	t.words[n++] = t.program;
	for (size_t at = strlen(from) + 1; at < len; at += strlen(from + at) + 1)
		t.words[n++] = (char *)from + at;
	t.n_words = (int)n;
}

static void become_run(size_t place, pid_t keeper)
{
	size_t name_len = strlen(text) + 1;
	char name[16];
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != keeper)
		_exit(1);
	t.place = &t.places[place];
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, name + strlen("turn:"));
	setpgid(0, 0);
	close(TAKE_FD(t.signals));
	read_words(text + name_len, t.len - name_len);
	sigprocmask(SIG_SETMASK, &t.before, NULL);
}

bool turnstile_enter(void)
{
	size_t place = 0;
	while (t.runs[place].pid)
		place++;
	atomic_store(&t.places[place].told, false);
	pid_t keeper = getpid(), pid = fork();
	if (pid == 0) {
		become_run(place, keeper);
		return true;
	}
	if (pid < 0) {
		tell_end(text, 1);
		return false;
	}
	t.runs[place] = (struct run){.pid = pid};
	memcpy(t.runs[place].name, text, strlen(text) + 1);
	t.n_runs++;
	return false;
}

char **turnstile_words(int *argc)
{
	*argc = t.n_words;
	return t.words;
}

int turnstile_socket(void)
{
	return t.socket;
}

const char *turnstile_run(void)
{
	return t.place ? text : "";
}

bool turnstile_hold(size_t n)
{
	size_t sum = 0;
	if (!t.place)
		return true;
	atomic_fetch_add(&t.place->held, n);
	for (size_t i = 0; i < RUNS_MAX; i++)
		sum += atomic_load(&t.places[i].held);
	if (sum <= TURNSTILE_HELD_MAX)
		return true;
	atomic_fetch_sub(&t.place->held, n);
	return false;
}

void turnstile_told(void)
{
	if (t.place)
		atomic_store(&t.place->told, true);
}
