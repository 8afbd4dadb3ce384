/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRMON_MONITOR_H
#define CTRMON_MONITOR_H
/* The monitor of one container: a table of states and events (monitor.c) over one epoll loop. The
 * other files of this directory do one thing each and know nothing of the states; what happened to
 * them arrives here as an event. */
#include "buf.h"
#include "cgroup.h"
#include "crilog.h"
#include "err.h"
#include "limit.h"
#include "loop.h"
#include "proc.h"
#include "tool.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* What ctrrun create gives on the command line; strings are borrowed from argv. */
struct mon_opts {
	const char *runtime, *runtime_root, *log_path, *pod, *rate_policy;
	const char *restore; /* images of a checkpoint, NULL = a new container */
	struct opt_strings runtime_args, restore_args;
	long line_max, rate;
	bool tty, stdin_open, stdin_once, systemd, adopt;
	bool sandboxed; /* the pid file names a sandbox, not the container's process */
	bool wait;      /* and `RUNTIME wait` tells how the container ended */
};

/* ---- logfile.c: the log file; a failing disk loses lines, which are counted, never the pump. */
struct logfile {
	int dir; /* held from the start: only plain names are used after that; -1 = no log */
	const char *path, *name;
	int fd;
	uint64_t lost, lost_total; /* lines not written since the last good write, and ever */
	int errnum;                /* why */
	struct limit limit;
};
int logfile_open(struct logfile *l, const char *path, struct err *e);
/* Open the name anew (the old file was renamed). On failure the old one stays in use and no new
 * file is left. When the directory itself is gone, the path is made and opened as at the start. */
int logfile_reopen(struct logfile *l, struct err *e);
/* Lines as crilog emits them; which: 0 stdout, 1 stderr. */
void logfile_write(struct logfile *l, int which, const struct iovec *iov, int count);
/* Say in the log how many lines are missing; false while that is not possible. */
bool logfile_tell(struct logfile *l);
/* A line of our own in the log. */
void logfile_remark(struct logfile *l, const char *text);
/* "ok", "degraded" (lines are being lost), "removed" (nobody will read it), "none" */
const char *logfile_health(const struct logfile *l);
/* The memory that many lines at once have taken is given back. */
void logfile_rest(void);
void logfile_close(struct logfile *l);

/* ---- stdio.c: the container's streams. */
enum { STDERR_TAIL = 4096 };

struct stream {
	struct watch watch; /* watch.fd is the read end, -1 when closed */
	struct crilog log;
	bool keep_tail;
	struct monitor *m;
};

struct stdio {
	struct stream out, err; /* with a terminal out is its master, err the runtime's stderr */
	int in;                 /* our end of the container's stdin, -1 = none */
	int child[3];           /* the runtime's ends; closed once it has been started */
	int console;            /* listening socket for the terminal's master, -1 = no tty */
	struct watch console_watch;
	int master; /* the terminal's, until the container exists; -1 */
	char tail[STDERR_TAIL];
	size_t tail_len;
	struct timer pause; /* block: until the container may log again */
	bool paused;
	bool logging; /* false until the container exists: so far only the runtime has spoken */
};
int stdio_open(struct monitor *m, struct err *e);
/* The read end of a pipe that was found again; which: 0 stdout, 1 stderr. fd is taken. */
int stdio_adopt(struct monitor *m, int which, int fd, struct err *e);
void stdio_close_child(struct stdio *s);
/* The container exists: what came so far was the runtime's, from now on it is the log's. */
void stdio_begin(struct monitor *m);
/* The runtime has sent the terminal: it is read from now on. */
void stdio_terminal(struct monitor *m);
/* Read what is there without waiting, within reason. */
void stdio_drain(struct monitor *m);
bool stdio_is_open(const struct stdio *s);
int stdio_resize(struct stdio *s, int64_t width, int64_t height, struct err *e);
void stdio_close(struct monitor *m);

/* ---- runtime.c: RUNTIME create and delete. */
int runtime_start(struct monitor *m, struct err *e);
/* After its end: 0 with m->pid and m->inside set, or -1 with the runtime's words. A runtime that is
 * not its containers' parent (ctrshim) leaves a stand-in in the pid file, which ends as the container
 * does, and in pid.container the container's own first process, 0 where that cannot be seen. */
int runtime_result(struct monitor *m, const struct proc_result *r, struct err *e);
/* Of the container itself, as far as is known: for its control group, and for others. */
pid_t runtime_pid(const struct monitor *m);
/* Did the runtime tell of an OOM kill that the container's control group does not show? */
bool runtime_saw_oom(const struct monitor *m);
/* RUNTIME delete of the ended container, within the runtime's clock; true when nothing of it is
 * left. */
bool runtime_delete(struct monitor *m);
/* Start RUNTIME VERB [OPTION WORD] ID [LAST], with its stdout at `out` (-1 = /dev/null). */
int runtime_verb(struct monitor *m, struct proc *p, int out, const char *verb, const char *option,
		 const char *word, const char *last, struct err *e);

/* ---- waiter.c: with --wait. */
struct ctl_client;
struct waiter {
	struct proc proc;
	struct watch watch;
	int out, tries;
	bool told; /* exit.code is what the runtime said */
};
/* {"op":"stdio"}: the container's ends of the pipes, for `RUNTIME start`, which gives them to it. */
int waiter_stdio(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		 struct err *e);
/* The container has been started: the runtime is asked how it ends. */
void waiter_started(struct monitor *m);
void waiter_start(struct monitor *m);
/* It was never started, and will not be. */
void waiter_gone(struct monitor *m);
/* The process of the pid file has ended, and with it everything of the pod. */
void waiter_sandbox_ended(struct monitor *m);
void waiter_close(struct monitor *m);

