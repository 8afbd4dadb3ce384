/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_GC_SURVEY_H
#define PODNET_GC_SURVEY_H
/* gc --dry-run: for each pinned network namespace, each address that host-local has leased and each
 * pod's firewall rules why it stays or goes. These follow their pods; gc does nothing to them by
 * themselves, and what no pod of this root explains stays. */
#include "podnet.h"

/* Appends {"action","kind","id","reason"} objects. */
void gc_survey(struct tool_ctx *c, json_t *lines);
#endif
