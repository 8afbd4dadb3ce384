/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CAP_H
#define CRISP_CAP_H
/* Capabilities by name, and sets of them as bit masks (bit n is capability number n). */
#include "err.h"

#include <jansson.h>
#include <stdint.h>

/* The number of "CAP_NET_ADMIN", "NET_ADMIN" or "net_admin"; -1 when there is no such capability.
 */
int cap_number(const char *name);
/* "CAP_NET_ADMIN"; NULL beyond the last one we know. */
const char *cap_name(int number);
/* What this process may hand on at most: its bounding set, as far as we have names for it. */
uint64_t cap_bounding(void);
/* A new array of names, lowest number first. */
json_t *cap_to_json(uint64_t set);
/* The set that a list of names means (the "ALL" keyword is not understood here). `what` names the
 * list in messages. */
int cap_from_json(const json_t *names, const char *what, uint64_t *set, struct err *e);
#endif
