/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_RULES_H
#define PODNET_RULES_H
/* The kernel's packet filter rules, read from the kernel itself: which of the two front ends the
 * plugins used, and whether its program is installed, does not matter. Tables of the current network
 * namespace, all families. Each rule is an object with
 *
 *	where      "nft ip nat CNI-DN-ab handle 7", "iptables-legacy nat CNI-DN-ab 3": as its program
 *	           wants it for a removal
 *	table      "nft ip nat", "iptables-legacy nat"
 *	chain
 *	id         a container's id that its comment has: 64 hexadecimal digits, or fewer, at least 12,
 *	           where a plugin cut the comment short; absent = none
 *	jump       the chain that it leads to; absent = none
 *	addresses  the single addresses that it compares with
 *
 * Sources: linux/netfilter/nf_tables.h, linux/netfilter_ipv4/ip_tables.h and the IPv6 one. */
#include "err.h"

#include <jansson.h>
#include <stddef.h>

/* Both, appended to `rules`. A kernel without one of them has none of its rules. */
int rules_nft(json_t *rules, struct err *e);
int rules_legacy(json_t *rules, struct err *e);

/* ---- for the two readers */

/* The id within bytes of a rule, as above: "" when there is none. */
enum { RULE_ID_SIZE = 65 };
void rule_find_id(const void *bytes, size_t len, char id[RULE_ID_SIZE]);
/* One more address of 4 or 16 bytes; all zeros do not count. */
void rule_add_address(json_t *addresses, const void *raw, size_t len);
#endif
