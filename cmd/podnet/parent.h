/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_PARENT_H
#define PODNET_PARENT_H
/* The cgroup that a pod's containers are put below: with the cgroupfs driver a path, with systemd's a
 * slice. A kubelet makes it and removes it. By hand nobody does: the runtime makes it with the first
 * container, and what was made on our behalf is ours to remove. <root>/cgroups/<escaped path> says so:
 * it is written before the pod exists, names the topmost group that was not there, and goes with that
 * group. */
#include "tool.h"

#include <sys/types.h>

/* `parent` as the pod's config has it; "" is our own: /crisp/<id>, or crisp.slice. */
int parent_intend(const struct tool_ctx *c, const char *parent, const char *id, struct err *e);
/* The pod's own first process goes into a group beside its containers', <parent>/podinit-<id> (a scope
 * with the systemd driver): it is the pod's, and must not end with whoever made it. Best effort. */
void parent_take_init(const struct tool_ctx *c, const char *parent, const char *id, pid_t pid);
void parent_drop_init(const struct tool_ctx *c, const char *parent, const char *id);
/* Remove the pod's parent group and, upwards to the topmost one that was made for us, those that
 * are empty. Best effort: a group that is in use stays, for the next pod's removal. */
void parent_prune(const struct tool_ctx *c, const char *parent, const char *id);
#endif
