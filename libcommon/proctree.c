/* SPDX-License-Identifier: Apache-2.0 */
#include "proctree.h"

#include "auto.h"
#include "fs.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TREE_MAX = 1 << 16, ROUNDS_MAX = 32, DEATH_MS = 2000 };

struct pids {
	pid_t *v;
	size_t n, cap;
};

struct tree {
	struct pids members, sessions;
};

/* Parent and session from /proc/PID/stat; false when the process is gone. */
static bool look(const char *pid, pid_t *parent, pid_t *session)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* ") S PPID PGRP SESSION": the name before it may hold anything. */
	char *at = strrchr(text, ')');
	if (!at || strlen(at) < 5)
		return false;
	*parent = (pid_t)strtol(at + 4, &at, 10);
	strtol(at, &at, 10);
	*session = (pid_t)strtol(at, &at, 10);
	return true;
}

pid_t proctree_session(pid_t pid)
{
	char name[16];
	pid_t parent, session;
	snprintf(name, sizeof name, "%d", (int)pid);
	return look(name, &parent, &session) ? session : 0;
}

static bool has(const struct pids *p, pid_t pid)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i] == pid)
			return true;
	return false;
}

static void append(struct pids *p, pid_t pid)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 64;
		p->v = xrealloc(p->v, p->cap * sizeof *p->v);
	}
	p->v[p->n++] = pid;
}

static void add(struct tree *t, pid_t pid)
{
	append(&t->members, pid);
	kill(pid, SIGSTOP);
}

/* One look through /proc; true when somebody new was found. */
static bool scan(struct tree *t)
{
	size_t before = t->members.n;
	AUTO_CLOSEDIR DIR *d = opendir("/proc");
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		pid_t parent, session, pid = (pid_t)strtol(de->d_name, NULL, 10);
		if (pid <= 1 || pid == getpid() || t->members.n >= TREE_MAX ||
		    has(&t->members, pid))
			continue;
		if (look(de->d_name, &parent, &session) &&
		    (has(&t->members, parent) || has(&t->sessions, session)))
			add(t, pid);
	}
	return t->members.n > before;
}

/* Dead, though perhaps not yet reaped by its parent. */
static void await_death(pid_t pid, long long deadline)
{
	AUTO_CLOSE int fd = pidfd_open(pid, 0);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	long long left = deadline - proc_now_ms();
	if (fd >= 0)
		poll(&pfd, 1, left > 0 ? (int)left : 0);
}

/* Ends all that grows from its members and sessions, and frees it. */
static void fell(struct tree *t)
{
	for (int i = 0; i < ROUNDS_MAX && scan(t); i++)
		;
	for (size_t i = 0; i < t->members.n; i++)
		kill(t->members.v[i], SIGKILL);
	long long deadline = proc_now_ms() + DEATH_MS;
	for (size_t i = 0; i < t->members.n; i++)
		await_death(t->members.v[i], deadline);
	free(t->members.v);
	free(t->sessions.v);
}

void proctree_kill(pid_t pid, pid_t session)
{
	struct tree t = {0};
	add(&t, pid);
	if (session > 0)
		append(&t.sessions, session);
	fell(&t);
}

/* Kills whatever is a child now, with its tree: what is below a child in another PID namespace falls to
 * that one's first process, not to us. false when there is none. */
static bool kill_children(void)
{
	char path[64];
	struct err ignored;
	struct tree t = {0};
	AUTO_BUF struct buf b = BUF_INIT(1 << 20);
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	if (fs_read_at(AT_FDCWD, path, &b, &ignored) < 0 || !b.data)
		return false;
	for (char *p = b.data, *end; *p; p = end) {
		pid_t pid = (pid_t)strtol(p, &end, 10);
		if (end == p)
			break;
		pid_t session = proctree_session(pid);
		add(&t, pid);
		if (session > 0 && session != getsid(0))
			append(&t.sessions, session);
	}
	if (!t.members.n)
		return false;
	fell(&t);
	return true;
}

bool proctree_end_children(int timeout_ms)
{
	long long deadline = proc_now_ms() + timeout_ms;
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (kill_children()) {
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		long long left = deadline - proc_now_ms();
		if (left <= 0)
			return false;
		/* Their ends wake us; the short clock covers one that came just before. */
		struct timespec ts = {.tv_nsec = (left < 20 ? left : 20) * 1000000L};
		sigtimedwait(&chld, NULL, &ts);
	}
	return true;
}
