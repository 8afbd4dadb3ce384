/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe.h"

#include "auto.h"
#include "fs.h"
#include "xalloc.h"

#include <limits.h>
#include <string.h>
#include <zstd.h>

/* Raw bytes are gathered, as headers come 512 at a time. */
enum { RAW_SIZE = 64 << 10, OUT_SIZE = 128 << 10, LEVEL = 1 };

struct recipe_writer {
	int fd;
	ZSTD_CCtx *zstd;
	size_t raw_len, out_len;
	char raw[RAW_SIZE], out[OUT_SIZE];
};

struct recipe_writer *recipe_writer_new(int fd)
{
	struct recipe_writer *w = xcalloc(1, sizeof *w);
	w->fd = fd;
	w->zstd = ZSTD_createCCtx();
	if (!w->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1)))
		abort();
	return w;
}

void recipe_writer_free(struct recipe_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	free(w);
}

static int compress(struct recipe_writer *w, const void *data, size_t len, ZSTD_EndDirective how,
		    struct err *e)
{
	ZSTD_inBuffer in = {data, len, 0};
	for (;;) {
		ZSTD_outBuffer out = {w->out, OUT_SIZE, w->out_len};
		size_t left = ZSTD_compressStream2(w->zstd, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(e, ERR_FAILED, "recipe: %s", ZSTD_getErrorName(left));
		w->out_len = out.pos;
		bool done = how == ZSTD_e_end ? left == 0 : in.pos == in.size;
		if (w->out_len == OUT_SIZE || (done && how == ZSTD_e_end)) {
			if (fs_write_all(w->fd, w->out, w->out_len, e) < 0)
				return err_wrap(e, "recipe");
			w->out_len = 0;
		}
		if (done)
			return 0;
	}
}

static size_t put_number(unsigned char *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (unsigned char)(value >> (8 * i));
	return bytes;
}

static int record(struct recipe_writer *w, const void *head, size_t head_len, const void *body,
		  size_t len, struct err *e)
{
	if (compress(w, head, head_len, ZSTD_e_continue, e) < 0)
		return -1;
	return len > 0 ? compress(w, body, len, ZSTD_e_continue, e) : 0;
}

static int write_raw(struct recipe_writer *w, const void *data, size_t len, struct err *e)
{
	unsigned char head[5] = {'R'};
	put_number(head + 1, len, 4);
	return record(w, head, sizeof head, data, len, e);
}

static int flush_raw(struct recipe_writer *w, struct err *e)
{
	size_t len = w->raw_len;
	w->raw_len = 0;
	return len > 0 ? write_raw(w, w->raw, len, e) : 0;
}

int recipe_raw(struct recipe_writer *w, const void *data, size_t len, struct err *e)
{
	const char *p = data;
	if (len > RAW_SIZE - w->raw_len && flush_raw(w, e) < 0)
		return -1;
	for (; len > RAW_SIZE; len -= RAW_SIZE, p += RAW_SIZE)
		if (write_raw(w, p, RAW_SIZE, e) < 0)
			return -1;
	memcpy(w->raw + w->raw_len, p, len);
	w->raw_len += len;
	return 0;
}

int recipe_file(struct recipe_writer *w, const char *path, uint64_t size, uint32_t crc,
		struct err *e)
{
	unsigned char head[15] = {'F'};
	size_t len = strlen(path), n = 1;
	n += put_number(head + n, size, 8);
	n += put_number(head + n, crc, 4);
	n += put_number(head + n, len, 2);
	if (len >= PATH_MAX)
		return err_set(e, ERR_FAILED, "recipe: path too long");
	return flush_raw(w, e) < 0 ? -1 : record(w, head, n, path, len, e);
}

int recipe_kept(struct recipe_writer *w, uint32_t n, const void *data, size_t len, struct err *e)
{
	unsigned char head[9] = {'K'};
	put_number(head + 1, n, 4);
	put_number(head + 5, len, 4);
	if (len > RECIPE_PIECE_MAX)
		return err_set(e, ERR_FAILED, "recipe: piece too long");
	return flush_raw(w, e) < 0 ? -1 : record(w, head, sizeof head, data, len, e);
}

int recipe_finish(struct recipe_writer *w, uint64_t size, const unsigned char sha256[32],
		  struct err *e)
{
	unsigned char end[41] = {'E'};
	put_number(end + 1, size, 8);
	memcpy(end + 9, sha256, 32);
	return flush_raw(w, e) < 0 ? -1 : compress(w, end, sizeof end, ZSTD_e_end, e);
}