/* ---- exitrec.c: exit.json, whose space is taken before the container starts. */
struct exitrec {
	int fd;
	int64_t code, signal, finished_at;
	struct cgroup_counts used;
	bool oom, unknown, sandbox_ended;
};
int exitrec_prepare(struct monitor *m, struct err *e);
int exitrec_write(struct monitor *m, struct err *e);

/* ---- ctl.c: ctl.sock. */
enum { CTL_CLIENTS = 192 };

struct ctl_client {
	struct watch watch;
	struct monitor *m;
	bool waits; /* for the container's end */
	bool attached, has_stdin;
	char guard[32]; /* the pid file of the command whose ctrrun this is, "" = none */
	struct timer late;
	int out[2];  /* attached to stdout and stderr: write ends of pipes, -1 = not */
	int pass[3]; /* go with the next reply */
	size_t n_pass;
};
struct ctl {
	struct watch listen;
	struct ctl_client *client; /* CTL_CLIENTS of them; one monitor a process */
	size_t high;               /* so many have ever been used: the others cost no memory */
};
int ctl_open(struct monitor *m, struct err *e);
/* exit.json is on disk: whoever waits for it is told. */
void ctl_tell_exit(struct monitor *m);
void ctl_close(struct monitor *m);
/* One message of a client, which is answered, or dropped when it takes no answer. */
void ctl_serve(struct ctl_client *c, const char *text, size_t len);
void ctl_drop(struct ctl_client *c);

/* ---- guard.c: {"op":"guard","pid_file":"exec.42.pid"} has no answer; when the connection ends
 * without {"op":"guard_end"} the command is ended. */
int guard_begin(struct ctl_client *c, const char *text, size_t len, struct err *e);
void guard_end(struct ctl_client *c);
void guard_release(struct ctl_client *c);

/* ---- attach.c: an attached client gets the container's stdin itself, or the terminal, and reads
 * its output from a pipe, which is all the queue that it has: who lets it run full is dropped. */
int attach_begin(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		 struct err *e);
/* The client sends no more; with --stdin-once nobody will. */
void attach_stdin_end(struct ctl_client *c);
void attach_end(struct ctl_client *c);
/* which: 0 stdout, 1 stderr */
void attach_feed(struct monitor *m, int which, const char *data, size_t len);
void attach_output_ended(struct monitor *m, int which);

/* ---- oom.c: the OOM killer. begin() once m->cgroup is held, pid being in it. */
void oom_begin(struct monitor *m, pid_t pid);
/* Before the runtime is started: no protection of ours is handed on. */
void oom_bare(void);
bool oom_happened(struct monitor *m);
void oom_close(struct monitor *m);

/* ---- adopt.c: in place of a monitor that was lost. */
int adopt(struct monitor *m, int (*take_lock)(struct monitor *m, struct err *e), struct err *e);
/* Had it been started, by its record? */
bool adopted_runs(const struct monitor *m);
/* The lock file's text: ourselves, the numbers of the container's pipes, and its stand-in. */
void adopt_note(const struct monitor *m, char *text, size_t size);

/* ---- monitor.c */
enum mon_state { MON_STARTING, MON_RUNNING, MON_EXITED, MON_DRAINING, MON_DONE, MON_STATES };
enum mon_event {
	EV_RUNTIME_EXIT, /* RUNTIME create has ended */
	EV_CHILD_EXIT,   /* the container's first process has ended */
	EV_STDIO_EOF,    /* a stream was closed by its last holder */
	EV_TIMEOUT,      /* the state's own clock */
	EV_COUNT
};

struct monitor {
	const struct tool_ctx *ctx;
	const struct mon_opts *opts;
	const char *id;
	int root_dir, run_dir; /* <root>/containers/<id>, <runroot>/containers/<id> */
	int lock;
	int status_fd; /* -1 once reported */
	enum mon_state state;
	struct loop *loop;
	struct timer clock;
	struct watch child_watch; /* the pidfd of the runtime, then of the container */
	struct proc runtime;
	pid_t pid;    /* the container's first process, or its stand-in (runtime.c); 0 = none yet */
	pid_t inside; /* the container's own, when pid is a stand-in that names it; else 0 */
	unsigned long long pid_start;
	int pidfd;
	struct cgroup_dirs cgroup; /* held so that the counters can be read at the end */
	struct {
		struct watch watch; /* memory.events of the group above */
		int64_t own, above; /* kills so far: of ours, and of the one above at that time */
	} oom;
	bool timed_out;
	bool recorded; /* exit.json is on disk */
	int exit_tries;
	int status; /* our own exit status */
	struct logfile log;
	struct timer tell; /* while there is something to say about lines that are missing */
	struct stdio io;
	struct exitrec exit;
	struct waiter wait;
	struct ctl ctl;
};

void monitor_event(struct monitor *m, enum mon_event ev);
const char *monitor_state_name(const struct monitor *m);
/* Runs the container's whole life; the process's exit status, or -1 when nothing was started. */
int monitor_run(const struct tool_ctx *ctx, const struct mon_opts *o, const char *id,
		struct err *e);
#endif
