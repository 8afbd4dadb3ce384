/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_JSONPOOL_H
#define CRISP_JSONPOOL_H
/* Memory for JSON values that are read, copied from, and dropped: between begin and end jansson gets
 * its memory from one block, and freeing costs nothing. Two fifths of the time that reading a
 * thousand records took was malloc and free.
 *
 * No value made between the two may be used behind the end, but for what jsonpool_keep returned. */
#include <jansson.h>

void jsonpool_begin(void);
void jsonpool_end(void);
/* Behind the end's reach: takes the reference and returns a copy from ordinary memory. NULL stays
 * NULL. */
json_t *jsonpool_keep(json_t *j);
#endif
