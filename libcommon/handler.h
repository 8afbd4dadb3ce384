/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_HANDLER_H
#define CRISP_HANDLER_H
/* Runtime handlers: which OCI runtime a pod's runtime_handler names. A handler is one JSON file in
 * handlers_dir, named <handler>.json:
 *
 *	{ "path": "/usr/bin/crun", "root": "/run/crisp/runtimes/crun", "type": "oci" }
 *
 * An unknown key, or one of the wrong type, is an error that names the file and the key.
 *
 * path                 the runtime, absolute; the only required key
 * type                 "oci", the only one so far
 * root                 its --root; <runroot>/runtimes/<name>
 * args                 strings put before the verb on every call
 * create_timeout       seconds for one `create`; runtime_timeout
 * default_annotations  object of strings: in every config.json, unless pod or container say other
 * allowed_annotations  patterns as in fnmatch(3): those of pod and container that reach config.json
 * base_spec_patch      JSON merge patch (RFC 7386) that is applied to the finished config.json
 * seccomp_profile      file that RuntimeDefault means; the configuration's
 * networks             names of the networks that its pods get, each NAME or NAME=INTERFACE; the first
 *                      is the one whose addresses are the pod's (podnet)
 * hooks                {"STAGE": [{"path", "args", "env", "timeout"}]} as in config.json
 * sandbox_container    the runtime wants a container for the pod itself before the others: one that
 *                      only waits, whose id is the pod's, made and ended by podnet
 * sandbox_annotations, container_annotations  what tells such a runtime the one from the others: objects
 *                      of strings, in which {pod}, {pod_name}, {pod_namespace}, {pod_uid}, {container}
 *                      and {image} are replaced; io.kubernetes.cri.container-type (sandbox, container)
 *                      and io.kubernetes.cri.sandbox-id ({pod})
 * processes            "host": the pid file names a container's first process, which is a process here;
 *                      or "sandbox": it names the sandbox, whose processes only the runtime sees. Then
 *                      `wait ID` prints {"exitStatus": N} once a container has ended, `exec
 *                      --internal-pid-file F` writes a number that `kill --pid N ID SIGNAL` takes, and
 *                      the process that exec leaves ends as its command does
 * can                  {"WORD": true|false}: what the runtime can do, over what is found out about it
 * recursive_read_only  whether it honours the mount option "rro"; by default what it says of itself
 *                      (`ctrrun handlers`), and until it was asked, crun and runc only: one that does
 *                      not know it would drop it silently
 * log_rate_limit       bytes a second that a container may log; log_rate_policy: "block", "drop" or
 *                      "sample" beyond it; annotations can lower the limit (ctrrun)
 *
 * Without a file, crun and runc are known by themselves when they are installed in /usr/bin,
 * /usr/sbin or /usr/local/{bin,sbin}; the empty name is default_runtime, else crun, else runc. */
#include "config.h"
#include "err.h"

#include <stdbool.h>

struct handler {
	char *name; /* resolved, never "" */
	char *path; /* absolute */
	char *root;
	char *file;          /* where it is described, NULL = nowhere */
	json_t *args;        /* array of strings, never NULL */
	json_t *networks;    /* array of strings; NULL = the default network */
	long create_timeout; /* seconds, 0 = runtime_timeout */
	json_t *default_annotations, *allowed_annotations, *patch, *hooks; /* NULL = none */
	char *seccomp_profile; /* NULL = none of its own */
	bool sandbox_container;
	json_t *sandbox_annotations, *container_annotations; /* NULL without sandbox_container */
	bool sandboxed;                                      /* processes: "sandbox" */
	json_t *can;         /* as said by its file; NULL = nothing */
	long log_rate_limit; /* 0 = none */
	char *log_rate_policy;
	bool rro_said; /* by its file */
	bool rro;      /* recursive read-only mounts, as said or as its name has it: handler_rro */
};

/* ERR_BAD_INPUT "unknown runtime handler 'x'" when there is none. */
int handler_find(struct handler *h, const struct config *c, const char *name, struct err *e);
void handler_release(struct handler *h);
/* Are recursive read-only mounts honoured, by its runtime and this kernel? */
bool handler_rro(const struct config *c, const struct handler *h);
#define AUTO_HANDLER __attribute__((cleanup(handler_release)))

/* Names of all handlers, sorted, the default first; a new array of strings. */
json_t *handler_list(const struct config *c);

/* One from the text of its file, all but name and defaults; for tests. */
int handler_parse(struct handler *h, json_t *j, const char *file, struct err *e);

/* ---- handler_can.c: what its runtime can do, as `ctrrun handlers` found it: a JSON object
 *
 *	{ "version": 1, "runtime": {"path", "dev", "inode", "mtime_ns", "size", "args"}, "name": "crun",
 *	  "words": "crun version 1.8.1", "known_by": "features"|"version"|"nothing",
 *	  "error": "...", "can": {"recursive_read_only": true, "idmapped_mounts": false, ...} }
 *
 * "idmapped_layers" is the host's: the store's file system and the kernel can show layers to a user
 * namespace (userns.h). The record is kept in <runroot>/handlers/<name>.json. It counts only while the binary is the one that was asked:
 * same device, inode, change time and size, same args. */

/* NULL when it was not asked, or is another by now, and its file says nothing. What the file says
 * counts more than what was found out. Never runs anything. */
json_t *handler_can(const struct config *c, const struct handler *h);
/* Lay over it what the handler's file says. */
void handler_can_say(const struct handler *h, json_t *can);
/* The words of "can", NULL ends; beside them is "hooks", an array of stages. */
extern const char *const handler_words[];
/* One answer of it: 1 yes, 0 no, -1 when nobody knows. */
int handler_can_do(const json_t *can, const char *what);
/* The binary's identity, "runtime" above. */
json_t *handler_identity(const struct handler *h, struct err *e);
int handler_can_write(const struct config *c, const struct handler *h, const json_t *can,
		      struct err *e);
#endif
