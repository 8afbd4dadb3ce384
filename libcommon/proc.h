/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PROC_H
#define CRISP_PROC_H
/* Child processes. A child is described, started, then waited for. Only in/out/err and keep[] reach
 * it; its signal mask and dispositions are reset. No shell, no PATH search. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <sys/types.h>

struct proc_spec {
	const char *const *argv; /* argv[0] is an absolute path */
	const char *const *envp; /* NULL = ours */
	int exe; /* descriptor of the program, for whoever cannot reach argv[0] by then; -1 = by argv[0] */
	bool sealed; /* from a sealed copy in memory where that helps (sealed.h), else by argv[0] */
	int in, out, err; /* -1 = /dev/null */
	int cwd;          /* directory descriptor, -1 = ours */
	const int *keep; /* further descriptors to pass under their numbers, -1 ends; NULL = none */
	bool new_group;  /* own process group, so that proc_kill_group reaches what it starts */
	bool new_session;     /* setsid: a daemon of its own (implies a group) */
	bool die_with_parent; /* SIGKILL when the thread that started it ends */
};
#define PROC_SPEC(args) \
	((struct proc_spec){.argv = (args), .exe = -1, .in = -1, .out = -1, .err = 2, .cwd = -1})

/* Of an OCI runtime. */
#define RUNTIME_SPEC(args) \
	((struct proc_spec){.argv = (args), \
			    .exe = -1, \
			    .sealed = true, \
			    .in = -1, \
			    .out = -1, \
			    .err = 2, \
			    .cwd = -1})

struct proc {
	pid_t pid;
	int pidfd; /* readable when the child has ended; goes into an event loop */
	bool group;
};
#define PROC_NONE ((struct proc){.pid = -1, .pidfd = -1})

struct proc_result {
	bool exited; /* status is an exit code; else a signal */
	int status;
};

/* A failure to exec is reported here, with its errno, not as an exit status. */
int proc_start(struct proc *p, const struct proc_spec *spec, struct err *e);
/* Wait, at most timeout_ms (< 0: without limit). On timeout the child (its group, if it has one) is
 * killed and reaped and the kind is ERR_TIMEOUT. */
int proc_wait(struct proc *p, int timeout_ms, struct proc_result *r, struct err *e);
/* Reap a child whose pidfd is readable; does not block otherwise: returns 1 reaped, 0 still
 * running. */
int proc_try_reap(struct proc *p, struct proc_result *r, struct err *e);
void proc_kill(struct proc *p, int sig);
/* As wait(2) shells report it: the code, or 128 + signal. */
int proc_exit_code(const struct proc_result *r);

/* Run to the end with `input` on stdin (NULL = /dev/null), stdout into *out and stderr into *errout
 * (either may be NULL: /dev/null, resp. our stderr). Beyond a buffer's limit the rest is read and
 * dropped. The child gets its own group; everything shares the clock of timeout_ms. A grandchild
 * that keeps a pipe open does not hold the call once the child has ended: 100 ms later what has
 * come is the answer. */
int proc_run(const struct proc_spec *spec, const void *input, size_t input_len, struct buf *out,
	     struct buf *errout, int timeout_ms, struct proc_result *r, struct err *e);

/* The start time of a process in clock ticks since boot (/proc/PID/stat, field 22): with the pid it
 * names a process for ever. 0 if there is no such process. */
unsigned long long proc_start_time(pid_t pid);
/* A pidfd for (pid, start time), or -1 with ERR_NOT_FOUND when that process is gone. */
int proc_open(pid_t pid, unsigned long long start_time, struct err *e);
/* Whether that process lives; one that waits to be reaped does not. */
bool proc_is_alive(pid_t pid, unsigned long long start_time);

/* Block SIGINT, SIGTERM and SIGHUP: a non-blocking descriptor that is readable once one has come. */
int proc_end_signals(struct err *e);

/* For a daemon that starts programs of ours: a nice value of -10 for itself, unless it has another than 0, whose giver
 * had his reasons. A child keeps it until it executes its program, for which we stand still; whatever the program
 * is, it then gets 0 from us, and one of ours, told by CRISP_NICE in the environment that we set, takes 0 by itself
 * before it does anything: proc_as_others. False with errno when that was refused. */
bool proc_go_first(void);
void proc_as_others(void);

/* As signal(signo, SIG_IGN), but not for what is started: use it in place of that, and set no handlers (they
 * would run in a child that shares our memory). */
void (*proc_ignore(int signo))(int);

long long proc_now_ms(void); /* CLOCK_MONOTONIC */
#endif
