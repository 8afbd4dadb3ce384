/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RECORD_H
#define CRISP_RECORD_H
/* The records beside an object's configuration: state.json of a pod and of a container, and a
 * container's exit.json. Who writes what:
 *
 *	pods/<id>/pod.json              PodSandboxConfig as JSON (pbjson.h)    podnet create
 *	pods/<id>/state.json            struct pod_record                      podnet
 *	containers/<id>/container.json  ContainerConfig as JSON                ocibundle create
 *	containers/<id>/state.json      struct ctr_record                      ocibundle, then ctrrun
 *	containers/<id>/exit.json       struct exit_record; written once,      ctrmon; ctrrun when a
 *	                                before anyone is told                  start fails
 *
 * Times are nanoseconds since 1970 (CLOCK_REALTIME), 0 = not yet. Strings are never NULL after a
 * read, "" when absent. A record of a higher "version" or that does not parse is ERR_BAD_STATE:
 * shown as damaged, still removable. */
#include "cgroup.h"
#include "err.h"
#include "state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct pod_record {
	char *id;
	char *state;   /* "creating", "ready", "notready" */
	char *handler; /* as asked; "" = default */
	char *origin;  /* "cri" or "hand" */
	char *boot_id;
	char *netns;            /* path of the pinned namespace; "" for the host network */
	char *network_mode;     /* "POD" or "NODE" */
	char *ip;               /* "" for the host network or none */
	json_t *additional_ips; /* array of strings, never NULL */
	char *cgroup_parent;    /* as given; "" = ours */
	char *reason;           /* why it is notready, for people */
	bool sandbox; /* it has a sandbox container, which is the container whose id is the pod's */
	int64_t created_at;
	bool complete; /* creation was finished (state.h: claims) */
};

struct ctr_record {
	char *id;
	char *pod_id;
	char *state;        /* "prepared" (bundle made), "created", "running"; exited is exit.json's
			       existence */
	char *handler;      /* resolved name, never "" */
	char *runtime;      /* absolute path of the OCI runtime, fixed at creation */
	char *runtime_root; /* its --root */
	char *origin;       /* "cri", "hand" or ORIGIN_SANDBOX */
	char *boot_id;
	char *image;          /* as the user named it (image_spec.user_specified_image or image) */
	char *image_id;       /* sha256:<hex> */
	json_t *mount_images; /* ids of the images mounted into it: their layers stay, too */
	char *log_path;       /* absolute; "" = no log */
	char *cgroup_path;    /* config.json's linux.cgroupsPath */
	char *start_error; /* the runtime refused at creation; told when the container is started */
	int64_t created_at, started_at;
	int64_t pid, pid_start; /* the container's first process, with its start time (proc.h) */
	int64_t monitor, monitor_start; /* its ctrmon */
	int64_t stop_signal;            /* number; 0 = TERM */
	bool tty, stdin_open, stdin_once;
	bool restored;  /* made from a checkpoint: frozen until it is started */
	bool sandboxed; /* pid is that of a sandbox with all of the pod's processes in it: how this
			   container ended is what the runtime says (handler.h, "processes") */
	bool complete;
};

/* The origin of a pod's sandbox container, which is nobody's but the pod's. */
#define ORIGIN_SANDBOX "sandbox"
bool ctr_is_sandbox(const struct ctr_record *r);

struct exit_record {
	int64_t exit_code; /* 0..255; 128+n when killed by signal n; 128 start error; 255 unknown */
	int64_t signal;    /* 0 = none */
	bool oom;
	int64_t started_at, finished_at;
	struct cgroup_counts
		used; /* peaks against limits; each a member of the file, by its name */
	int64_t lost_lines, dropped_lines; /* of the log: by a failing disk, by a rate limit */
	char *reason;  /* "Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown"
			*/
	char *message; /* for people; "" mostly */
	char *stderr_tail;
};

int pod_record_read(const struct state *s, const char *id, struct pod_record *r, struct err *e);
int pod_record_write(const struct state *s, const struct pod_record *r, struct err *e);
void pod_record_release(struct pod_record *r);
/* 0, or ERR_BAD_STATE with the reason: is it one that takes containers, in this boot? */
int pod_check_ready(const struct pod_record *r, struct err *e);
#define AUTO_POD_RECORD __attribute__((cleanup(pod_record_release)))

int ctr_record_read(const struct state *s, const char *id, struct ctr_record *r, struct err *e);
int ctr_record_write(const struct state *s, const struct ctr_record *r, struct err *e);
void ctr_record_release(struct ctr_record *r);
#define AUTO_CTR_RECORD __attribute__((cleanup(ctr_record_release)))

/* ERR_NOT_FOUND while the container has not ended. */
int exit_record_read(const struct state *s, const char *id, struct exit_record *r, struct err *e);
int exit_record_write(const struct state *s, const char *id, const struct exit_record *r,
		      struct err *e);
void exit_record_release(struct exit_record *r);
#define AUTO_EXIT_RECORD __attribute__((cleanup(exit_record_release)))

/* The same by an open directory of the object, for one that already holds it. */
int pod_record_read_at(int dir, struct pod_record *r, struct err *e);
int ctr_record_read_at(int dir, struct ctr_record *r, struct err *e);
int exit_record_read_at(int dir, struct exit_record *r, struct err *e);

enum ctr_state { CTR_PREPARED, CTR_CREATED, CTR_RUNNING, CTR_EXITED, CTR_UNKNOWN };
const char *ctr_state_name(enum ctr_state s); /* "prepared" … */

/* Whether a process holds the lock of the container's monitor. */
bool ctr_monitor_lives(const struct state *s, const char *id);

/* What a container is now, from its records, the monitor's lock and the kernel. exit->reason etc.
 * are filled when the answer is CTR_EXITED, also when no exit.json could be written: after a
 * reboot, or when monitor and container are both gone (exit code 255, reason
 * ContainerStatusUnknown). */
enum ctr_state ctr_effective(const struct state *s, const struct ctr_record *r,
			     struct exit_record *exit);
/* The same for one that has the container's directory open (-1: it has none). monitor_seen: it also
 * has the monitor's process, as the record names it, in its hand; the lock need not be asked then. */
enum ctr_state ctr_effective_at(const struct state *s, int dir, const struct ctr_record *r,
				bool monitor_seen, struct exit_record *exit);

/* The counters as members of a JSON object, as exit.json has them. */
void record_put_counts(json_t *j, const struct cgroup_counts *c);
/* Replace a string member of a record: frees the old one, copies the new. */
void record_set(char **member, const char *value);
int64_t record_now_ns(void);
#endif
