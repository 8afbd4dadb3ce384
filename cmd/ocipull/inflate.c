/* SPDX-License-Identifier: Apache-2.0 */
#include "inflate.h"

#include "auto.h"
#include "gunzip.h"
#include "xalloc.h"

#include <string.h>
#include <zstd.h>

/* 128 MiB, what zstd itself allows by default: a layer cannot ask for more of our memory. */
enum { IN_SIZE = 256 << 10, OUT_SIZE = 512 << 10, WINDOW_LOG_MAX = 27 };

enum format { UNKNOWN, PLAIN, GZIP, ZSTD };

struct inflate {
	int fd;
	enum format format;
	bool eof, open; /* open: in the middle of a member or frame */
	size_t pos, len;
	unsigned long long total; /* read so far */
	struct gunzip *gz;
	ZSTD_DCtx *zstd;
	char in[IN_SIZE], out[OUT_SIZE];
};

struct inflate *inflate_new(int fd)
{
	struct inflate *in = xcalloc(1, sizeof *in);
	in->fd = fd;
	return in;
}

void inflate_free(struct inflate *in)
{
	if (!in)
		return;
	gunzip_free(in->gz);
	ZSTD_freeDCtx(in->zstd);
	free(in);
}

unsigned long long inflate_consumed(const struct inflate *in)
{
	return in->total - (in->len - in->pos);
}

/* More input behind what is there; sets eof. */
static int fill(struct inflate *in, struct err *e)
{
	if (in->pos == in->len)
		in->pos = in->len = 0;
	while (!in->eof && in->len < IN_SIZE) {
		ssize_t n = read(in->fd, in->in + in->len, IN_SIZE - in->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read layer");
		in->eof = n == 0;
		in->len += (size_t)n;
		in->total += (size_t)n;
		break;
	}
	return 0;
}

static int detect(struct inflate *in, struct err *e)
{
	while (in->len < 4 && !in->eof)
		if (fill(in, e) < 0)
			return -1;
	in->format = PLAIN;
	if (in->len >= 2 && memcmp(in->in, "\x1f\x8b", 2) == 0)
		in->format = GZIP;
	/* A frame, or one of the sixteen kinds that are to be skipped. */
	if (in->len >= 4 && (memcmp(in->in, "\x28\xb5\x2f\xfd", 4) == 0 ||
			     (((unsigned char)in->in[0] & 0xf0) == 0x50 &&
			      memcmp(in->in + 1, "\x2a\x4d\x18", 3) == 0)))
		in->format = ZSTD;
	if (in->format == GZIP)
		in->gz = gunzip_new();
	if (in->format == ZSTD) {
		in->zstd = ZSTD_createDCtx();
		if (!in->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax,
								     WINDOW_LOG_MAX)))
			return err_set(e, ERR_EXHAUSTED, "no memory for zstd");
	}
	return 0;
}

static ssize_t next_zstd(struct inflate *in, struct err *e)
{
	ZSTD_inBuffer src = {in->in, in->len, in->pos};
	ZSTD_outBuffer dst = {in->out, OUT_SIZE, 0};
	size_t left = ZSTD_decompressStream(in->zstd, &dst, &src);
	if (ZSTD_isError(left))
		return err_set(e, ERR_BAD_INPUT, "damaged zstd data: %s", ZSTD_getErrorName(left));
	in->pos = src.pos;
	in->open = left != 0;
	return (ssize_t)dst.pos;
}

static ssize_t next_gzip(struct inflate *in, struct err *e)
{
	size_t used = 0;
	ssize_t n = gunzip_next(in->gz, in->in + in->pos, in->len - in->pos, &used, in->out,
				OUT_SIZE, &in->open, e);
	in->pos += used;
	return n;
}

ssize_t inflate_next(struct inflate *in, const void **data, struct err *e)
{
	if (in->format == UNKNOWN && detect(in, e) < 0)
		return -1;
	for (;;) {
		if (in->pos == in->len && fill(in, e) < 0)
			return -1;
		bool had_input = in->pos < in->len;
		ssize_t n = 0;
		if (in->format == PLAIN) {
			*data = in->in + in->pos;
			n = (ssize_t)(in->len - in->pos);
			in->pos = in->len;
			return n;
		}
		if (had_input || in->open)
			n = in->format == ZSTD ? next_zstd(in, e) : next_gzip(in, e);
		*data = in->out;
		if (n != 0)
			return n;
		/* The decoder may hold finished output although the input has ended: only when it
		 * gives nothing more is the stream cut off. */
		if (in->eof && in->pos == in->len) {
			if (in->open)
				return err_set(e, ERR_BAD_INPUT, "compressed data ends too early");
			return 0;
		}
	}
}
