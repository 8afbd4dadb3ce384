/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_DEBT_H
#define PODNET_DEBT_H
/* Debts: network attachments that could not be given back, because a plugin was missing or failed.
 * They do not hold up the pod's removal; `podnet gc` pays them. One file for each network,
 * <root>/debts/<pod id>.json, <pod id>.1.json and so on as the attachment's: {"version","pod",
 * "error","since","network"}, network being the attachment record (podnet.h). */
#include "podnet.h"

int debt_record(const struct pod *p, json_t *net, const char *why, struct err *e);
/* Try to pay what the pod owes: 1 all paid, 0 not (*e says why), -1 it cannot be read. */
int debt_pay(struct tool_ctx *c, const char *id, struct err *e);
bool debt_owed(const struct tool_ctx *c, const char *id);
/* What the pod owes, as recorded: an array, null for what is damaged. */
json_t *debt_records(const struct tool_ctx *c, const char *id);
/* Ids of all pods that owe, as strings. Never NULL. */
json_t *debt_list(const struct tool_ctx *c);
#endif
