/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_CTR_H
#define CTRRUN_CTR_H
/* One container, its runtime and its monitor, as every verb needs them. */
#include "buf.h"
#include "err.h"
#include "handler.h"
#include "proc.h"
#include "record.h"
#include "tool.h"

#include <stdbool.h>

struct ctr {
	const struct tool_ctx *c;
	char id[ID_SIZE];
	struct ctr_record rec;
	enum ctr_state state;
	struct exit_record exit; /* filled when state is CTR_EXITED */
	struct handler handler;  /* for its arguments; empty when it is not configured any more */
	int lock;
	bool damaged;                    /* state.json could not be read; rec is a guess */
	const char *restore;             /* create makes it from these images; NULL = anew */
	const char *const *restore_args; /* for the runtime's restore; NULL ends */
};
#define CTR_NONE ((struct ctr){.lock = -1})

enum ctr_open_flags {
	CTR_LOCKED = 1,     /* hold the container's lock */
	CTR_DAMAGED_OK = 2, /* a record that cannot be read is no error (rm) */
};

/* `typed` is an id, a prefix or a name. */
int ctr_open(struct ctr *k, const struct tool_ctx *c, const char *typed, int flags, struct err *e);
void ctr_release(struct ctr *k);
#define AUTO_CTR __attribute__((cleanup(ctr_release)))
/* state and exit anew, from the records and the kernel. */
void ctr_look(struct ctr *k);
int ctr_save(struct ctr *k, struct err *e);
/* exit.json by us: a start that failed, or an end that no monitor saw. */
int ctr_write_exit(struct ctr *k, int64_t code, const char *reason, const char *message,
		   struct err *e);

/* Its directory below runroot; made when it is missing. */
int ctr_run_dir(const struct ctr *k, struct err *e);
/* pidfds of its first process and of its monitor, -1 when they are gone. The monitor is also found
 * when only its lock names it (ctrrun was killed before it could write the record). */
int ctr_pidfd(const struct ctr *k);
int ctr_monitor_pidfd(const struct ctr *k);
/* A runtime has as many words for a container that ended under a call as the call has moments: when
 * it has, *e becomes ERR_BAD_STATE and says so before what it said. */
void ctr_blame_end(struct ctr *k, struct err *e);

/* create.c: is it as ocibundle made it? Then start its monitor, which has the runtime create or restore
 * it, and record it as created. */
int ctr_check_prepared(const struct ctr *k, struct err *e);
int ctr_make(struct ctr *k, struct err *e);

/* pause.c: has the container been frozen? And let it run on, by the runtime or in its place. */
bool ctr_is_paused(const struct ctr *k);
int ctr_pause(const struct ctr *k, struct err *e);
int ctr_resume(const struct ctr *k, struct err *e);

/* A new monitor for a container that has lost its own. 0 also when it has not; -1 when that is not
 * possible. */
int ctr_adopt(struct ctr *k, struct err *e);
/* The same, where failing is no reason to stop. */
void ctr_try_adopt(struct ctr *k);

/* loglimit.c: how fast it may log, by its handler and the annotations crisp.log_rate_limit and
 * crisp.log_rate_policy of pod and container. */
struct log_limit {
	long rate; /* 0 = none */
	const char *policy;
};
struct log_limit loglimit_of(const struct ctr *k);

/* Wait until the container has ended and its exit is on disk. 1 = so it is, 0 = the time is up. An
 * end that no monitor saw is written down here. */
int ctr_wait_exit(struct ctr *k, long long timeout_ms, struct err *e);

/* KILL to everything in the container, by process and control group; `runtime` asks the runtime as
 * well, for one whose processes are elsewhere. */
void ctr_kill_all(const struct ctr *k, bool runtime);
/* Whatever there may be of it besides the records: the runtime's state, processes, monitor, cgroup.
 * Idempotent. */
int ctr_cleanup(struct ctr *k, struct err *e);

/* ---- runtime.c: calls of the OCI runtime; each has the clock runtime_timeout (or a shorter one)
 * and is killed by its group. */
enum { RT_ARGS_MAX = 96 };
struct rt_args {
	const char *v[RT_ARGS_MAX];
	size_t n;
};
/* PATH --root R ARGS… [--systemd-cgroup]; the verb and its operands follow by rt_add. */
void rt_begin(struct rt_args *a, const struct ctr *k);
void rt_add(struct rt_args *a, const char *s);
/* Run it; a status other than 0 is ERR_FAILED with the runtime's words. */
int rt_run(const struct ctr *k, const struct rt_args *a, int timeout_ms, struct err *e);
/* The same with something on its standard input. */
int rt_run_with(const struct ctr *k, const struct rt_args *a, const char *input, size_t len,
		int timeout_ms, struct err *e);
/* RUNTIME VERB [OPTION] ID [LAST]; option and last may be NULL. */
int rt_call(const struct ctr *k, const char *verb, const char *option, const char *last,
	    struct err *e);
/* Does the runtime itself say that it runs? */
bool rt_is_running(const struct ctr *k);
int rt_timeout_ms(const struct ctr *k);
/* What the runtime and the monitor get of our environment; NULL-terminated, for the life of the
 * process. */
const char *const *rt_env(void);

/* ---- ctl.c: the monitor's control socket. */
/* A connection with the request sent: readable when the answer, or the monitor's end, is there. */
int ctl_send(const struct ctr *k, const char *request, struct err *e);
/* One request, and its answer waited for; one that is not "ok" is an error. */
json_t *ctl_answer(const struct ctr *k, const char *request, struct err *e);
int ctl_ask(const struct ctr *k, const char *request, struct err *e);

/* ---- inside.c: start of a container in a sandbox, whose streams the runtime takes from `start`. */
int inside_start(struct ctr *k, struct err *e);

/* ---- verbs */
extern bool create_defer_errors, rm_force, exec_tty, exec_stdin, exec_collect;
int verb_create(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_start(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_stop(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_kill(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_rm(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_exec(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_state(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_ls(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt ls_opts[];
int verb_update(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_adopt(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_reopen(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_pause(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_resume(struct tool_ctx *c, int argc, char **argv, struct err *e);
#endif
