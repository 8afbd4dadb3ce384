/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_EXEC_H
#define CTRRUN_EXEC_H
/* One command in a running container: `RUNTIME exec --detach`, of which we are the subreaper, so
 * that the command becomes our child once the runtime has ended. Its exit is then known exactly,
 * the runtime's own failures cannot be taken for the command's, and nothing but us waits. The
 * command has our descriptors themselves: no byte passes through here, except with a terminal, and
 * with --collect. */
#include "ctr.h"
#include "tty.h"

struct pollfd;

struct terminal {
	bool used;
	int listening; /* for the runtime's connection */
	int master;
	bool accepted; /* the master has come (and may have gone again) */
	bool live;     /* the runtime has ended: the command, and nobody else, has the slave */
	char name[32]; /* of the socket */
	struct tty tty;
	struct detach keys;
	bool detached;                         /* they were typed */
	char in[4096 + DETACH_MAX], out[4096]; /* under way to the command, and back */
	size_t in_len, out_len;
	bool in_ended;
};

/* Its output, where that is not to go to our own streams. */
struct collect {
	bool used;
	int from[2];    /* stdout and stderr; -1 = ended */
	int command[2]; /* the other ends, until the runtime has them */
	struct buf kept[2];
};

struct exec {
	struct ctr k;
	int run_dir;
	char *const *command;
	int status_fd;
	json_t *told; /* what goes there when all is done */
	struct collect got;
	long long deadline; /* ms, -1 = none */
	int signals;        /* signalfd */
	int signo;          /* what ended us, 0 = nothing */
	int spec, log;      /* memfds: process.json, the runtime's log */
	char pid_file[32];
	struct proc runtime;
	pid_t pid, session; /* the command, or its stand-in (ctrmon/runtime.c) */
	pid_t inside; /* with a stand-in: the command itself, 0 = it cannot be seen; else -1 */
	int pidfd;
	int guard; /* the monitor, which ends the command when we are killed; -1 = it does not */
	char fence_name[32];
	int fence; /* with a time limit: the parent of the command's own group, -1 = none */
	struct terminal term;
};

/* inside.c: a command in a sandbox is known to the runtime by a number, in a file beside the pid file. */
void inside_path(const struct exec *x, char *out, size_t size);
/* End it there, if it was started: the runtime's process that stands for it would leave it. */
void inside_kill(const struct exec *x);
void inside_forget(const struct exec *x);

/* process.json of the command, from the bundle's: same user, capabilities, environment, … */
json_t *exec_process(const struct ctr *k, char *const *command, bool tty, struct err *e);

/* collect.c: COLLECT_MAX bytes of each stream are kept, as far as turnstile_hold lets us; the rest is read and
 * forgotten. */
enum { COLLECT_MAX = 16 << 20, COLLECT_POLLS = 2 };
int collect_open(struct collect *c, const char *runroot, const char *pod_id, struct err *e);
void collect_started(struct collect *c); /* the runtime has its ends */
void collect_want(const struct collect *c, struct pollfd *p);
void collect_serve(struct collect *c, const struct pollfd *p);
bool collect_ended(const struct collect *c);
/* The line, to which the lengths are added, and the output, as one message. */
void collect_tell(const struct collect *c, int fd, json_t *line);
void collect_close(struct collect *c);

/* terminal.c */
struct winsize;
/* The size of our own terminal; false when we have none. */
bool terminal_size(struct winsize *ws);
int terminal_open(struct terminal *t, int dir, struct err *e);
/* Take the master, unless it was taken already. */
int terminal_accept(struct terminal *t, struct err *e);
void terminal_resize(const struct terminal *t);
/* Move what can be moved; the poll entries are filled by _want and read by _serve. */
enum { TERMINAL_POLLS = 4 };
void terminal_want(const struct terminal *t, struct pollfd *p);
void terminal_serve(struct terminal *t, const struct pollfd *p);
/* The command has ended: what the master still holds goes out. */
void terminal_finish(struct terminal *t);
void terminal_close(struct terminal *t, int dir);
#endif
