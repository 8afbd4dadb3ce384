/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_JOBS_H
#define CRISP_JOBS_H
/* A job is a short list of tool runs that satisfies one request. It is described, then submitted:
 *
 *	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CHANGE);
 *	job_for(j, pod_id, ctr_id);
 *	job_step(j, STEP_PLAIN, timeout_ms, "ctrrun", "start", ctr_id);
 *	job_wait(j, c, answer);
 *	job_submit(j, done);
 *
 * When the last step has ended, each waiting call gets its `answer`, then `done` runs once (the index is
 * refreshed there), before anything else is read. A job does not end with its client: a call that is cancelled
 * is merely taken off the list, unless the job has no use without one (JOB_PULL, job_ends_with_client).
 *
 * Order: jobs that change the same object run one after the other as they came. Stops and removals
 * wait for changes under way, never for a stop: a second one with a shorter grace runs beside the
 * first and wins. Removals go before creations when there are more jobs than slots.
 *
 * What a step runs may have been started before, to wait for it: see standby.h. */
#include "buf.h"
#include "call.h"
#include "crispd.h"

#include <jansson.h>

enum job_class {
	JOB_CREATE, /* a new object, other objects need not wait */
	JOB_CHANGE,
	JOB_STOP,
	JOB_REMOVE,
	JOB_PULL,
	JOB_CLASS_COUNT
};

enum step_flags {
	STEP_PLAIN = 0,
	STEP_BESIDE = 1,  /* runs together with the step before it */
	STEP_GO_ON = 2,   /* its failure is the job's, but what follows is done nevertheless */
	STEP_DECIDES = 4, /* its success makes up for failures before it */
	STEP_UNDO = 8,    /* only when the job has failed after a step that succeeded */
	STEP_OUTPUT = 16, /* its stdout is the job's output */
	STEP_ALWAYS = 64, /* whatever came before it, also when nobody waits any more */
	STEP_PROXY = 32,  /* goes to the network: gets proxy variables and HOME */
};

struct job;
struct step;

struct job *job_new(struct crispd *d, const char *rpc, const char *req, enum job_class class);
/* The objects it works on; either may be NULL. */
void job_for(struct job *j, const char *pod, const char *ctr);
/* The job is not about that pod and does not wait for others of it, but the pod's journal has its steps. */
void job_tell(struct job *j, const char *pod);
/* What a later request must equal to share this job: see job_find. Takes the reference `config`
 * (NULL is fine). */
void job_identify(struct job *j, const char *key, json_t *config);

/* Append a run of <tools_dir>/<tool> with these arguments; timeout_ms < 0 = none. */
#define job_step(j, flags, timeout_ms, ...) \
	job_step_argv((j), (flags), (timeout_ms), (const char *const[]){__VA_ARGS__, NULL})
/* argv[0] is the tool's name, a literal. */
struct step *job_step_argv(struct job *j, int flags, long long timeout_ms, const char *const *argv);
/* stdin of the step, copied; `file` is where the journal's reader finds the same text. */
void step_stdin(struct step *s, const char *data, size_t len, const char *file);
/* A secret for the tool: an anonymous file whose number replaces the argument "@FD". */
void step_secret(struct step *s, const void *data, size_t len);

/* Called when the step begins: what is likely to come after it (standby.h). */
void step_then(struct step *s, void (*then)(struct job *j));

/* For a job whose steps depend on what it waits for: `plan` runs once, when its turn has come, and
 * appends them. */
void job_plan(struct job *j, void (*plan)(struct job *j));
/* Without a client the job is of no use: its step is ended (SIGTERM), and what is to be undone is. */
void job_ends_with_client(struct job *j);
/* The call gets `answer` when the job ends; the job may be under way already. */
void job_wait(struct job *j, struct call *c, void (*answer)(struct call *c, const struct job *j));
/* Hand it over: it runs when its turn comes and frees itself after the answers and
 * `done` (may be NULL). */
void job_submit(struct job *j, void (*done)(struct job *j));

/* The unfinished job that was identified by this key, or NULL. */
struct job *job_find(const struct jobs *js, const char *key);
/* What it was identified with. */
const json_t *job_config(const struct job *j);

/* For `done` and `answer`: NULL when it succeeded; what the STEP_OUTPUT step printed, without the
 * final newline, "" if nothing. */
const struct err *job_error(const struct job *j);
const char *job_output(const struct job *j);
const char *job_pod(const struct job *j);
const char *job_ctr(const struct job *j);
struct crispd *job_daemon(const struct job *j);

struct jobs *jobs_new(struct crispd *d);
/* The configuration's files have been read again, as `said`: what tools are told follows. */
void jobs_reload(struct jobs *js, const struct config *said);
/* Steps under way are left to finish by themselves; what has not begun is dropped. */
void jobs_free(struct jobs *js);
/* How many are running and waiting (Status, shutdown). */
void jobs_count(const struct jobs *js, size_t *running, size_t *waiting);

/* All of them, for people: [{"rpc","req","pod","container","what","tool","seconds","stuck"}], tool ""
 * for one that waits for its turn. Stuck is a tool that has run for JOBS_STUCK_S longer than it may
 * on purpose: a stop has its grace, a pull takes as long as it takes. */
enum { JOBS_STUCK_S = 30 };
json_t *jobs_dump(const struct jobs *js);

/* The beginning of every tool's command line, for a run outside of a job: path, --config, --root,
 * --runroot as needed; returns how many words were put into argv (room for 8). */
size_t jobs_argv(const struct jobs *js, const char *tool, const char **argv);
/* The environment of a tool; NULL-terminated, good until the next call. */
const char *const *jobs_env(struct jobs *js, const char *req, bool proxy);
/* What a tool said on stderr: its error into *e (kind by exit status when it named none), the other
 * lines to our log. *warning is the first of them that warns, to be freed; NULL when there is none
 * (and `warning` NULL when nobody asks). */
void jobs_read_stderr(const char *tool, const char *text, size_t len, int exit_code, char **warning,
		      struct err *e);
#endif
