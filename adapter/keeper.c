/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include "auto.h"
#include "fs.h"
#include "jobs.h"
#include "log.h"
#include "reaper.h"
#include "toolrun.h"
#include "turnstile.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { WORDS_MAX = 16 };

struct keeper {
	struct crispd *d;
	const char *tool, *verb;
	struct proc proc;
	struct watch end;
	int socket; /* -1 = none stands there */
	struct timer idle;
	struct fs_stamp program; /* as it was started */
	char text[TURNSTILE_MAX];
};

struct keeper *keeper_new(struct crispd *d, const char *tool, const char *verb)
{
	struct keeper *k = xcalloc(1, sizeof *k);
	*k = (struct keeper){.d = d,
			     .tool = tool,
			     .verb = verb,
			     .proc = PROC_NONE,
			     .end = WATCH_NONE,
			     .socket = -1};
	return k;
}

void keeper_drop(struct keeper *k)
{
	loop_timer_cancel(k->d->loop, &k->idle);
	loop_del(k->d->loop, &k->end);
	if (k->proc.pidfd >= 0)
		reaper_take(k->d->reaper, &k->proc);
	auto_close(&k->socket);
	k->socket = -1;
}

void keeper_free(struct keeper *k)
{
	if (k)
		keeper_drop(k);
	free(k);
}

/* It was killed, or found its words wrong. */
static void on_end(struct watch *w, uint32_t events)
{
	(void)events;
	keeper_drop(w->arg);
}

static void on_idle(struct timer *t)
{
	keeper_drop(t->arg);
}

static int start(struct keeper *k, const char *program, struct err *e)
{
	const char *argv[WORDS_MAX], *common[WORDS_MAX];
	char option[32];
	int fds[2];
	size_t n = 0;
	if (!toolrun_can_wait(program))
		return err_set(e, ERR_UNSUPPORTED, "%s is no program", program);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, "socketpair");
	k->socket = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	snprintf(option, sizeof option, TURNSTILE_OPTION "%d", theirs);
	size_t n_common = jobs_argv(k->d->jobs, k->tool, common);
	argv[n++] = common[0];
	argv[n++] = option;
	for (size_t i = 1; i < n_common; i++)
		argv[n++] = common[i];
	argv[n++] = k->verb;
	argv[n] = NULL;
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = jobs_env(k->d->jobs, "", false);
	spec.keep = (const int[]){theirs, -1};
	spec.new_group = true;
	if (proc_start(&k->proc, &spec, e) < 0)
		return -1;
	return loop_add(k->d->loop, &k->end, k->proc.pidfd, EPOLLIN, on_end, k, e);
}

/* One that is what would be started now. */
static int need(struct keeper *k, struct err *e)
{
	const char *common[WORDS_MAX];
	jobs_argv(k->d->jobs, k->tool, common);
	struct fs_stamp now = fs_stamp(common[0]);
	if (k->socket >= 0 && fs_stamp_same(&now, &k->program))
		return 0;
	keeper_drop(k);
	k->program = now;
	if (start(k, common[0], e) == 0)
		return 0;
	keeper_drop(k);
	return -1;
}

/* The message's length, or -1 when it is too long. */
static ssize_t write_words(struct keeper *k, const char *req, const char *const *words)
{
	size_t len = 0;
	for (const char *word = req; word; word = *words++) {
		size_t n = strlen(word) + 1;
		if (n > sizeof k->text - len)
			return -1;
		memcpy(k->text + len, word, n);
		len += n;
	}
	return (ssize_t)len;
}

static int pass(struct keeper *k, size_t len, const int fds[TURNSTILE_FDS], struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(TURNSTILE_FDS * sizeof(int))];
	} control = {.room = {0}};
	struct iovec io = {.iov_base = k->text, .iov_len = len};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(TURNSTILE_FDS * sizeof(int));
	memcpy(CMSG_DATA(c), fds, TURNSTILE_FDS * sizeof(int));
	if (sendmsg(k->socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return err_sys(e, "send to the %s %s that waits", k->tool, k->verb);
	return 0;
}

int keeper_run(struct keeper *k, const char *const *words, const char *req, const int streams[3],
	       struct err *e)
{
	int fds[2];
	ssize_t len = write_words(k, req, words);
	if (len < 0)
		return err_set(e, ERR_UNSUPPORTED, "more than %d bytes of words", TURNSTILE_MAX);
	if (need(k, e) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return err_sys(e, "socketpair");
	AUTO_CLOSE int ours = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	loop_timer(k->d->loop, &k->idle, KEEPER_IDLE_MS, on_idle, k);
	if (pass(k, (size_t)len, (const int[]){streams[0], streams[1], streams[2], theirs}, e) < 0)
		return -1;
	return TAKE_FD(ours);
}
