/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_NETWORK_CARE_H
#define PODNET_NETWORK_CARE_H
/* What is asked of a network besides attaching pods to it: CHECK, STATUS, GC. */
#include "podnet.h"

/* Why CHECK is not to be run for this attachment record; NULL = it is. */
const char *network_check_skipped(json_t *net);
/* CHECK by the plugin at `index`. */
int network_check(const struct pod *p, json_t *net, size_t index, struct err *e);

/* All networks that pods of this root are attached to, and the one that a new pod would get:
 * {"<name>": {"config": list, "valid": [{"containerID", "ifname"}, …]}}. New reference. */
json_t *networks_in_use(struct tool_ctx *c);
/* GC to one of them; only *skipped, a reason, when it has none. Does nothing with --dry-run. */
int network_gc(struct tool_ctx *c, json_t *network, const char **skipped, struct err *e);

int cmd_network(struct tool_ctx *c, int argc, char **argv, struct err *e);
#endif
