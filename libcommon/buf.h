/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_BUF_H
#define CRISP_BUF_H
/* A growing byte buffer with a mandatory limit, so that whoever feeds it (a registry, a plugin, a
 * client) cannot grow us without bound. data is NUL-terminated after every successful append and
 * NULL while empty. Out of memory aborts (xalloc.h); going over the limit is ERR_EXHAUSTED and
 * leaves the contents as they were. */
#include "err.h"

#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t limit; /* in bytes, without the terminator */
};

#define BUF_INIT(max) ((struct buf){.limit = (max)})

int buf_add(struct buf *b, const void *data, size_t len, struct err *e);
int buf_addstr(struct buf *b, const char *s, struct err *e);
__attribute__((format(printf, 3, 4))) int buf_addf(struct buf *b, struct err *e, const char *fmt,
						   ...);
/* Room for at least n more bytes; the caller writes at data+len and calls buf_grew. */
int buf_reserve(struct buf *b, size_t n, struct err *e);
void buf_grew(struct buf *b, size_t n);
/* Drop the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);   /* keeps the memory */
void buf_release(struct buf *b); /* frees it; the buffer can be used again */
/* Hands the bytes over (never NULL; free() them) and leaves the buffer empty. */
char *buf_take(struct buf *b);

#define AUTO_BUF __attribute__((cleanup(buf_release)))
#endif
