/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSHIM_SHIM_H
#define CTRSHIM_SHIM_H
/* An OCI runtime's command line over a containerd shim v2.
 *
 * The stand-in. A shim is the parent of its containers, and whoever ran `create` (ctrmon, conmon)
 * expects to be: it waits for the process in the pid file. So `create` leaves a process of its own
 * behind that lives as long as the container, is a child of the caller's (who is a subreaper), and
 * ends as the container does: same code, same signal. Its number is in the pid file. The caller needs
 * no word about shims for that, no second way to learn an end, and an end that the shim can no longer
 * tell (it was killed) is one, too. The stand-in holds what the container's end of a plain runtime
 * would hold: the caller's three descriptors, which it joins to the shim's FIFOs, or the terminal.
 *
 * What a caller wants to know of the container itself (control group, namespaces) it cannot read from
 * a stand-in. So the container's first process is named in a second file, PIDFILE.container; 0 when
 * the host cannot see it, as in a virtual machine. PIDFILE.oom is made at the end when the shim has
 * told of an OOM kill.
 *
 * On disk: <--root>/<id> is the bundle that the shim is shown (config.json with the root file
 * system's absolute path, its FIFOs and logs), with our record, shim.json, written before the shim is
 * started: whatever is killed, `delete` knows what to end. Its parent is shared by all containers of
 * one pod, which shims rely on to find the sandbox. */
#include "buf.h"
#include "err.h"
#include "shim.pb-c.h"
#include "tool.h"
#include "ttrpc.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The command line's options before the verb. */
struct shim_opts {
	const char *root, *log, *log_format, *shim, *space, *options, *binary, *config;
	bool systemd, debug;
	long long timeout_ms;
};
extern struct shim_opts opts;

/* ---- place.c: the directory of one container. */

struct record {
	bool complete;                                  /* the container was created */
	char *bundle, *shim, *space, *address, *events; /* "" = none */
	int api;                                        /* version: 2 or 3 */
	pid_t keeper, pid, shim_pid; /* 0 = none: of the stand-in, the container, the shim */
	unsigned long long keeper_start, pid_start, shim_start;
	int64_t created_at; /* nanoseconds since 1970 */
};
struct place {
	char *id, *path; /* <root>/<id> */
	int dir, lock;
	struct record rec;
};
#define PLACE_NONE ((struct place){.dir = -1, .lock = -1})
#define AUTO_PLACE __attribute__((cleanup(place_close)))

int id_check(const char *id, struct err *e);
/* ERR_EXISTS when there is one. It is locked. */
int place_make(struct place *p, const char *id, struct err *e);
/* ERR_NOT_FOUND. Locked when asked for. */
int place_open(struct place *p, const char *id, bool lock, struct err *e);
int place_save(struct place *p, struct err *e);
void place_remove(struct place *p);
void place_close(struct place *p);
/* Of the record: a field's new value. */
void record_string(char **field, const char *value);
/* How many others have this one's shim. */
int place_sharing(const struct place *p);

/* ---- boot.c: the shim as a program. */

struct boot_answer {
	char address[256], protocol[16];
	int version;
};
/* What `SHIM start` printed: a bare address, JSON, or a BootstrapResult. Pure. */
int boot_parse(const char *data, size_t len, struct boot_answer *a, struct err *e);
/* Sets address and api. */
int boot_start(struct place *p, struct err *e);
/* `SHIM delete`: for what a shim that is dead has left. The container's exit status in *status. */
int boot_delete(struct place *p, uint32_t *status, struct err *e);
/* A shim that does not answer is killed, if it is one: its program must be the one that was started.
 * Its socket is removed. */
void boot_kill(struct place *p);
/* The OCI features structure as text; ERR_UNSUPPORTED when the shim has no word on it. */
int boot_features(struct buf *out, struct err *e);
/* The options for a shim of this kind, an Any whose type is "" when there are none; free any->value. */
void boot_options(Shim__Any *any);

/* ---- task.c: calls to the shim's Task service, each within --timeout. */

struct task {
	struct ttrpc rpc;
	const char *service;
	long long limit_ms;
	char peer[300];
};
#define TASK_NONE ((struct task){.rpc = TTRPC_NONE})
#define AUTO_TASK __attribute__((cleanup(task_close)))

int task_open(struct task *t, const struct place *p, struct err *e);
void task_close(struct task *t);
/* *out, when asked for, is to be freed with protobuf_c_message_free_unpacked. */
int task_call(struct task *t, const char *method, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *type, void *out, struct err *e);
int task_empty(struct task *t, const char *method, const ProtobufCMessage *request, struct err *e);
/* Calls whose request is an id and perhaps an exec's. */
int task_start(struct task *t, const char *id, const char *exec, pid_t *pid, struct err *e);
int task_kill(struct task *t, const char *id, const char *exec, int signal, bool all,
	      struct err *e);
int task_delete(struct task *t, const char *id, const char *exec, struct err *e);
enum task_state {
	TASK_UNKNOWN,
	TASK_CREATED,
	TASK_RUNNING,
	TASK_STOPPED,
	TASK_PAUSED,
	TASK_PAUSING
};
int task_state(struct task *t, const char *id, enum task_state *state, struct err *e);

/* ---- keep.c: the stand-in of a container or of a command in one (exec). */

struct keep_spec {
	struct place *p;
	const char *exec;    /* its id, NULL = the container itself */
	const char *process; /* of an exec: JSON */
	bool terminal;
	const char *console;  /* socket for the terminal's master, NULL = ours is used */
	int width, height;    /* of the terminal, 0 = as it is */
	const char *pid_file; /* NULL = none */
	bool foreground;      /* wait, and end as it does */
};
/* Makes what is asked for and a stand-in for it: 0, or in the foreground the exit status, or -1. */
int keep(const struct keep_spec *s, struct err *e);

/* ---- verbs, each in a file of its name or in verbs.c */
int verb_create(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_start(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_exec(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_kill(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_delete(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_state(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_ps(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_update(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_pause(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_resume(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_features(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_publish(struct tool_ctx *c, int argc, char **argv, struct err *e);
/* The container of an open place is ended and all that is left of it removed. */
int delete_place(struct place *p, bool force, struct err *e);
/* After a creation that failed: gone, whatever the shim says to that. */
void undo_place(struct place *p);
/* An OOM kill that a shim told of: noted for the container's stand-in. */
void event_take(const Shim__Any *event);

extern const char *create_bundle, *create_console, *create_pid_file;
extern const char *exec_process_file, *exec_cwd, *exec_user;
extern struct opt_strings exec_env;
extern bool exec_tty, exec_detach, kill_all, delete_force;
extern const char *update_resources, *ps_format, *publish_topic, *publish_space;
#endif
