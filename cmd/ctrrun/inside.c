/* SPDX-License-Identifier: Apache-2.0 */
/* Containers and commands whose processes only the runtime sees (handler.h, "processes"). */
#include "exec.h"

#include "auto.h"
#include "console.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "rtwords.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { LOG_MAX = 4096, REPLY_MAX = 4096 };

/* The container's ends of its pipes, -1 where there is none; they are the caller's to close. */
static int take_streams(const struct ctr *k, int fd[3], struct err *e)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	char answer[REPLY_MAX];
	int got[3];
	size_t n = 0, used = 0;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof got)];
	} control;
	struct iovec iov = {answer, sizeof answer};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof control};
	AUTO_CLOSE int ctl = ctl_send(k, "{\"op\":\"stdio\"}", e);
	ssize_t len = ctl < 0 ? -1 : recvmsg(ctl, &msg, MSG_CMSG_CLOEXEC);
	if (len <= 0)
		return err_set(e, ERR_UNAVAILABLE, "the monitor does not answer");
	const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(got, CMSG_DATA(c), n * sizeof(int));
	}
	AUTO_JSON json_t *j = jsonx_parse(answer, (size_t)len, "monitor", e);
	for (int i = 0; i < 3; i++)
		fd[i] = jsonx_opt_int(j, names[i], 0) && used < n ? got[used++] : -1;
	return j ? 0 : -1;
}

static int run_start(const struct ctr *k, const int fd[3], struct err *e)
{
	char path[64], text[LOG_MAX], words[900];
	struct proc p;
	struct proc_result r;
	struct rt_args a;
	AUTO_CLOSE int log = memfd_create("runtime.log", MFD_CLOEXEC);
	if (log < 0)
		return err_sys(e, "memfd");
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), log);
	rt_begin(&a, k);
	const char *rest[] = {"--log", path, "--log-format", "json", "start", k->id};
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		rt_add(&a, rest[i]);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.envp = rt_env();
	s.new_group = true;
	s.in = fd[0];
	s.out = fd[1];
	s.err = fd[2];
	if (proc_start(&p, &s, e) < 0 || proc_wait(&p, rt_timeout_ms(k), &r, e) < 0)
		return -1;
	if (r.exited && r.status == 0)
		return 0;
	ssize_t n = pread(log, text, sizeof text, 0);
	rtwords_pick(text, n > 0 ? (size_t)n : 0, NULL, 0, words, sizeof words);
	if (*words)
		return err_set(e, ERR_FAILED, "%s", words);
	return err_set(e, ERR_FAILED, "%s start: %s %d", k->rec.runtime,
		       r.exited ? "exit status" : "killed by signal", r.status);
}

int inside_start(struct ctr *k, struct err *e)
{
	int fd[3] = {-1, -1, -1};
	/* Without its monitor it runs, but nobody reads what it writes. */
	if (take_streams(k, fd, e) < 0)
		log_warn("container %s: %s", k->id, e->msg);
	int r = run_start(k, fd, e);
	for (int i = 0; i < 3; i++)
		auto_close(&fd[i]);
	return r;
}

static void name_of(const struct exec *x, char *out, size_t size)
{
	snprintf(out, size, "%s.inside", x->pid_file);
}

void inside_path(const struct exec *x, char *out, size_t size)
{
	char name[64];
	name_of(x, name, sizeof name);
	console_path(x->run_dir, name, out, size);
}

void inside_kill(const struct exec *x)
{
	char name[64], number[16];
	struct err e;
	struct rt_args a;
	AUTO_BUF struct buf b = BUF_INIT(32);
	name_of(x, name, sizeof name);
	if (!x->k.rec.sandboxed || fs_read_at(x->run_dir, name, &b, &e) < 0 || !b.len)
		return;
	snprintf(number, sizeof number, "%ld", strtol(b.data, NULL, 10));
	rt_begin(&a, &x->k);
	rt_add(&a, "kill");
	rt_add(&a, "--pid");
	rt_add(&a, number);
	rt_add(&a, x->k.id);
	rt_add(&a, "KILL");
	if (rt_run(&x->k, &a, rt_timeout_ms(&x->k), &e) < 0)
		log_warn("the command goes on in its sandbox: %s", e.msg);
}

void inside_forget(const struct exec *x)
{
	char name[64];
	name_of(x, name, sizeof name);
	if (x->k.rec.sandboxed && *x->pid_file)
		unlinkat(x->run_dir, name, 0);
}
