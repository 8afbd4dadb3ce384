/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_CHOOSE_H
#define PODNET_CHOOSE_H
/* Which networks a pod gets, and by which interface: those of the command line (--network), else
 * those of its runtime handler (handler.h: networks), else the one of the configuration. Each is
 * written NAME or NAME=INTERFACE; the first is eth0 by default, the next eth1. */
#include "podnet.h"

/* `typed` (strings, NULL or empty = none) and the handler's (NULL = none). A new array of {"name",
 * "ifname", "file", "config"}, each in a version that its plugins have. */
json_t *networks_choose(struct tool_ctx *c, json_t *typed, json_t *handlers, struct err *e);
#endif
