/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_HANDLER_H
#define CRISP_HANDLER_H
/* Runtime handlers: which OCI runtime a pod's runtime_handler names. A handler is one JSON file in
 * handlers_dir, named <handler>.json:
 *
 *	{ "path": "/usr/bin/crun", "root": "/run/crisp/runtimes/crun", "type": "oci" }
 *
 * "path" is required; "root" defaults to <runroot>/runtimes/<name>, "type" to "oci" (the only one
 * so far). "args": strings put before the verb on every call. "recursive_read_only": whether the
 * runtime honours the mount option "rro"; by default crun and runc only, since one that does not
 * know it would drop it silently. "log_rate_limit": bytes a second that a container may log,
 * "log_rate_policy": "block", "drop" or "sample" beyond it; annotations can lower the limit (ctrrun).
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
	json_t *args;        /* array of strings, never NULL */
	long log_rate_limit; /* 0 = none */
	char *log_rate_policy;
	bool rro; /* recursive read-only mounts, by runtime and kernel */
};

/* ERR_BAD_INPUT "unknown runtime handler 'x'" when there is none. */
int handler_find(struct handler *h, const struct config *c, const char *name, struct err *e);
void handler_release(struct handler *h);
#define AUTO_HANDLER __attribute__((cleanup(handler_release)))

/* Names of all handlers, sorted, the default first; a new array of strings. */
json_t *handler_list(const struct config *c);
#endif
