/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_PORTS_H
#define PODNET_PORTS_H
/* The ledger of host ports, <root>/hostports/<protocol>-<port>-<address> -> pod id: what a pod is
 * about to take is written there first, so that two pods never get one port, and who has it can be
 * said. An entry counts while its pod lives or owes its detachment (debt.h); others are litter. */
#include "podnet.h"

/* mappings: the portMappings capability (NULL = none). ERR_EXISTS names port and owner. */
int ports_claim(const struct pod *p, json_t *mappings, struct err *e);
void ports_release(struct tool_ctx *c, const char *id);

int cmd_ports(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt ports_opts[];
#endif
