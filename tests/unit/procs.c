/* SPDX-License-Identifier: Apache-2.0 */
/* proc and loop: children, clocks, events. */
#include "auto.h"
#include "loop.h"
#include "proc.h"
#include "sealed.h"
#include "tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static void test_start(void)
{
	struct err e;
	struct proc p;
	struct proc_result r;
	struct proc_spec s = PROC_SPEC(SH("exit 7"));
	ok(proc_start(&p, &s, &e) == 0 && proc_wait(&p, -1, &r, &e) == 0 && r.exited &&
		   r.status == 7,
	   "exit 7");
	s = PROC_SPEC(((const char *const[]){"/no/such", NULL}));
	ok(proc_start(&p, &s, &e) == -1 && e.kind == ERR_NOT_FOUND,
	   "exec failure has its errno: %s", e.msg);
	s = PROC_SPEC(SH("kill -9 $$"));
	ok(proc_start(&p, &s, &e) == 0 && proc_wait(&p, 5000, &r, &e) == 0 && !r.exited &&
		   proc_exit_code(&r) == 137,
	   "a signal is 128+n");
	long long t0 = proc_now_ms();
	s = PROC_SPEC(SH("sleep 30 & wait"));
	s.new_group = true;
	ok(proc_start(&p, &s, &e) == 0, "start");
	pid_t group = p.pid;
	ok(proc_wait(&p, 100, &r, &e) == -1 && e.kind == ERR_TIMEOUT, "timeout: %s", e.msg);
	ok(proc_now_ms() - t0 < 2000, "on time");
	for (int i = 0; i < 200 && kill(-group, 0) == 0; i++)
		usleep(10000);
	ok(kill(-group, 0) < 0, "the whole group is gone");
}

static void test_run(void)
{
	struct err e;
	struct proc_result r;
	AUTO_BUF struct buf out = BUF_INIT(8);
	AUTO_BUF struct buf errs = BUF_INIT(64);
	struct proc_spec s = PROC_SPEC(SH("cat; echo oops >&2; exit 3"));
	ok(proc_run(&s, "hello", 5, &out, &errs, 5000, &r, &e) == 0, "run");
	ok(strcmp(out.data, "hello") == 0 && strcmp(errs.data, "oops\n") == 0 && r.status == 3,
	   "both streams");
	buf_clear(&out);
	s = PROC_SPEC(SH("head -c 1000000 /dev/zero | tr '\\0' x"));
	ok(proc_run(&s, NULL, 0, &out, NULL, 5000, &r, &e) == 0 && out.len == 8 && r.status == 0,
	   "beyond the limit output is dropped, not blocked");
	buf_clear(&out);
	long long t0 = proc_now_ms();
	s = PROC_SPEC(SH("echo a; sleep 20 & exit 0"));
	ok(proc_run(&s, NULL, 0, &out, NULL, 15000, &r, &e) == 0 && strcmp(out.data, "a\n") == 0,
	   "a grandchild with the pipe does not hold the call");
	ok(proc_now_ms() - t0 < 3000, "in time");
	s = PROC_SPEC(SH("sleep 20"));
	ok(proc_run(&s, NULL, 0, &out, NULL, 100, &r, &e) == -1 && e.kind == ERR_TIMEOUT,
	   "clock: %s", e.msg);
	static char big[1 << 20];
	s = PROC_SPEC(SH("exec 0<&-; sleep 0.1"));
	ok(proc_run(&s, big, sizeof big, &out, NULL, 5000, &r, &e) == 0,
	   "a child that reads nothing");
}

static void test_hygiene(void)
{
	struct err e;
	struct proc_result r;
	sigset_t m;
	int leak[2];
	AUTO_BUF struct buf out = BUF_INIT(4096);
	ok(pipe(leak) == 0, "a descriptor without CLOEXEC");
	sigemptyset(&m);
	sigaddset(&m, SIGTERM);
	sigprocmask(SIG_BLOCK, &m, NULL);
	proc_ignore(SIGPIPE);
	struct proc_spec s = PROC_SPEC(
		SH("ls /proc/self/fd | wc -l; grep -h -e SigBlk -e SigIgn /proc/self/status"));
	ok(proc_run(&s, NULL, 0, &out, NULL, 5000, &r, &e) == 0, "run");
	ok(out.data && atoll(out.data) == 4, "0, 1, 2 and ls's own only: %s", out.data);
	const char *ignored = out.data ? strstr(out.data, "SigIgn:\t") : NULL;
	/* 32 and 33 are the C library's own and out of reach. */
	unsigned long long set = ignored ? strtoull(ignored + 8, NULL, 16) & ~0x180000000ULL : 1;
	ok(strstr(out.data, "SigBlk:\t0000000000000000") && set == 0,
	   "mask and dispositions are reset");
	close(leak[0]);
	close(leak[1]);
	sigprocmask(SIG_UNBLOCK, &m, NULL);
}

