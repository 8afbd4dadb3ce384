/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_LIMITS_H
#define CTRRUN_LIMITS_H
/* Limits of a container as JSON, by the names of LinuxContainerResources in cri.proto: one set laid
 * over another, and what there was before one. */
#include "ctr.h"

#include <jansson.h>

/* `have` with `wanted` over it: of huge pages and of unified keys those that are named. The caller's. */
json_t *limits_with(const json_t *have, const json_t *wanted);
/* `have`, and for what only `want` limits the value that the kernel has now: with these an update that
 * failed halfway is undone. To be asked before the update. The caller's. */
json_t *limits_before(const struct ctr *k, const json_t *have, const json_t *want);
/* After an update: are the limits of huge pages in force? runc's update passes over them, by the name that
 * version 1 leaves us. ERR_UNSUPPORTED. */
int limits_check_pages(const struct ctr *k, const json_t *want, struct err *e);
/* Of an element of hugepage_limits; NULL when it has none. */
const char *limits_page_size(const json_t *one);
/* The kernel's file with the limit of these pages, also its key in `unified`. The caller's. */
char *limits_page_file(const char *size);
/* A number, which may come as text when it is large: the caller's reference, or NULL. */
json_t *limits_integer(json_t *v);
#endif
