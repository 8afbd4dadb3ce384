/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_INDEX_LOAD_H
#define CRISP_INDEX_LOAD_H
/* One object from the disk into memory. What cannot be read is shown as damaged, with the reason:
 * hiding it would make it impossible to remove. */
#include "index.h"

/* NULL: there is no such directory. */
struct pod *pod_load(const struct state *s, const char *id);
void pod_free(struct pod *p);
struct ctr *ctr_load(const struct state *s, const char *id);
void ctr_free(struct ctr *c);
/* What the older reading knew and the disk does not tell again. */
void ctr_inherit(struct ctr *c, struct ctr *old);
void pod_inherit(struct pod *p, struct pod *old);
#endif
