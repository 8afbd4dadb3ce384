/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_XALLOC_H
#define CRISP_XALLOC_H
/* Allocation that does not return without memory: one message, then abort(). The tools are
 * short-lived and can do nothing better; crispd caps every input instead. Results are free()d. */
#include <stddef.h>

void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
__attribute__((format(printf, 1, 2))) char *xasprintf(const char *fmt, ...);
#endif
