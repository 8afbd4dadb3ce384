/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_GUNZIP_H
#define OCIPULL_GUNZIP_H
/* The gzip half of inflate.h: ISA-L where it is built in (three to four times as fast), else zlib.
 */
#include "err.h"

#include <stdbool.h>
#include <sys/types.h>

struct gunzip;

struct gunzip *gunzip_new(void);
/* Decode from src, telling how much was used, into dst; returns the bytes written. *open: the
 * stream is in the middle of a member. -1: damaged. */
ssize_t gunzip_next(struct gunzip *g, const void *src, size_t len, size_t *used, void *dst,
		    size_t size, bool *open, struct err *e);
void gunzip_free(struct gunzip *g);
#endif