/* What it is told of itself by the program that it runs. */
static bool tells(const char *program, const char *wanted)
{
	struct err e;
	struct proc_result r;
	AUTO_BUF struct buf out = BUF_INIT(256);
	struct proc_spec s = RUNTIME_SPEC(((const char *const[]){program, "/proc/self/exe", NULL}));
	bool ran = proc_run(&s, NULL, 0, &out, NULL, 5000, &r, &e) == 0 && r.status == 0;
	return ran && strstr(out.data, wanted);
}

static void test_sealed(void)
{
	char dir[] = "/tmp/crisp-procs.XXXXXX", program[64], other[64], script[64], command[600];
	ok(mkdtemp(dir) != NULL, "directory");
	snprintf(program, sizeof program, "%s/crun", dir);
	snprintf(other, sizeof other, "%s/other", dir);
	snprintf(script, sizeof script, "%s/sub/crun", dir);
	snprintf(command, sizeof command,
		 "cp /bin/readlink %s; cp /bin/readlink %s; mkdir %s/sub; printf '#!/bin/sh\\necho "
		 "script\\n' >%s; chmod 755 %s",
		 program, other, dir, script, script);
	ok(system(command) == 0, "programs");
	AUTO_CLOSE int copy = sealed_copy(program);
	ok(copy >= 0 && fcntl(copy, F_GET_SEALS) ==
				(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
	   "all seals, and no other");
	ok(copy >= 0 && write(copy, "x", 1) < 0, "nobody writes to it");
	ok(tells(program, "memfd:crun"), "crun runs from memory");
	ok(tells(other, "/other"), "any other from its file");
	ok(sealed_copy(script) == -1 && tells(script, "script"), "a script from its file");
	snprintf(command, sizeof command, "rm -r %s", dir);
	ok(system(command) == 0, "clean up");
}

static void test_identity(void)
{
	struct err e;
	unsigned long long start = proc_start_time(getpid());
	ok(start > 0, "start time");
	AUTO_CLOSE int fd = proc_open(getpid(), start, &e);
	ok(fd >= 0, "open by identity");
	ok(proc_open(getpid(), start + 1, &e) == -1 && e.kind == ERR_NOT_FOUND,
	   "another's start time: %s", e.msg);
}

struct loop_test {
	struct loop *l;
	struct watch a, b, c;
	struct timer t1, t2, t3;
	int order[4], n, fired, quiet;
};

static void on_timer(struct timer *t)
{
	struct loop_test *x = t->arg;
	x->order[x->n++] = t == &x->t1 ? 1 : t == &x->t2 ? 2 : 3;
	if (t == &x->t3)
		loop_stop(x->l);
}

static void on_quiet(struct watch *w, uint32_t events)
{
	struct loop_test *x = w->arg;
	(void)events;
	x->fired = -1;
}

/* Both are ready in one batch; whichever comes first deletes the other, whose callback must not run, nor that of
 * the watch, of something that is not ready, which has its place now. */
static void on_ready(struct watch *w, uint32_t events)
{
	struct loop_test *x = w->arg;
	(void)events;
	x->fired++;
	loop_del(x->l, &x->a);
	loop_del(x->l, &x->b);
	if (loop_add(x->l, &x->c, x->quiet, EPOLLIN, on_quiet, x, &(struct err){0}) < 0)
		x->fired = -1;
}

static int got_signal;
static void on_signal(int signo, void *arg)
{
	(void)arg;
	got_signal = signo;
}

static void test_loop(void)
{
	struct err e;
	struct loop_test x = {.a = WATCH_NONE, .b = WATCH_NONE, .c = WATCH_NONE};
	int p[2], q[2];
	x.l = loop_new(&e);
	ok(x.l && pipe2(p, O_CLOEXEC) == 0 && pipe2(q, O_CLOEXEC) == 0, "loop");
	x.quiet = eventfd(0, EFD_CLOEXEC);
	ok(write(p[1], "x", 1) == 1 && write(q[1], "x", 1) == 1, "make both readable");
	ok(loop_add(x.l, &x.a, p[0], EPOLLIN, on_ready, &x, &e) == 0 &&
		   loop_add(x.l, &x.b, q[0], EPOLLIN, on_ready, &x, &e) == 0,
	   "add");
	loop_timer(x.l, &x.t3, 60, on_timer, &x);
	loop_timer(x.l, &x.t1, 20, on_timer, &x);
	loop_timer(x.l, &x.t2, 30, on_timer, &x);
	loop_timer(x.l, &x.t2, 1, on_timer, &x); /* re-armed: now the first */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ok(loop_signals(x.l, &set, on_signal, NULL, &e) == 0, "signals");
	raise(SIGUSR1);
	ok(loop_run(x.l, &e) == 0, "run");
	ok(x.fired == 1, "a watch deleted within its batch stays silent");
	ok(x.n == 3 && x.order[0] == 2 && x.order[1] == 1 && x.order[2] == 3,
	   "timers in order of their time");
	ok(got_signal == SIGUSR1, "the signal arrived");
	loop_close(x.l, &x.c);
	loop_free(x.l);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

/* Each turn of the timer wants another at once; the watch has its turn after the first all the same. */
struct turns {
	struct loop *l;
	struct watch a;
	struct timer t;
	int turns, seen;
};

static void on_turn(struct timer *t)
{
	struct turns *x = t->arg;
	if (++x->turns == 3)
		loop_stop(x->l);
	else
		loop_timer(x->l, t, 0, on_turn, x);
}

static void on_other(struct watch *w, uint32_t events)
{
	struct turns *x = w->arg;
	(void)events;
	x->seen = x->turns;
	loop_close(x->l, w);
}

static void test_turns(void)
{
	struct err e;
	struct turns x = {.a = WATCH_NONE};
	int p[2];
	x.l = loop_new(&e);
	ok(x.l && pipe2(p, O_CLOEXEC) == 0 && write(p[1], "x", 1) == 1, "loop");
	ok(loop_add(x.l, &x.a, p[0], EPOLLIN, on_other, &x, &e) == 0, "add");
	loop_timer(x.l, &x.t, 0, on_turn, &x);
	int ended = loop_run(x.l, &e);
	ok(ended == 0 && x.turns == 3 && x.seen == 1, "seen after turn %d", x.seen);
	ok(fcntl(p[0], F_GETFD) < 0 && x.a.fd < 0, "closed with its watch");
	loop_free(x.l);
	close(p[1]);
}

/* More than there are places at first, twice. */
static void test_places(void)
{
	struct err e;
	struct watch many[40];
	size_t high = 0;
	struct loop *l = loop_new(&e);
	for (int round = 0; l && round < 2; round++) {
		size_t added = 0;
		for (size_t i = 0; i < ARRAY_LEN(many); i++) {
			int fd = eventfd(0, EFD_CLOEXEC);
			added += loop_add(l, &many[i], fd, EPOLLIN, on_other, NULL, &e) == 0;
			high = many[i].slot > high ? many[i].slot : high;
		}
		ok(added == ARRAY_LEN(many), "%zu watches", added);
		size_t twice = 0;
		for (size_t i = 0; i < ARRAY_LEN(many); i++)
			for (size_t k = 0; k < i; k++)
				twice += many[i].slot == many[k].slot;
		ok(twice == 0, "each with a place of its own");
		for (size_t i = 0; i < ARRAY_LEN(many); i++)
			loop_close(l, &many[i]);
	}
	ok(high < 64, "their places are used again: %zu", high);
	loop_free(l);
}

/* Last: this process goes before others from here on. */
static void test_first(void)
{
	struct err e;
	struct proc p;
	struct proc_result r;
	if (getpriority(PRIO_PROCESS, 0) != 0 || !proc_go_first()) {
		ok(true, "priorities # skip no right to one, or we have one");
		return;
	}
	ok(getpriority(PRIO_PROCESS, 0) == -10 && getenv("CRISP_NICE"), "we go first");
	struct proc_spec s = PROC_SPEC(SH("sleep 10"));
	ok(proc_start(&p, &s, &e) == 0 && getpriority(PRIO_PROCESS, (id_t)p.pid) == 0,
	   "what we start does not");
	proc_kill(&p, SIGKILL);
	proc_wait(&p, -1, &r, &e);
	proc_as_others();
	ok(getpriority(PRIO_PROCESS, 0) == 0 && !getenv("CRISP_NICE"), "as all others again");
}

int main(void)
{
	signal(SIGUSR2, SIG_IGN); /* as if we had it from our parent */
	test_start();
	test_run();
	test_hygiene();
	test_sealed();
	test_identity();
	test_loop();
	test_turns();
	test_places();
	test_first();
	return tap_done();
}
