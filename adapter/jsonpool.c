/* SPDX-License-Identifier: Apache-2.0 */
#include "jsonpool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* What does not fit comes from malloc. */
enum { POOL_SIZE = 512 << 10, ALIGN = 16 };

static char *block;
static size_t used;
static bool active;

static void *pool_malloc(size_t n)
{
	size_t room = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!active || n > POOL_SIZE || room > POOL_SIZE - used)
		return malloc(n);
	used += room;
	return block + used - room;
}

static void pool_free(void *p)
{
	if (!block || (uintptr_t)p < (uintptr_t)block ||
	    (uintptr_t)p >= (uintptr_t)block + POOL_SIZE)
		free(p);
}

void jsonpool_begin(void)
{
	if (!block) {
		block = malloc(POOL_SIZE);
		if (!block)
			return;
		json_set_alloc_funcs(pool_malloc, pool_free);
	}
	active = true;
	used = 0;
}

void jsonpool_end(void)
{
	active = false;
}

json_t *jsonpool_keep(json_t *j)
{
	bool was = active;
	active = false;
	json_t *copy = json_deep_copy(j);
	active = was;
	json_decref(j);
	return copy;
}
