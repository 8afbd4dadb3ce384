/* SPDX-License-Identifier: Apache-2.0 */
#include "gunzip.h"

#include "xalloc.h"

#include <stdint.h>
#include <stdlib.h>

/* The makefile links what pkg-config knows; the header comes with it. */
#if __has_include(<isa-l/igzip_lib.h>) && !defined(NO_ISAL)
#include <isa-l/igzip_lib.h>

struct gunzip {
	struct inflate_state st;
	bool started;
};

struct gunzip *gunzip_new(void)
{
	struct gunzip *g = xcalloc(1, sizeof *g);
	isal_inflate_init(&g->st);
	g->st.crc_flag = ISAL_GZIP;
	return g;
}

ssize_t gunzip_next(struct gunzip *g, const void *src, size_t len, size_t *used, void *dst,
		    size_t size, bool *open, struct err *e)
{
	if (!g->started)
		isal_inflate_reset(&g->st);
	g->started = true;
	g->st.next_in = (unsigned char *)(uintptr_t)src;
	g->st.avail_in = (uint32_t)len;
	g->st.next_out = dst;
	g->st.avail_out = (uint32_t)size;
	int rc = isal_inflate(&g->st);
	/* Some codes above 0 only say that more input is wanted. */
	if (rc < 0 || rc == ISAL_NEED_DICT)
		return err_set(e, ERR_BAD_INPUT, "damaged gzip data (ISA-L error %d)", rc);
	*used = len - g->st.avail_in;
	*open = g->st.block_state != ISAL_BLOCK_FINISH;
	g->started = *open;
	return (ssize_t)(size - g->st.avail_out);
}

void gunzip_free(struct gunzip *g)
{
	free(g);
}
#else
#include <zlib.h>

struct gunzip {
	z_stream z;
	bool started;
};

struct gunzip *gunzip_new(void)
{
	struct gunzip *g = xcalloc(1, sizeof *g);
	/* 16: a gzip header and trailer, nothing else. It fails only without memory. */
	if (inflateInit2(&g->z, 16 + MAX_WBITS) != Z_OK)
		abort();
	return g;
}

ssize_t gunzip_next(struct gunzip *g, const void *src, size_t len, size_t *used, void *dst,
		    size_t size, bool *open, struct err *e)
{
	if (!g->started)
		inflateReset(&g->z);
	g->started = true;
	g->z.next_in = (unsigned char *)(uintptr_t)src;
	g->z.avail_in = (uInt)len;
	g->z.next_out = dst;
	g->z.avail_out = (uInt)size;
	int rc = inflate(&g->z, Z_NO_FLUSH);
	if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
		return err_set(e, ERR_BAD_INPUT, "damaged gzip data: %s",
			       g->z.msg ? g->z.msg : zError(rc));
	*used = len - g->z.avail_in;
	*open = rc != Z_STREAM_END;
	g->started = *open;
	return (ssize_t)(size - g->z.avail_out);
}

void gunzip_free(struct gunzip *g)
{
	if (g)
		inflateEnd(&g->z);
	free(g);
}
#endif
