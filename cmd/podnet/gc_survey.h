/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_GC_SURVEY_H
#define PODNET_GC_SURVEY_H
/* gc --dry-run: for each pinned network namespace, each address that host-local has leased and each
 * packet filter rule of a pod's why it stays or goes. These follow their pods; gc does nothing to
 * them by themselves, and what no pod of this root explains stays. */
#include "podnet.h"

/* Appends {"action","kind","id","reason"} objects. */
void gc_survey(struct tool_ctx *c, json_t *lines);

/* ---- among its parts. One line about something that belongs to the container `id`. */
void gc_survey_add(struct tool_ctx *c, json_t *lines, const char *kind, const char *what,
		   const char *id);
/* gc_rules.c. owners: {"<leased address>": "<container id>"}. */
void gc_survey_rules(struct tool_ctx *c, json_t *lines, json_t *owners);
#endif
