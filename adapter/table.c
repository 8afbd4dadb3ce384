/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX_MIN = 4, BUCKETS_MIN = 64 };

/* Ids are random digits: their head is hash enough. */
static size_t bucket_of(const struct table *t, const char *id)
{
	size_t h = 0;
	for (int i = 0; i < 8 && id[i]; i++)
		h = h << 4 | (size_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
	return h % t->n_buckets;
}

struct entry *table_find(const struct table *t, const char *id)
{
	if (!t->n || !id_is_valid(id))
		return NULL;
	struct entry *e = t->buckets[bucket_of(t, id)];
	while (e && strcmp(e->id, id) != 0)
		e = e->next;
	return e;
}

struct entry *table_find_typed(const struct table *t, const char *typed)
{
	struct entry *found = NULL;
	size_t len = strlen(typed);
	if (len >= ID_LEN)
		return table_find(t, typed);
	if (len < PREFIX_MIN)
		return NULL;
	for (size_t i = 0; i < t->n; i++) {
		if (strncmp(t->all[i]->id, typed, len) != 0)
			continue;
		if (found)
			return NULL;
		found = t->all[i];
	}
	return found;
}

static void link_in(struct table *t, struct entry *e)
{
	struct entry **b = &t->buckets[bucket_of(t, e->id)];
	e->next = *b;
	*b = e;
}

static void grow(struct table *t)
{
	t->cap = t->cap ? 2 * t->cap : BUCKETS_MIN;
	t->all = xrealloc(t->all, t->cap * sizeof(struct entry *));
	free(t->buckets);
	t->n_buckets = t->cap;
	t->buckets = xcalloc(t->n_buckets, sizeof(struct entry *));
	for (size_t i = 0; i < t->n; i++)
		link_in(t, t->all[i]);
}

void table_add(struct table *t, struct entry *e)
{
	if (t->n == t->cap)
		grow(t);
	e->at = t->n;
	t->all[t->n++] = e;
	link_in(t, e);
}

void table_del(struct table *t, struct entry *e)
{
	struct entry **p = &t->buckets[bucket_of(t, e->id)];
	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	t->all[e->at] = t->all[--t->n];
	t->all[e->at]->at = e->at;
}

void table_release(struct table *t)
{
	free(t->buckets);
	free(t->all);
	*t = (struct table){0};
}
