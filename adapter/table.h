/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TABLE_H
#define CRISP_TABLE_H
/* Objects by id: a hash for finding, an array for walking. An object begins with its entry and is
 * owned by whoever made it. */
#include "state.h"

#include <stddef.h>

struct entry {
	struct entry *next; /* in its bucket */
	size_t at;          /* in all[] */
	char id[ID_SIZE];
};

struct table {
	struct entry **buckets;
	size_t n_buckets;
	struct entry **all; /* in no order */
	size_t n, cap;
};

struct entry *table_find(const struct table *t, const char *id);
/* Also a unique prefix of at least 4 digits. */
struct entry *table_find_typed(const struct table *t, const char *typed);
void table_add(struct table *t, struct entry *e);
void table_del(struct table *t, struct entry *e);
void table_release(struct table *t);
#endif
