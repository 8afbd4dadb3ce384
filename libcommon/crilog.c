/* SPDX-License-Identifier: Apache-2.0 */
#include "crilog.h"

#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_SIZE = CRILOG_STAMP_SIZE + CRILOG_STREAM_MAX + 4, IOV_PER_LINE = 4 };

struct batch {
	char head[2][HEADER_SIZE]; /* 0: "… P ", 1: "… F " */
	size_t head_len;
	struct iovec iov[CRILOG_IOV];
	int count;
	const struct crilog_sink *sink;
};

void crilog_stamp(char out[CRILOG_STAMP_SIZE], const struct timespec *ts)
{
	struct tm tm;
	char nanos[12];
	gmtime_r(&ts->tv_sec, &tm);
	size_t n = strftime(out, CRILOG_STAMP_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	int k = snprintf(nanos, sizeof nanos, ".%09ldZ", ts->tv_nsec);
	if (n && k == 11)
		memcpy(out + n, nanos, (size_t)k + 1);
	else
		out[0] = '\0';
}

static void batch_init(struct batch *b, const struct crilog *c, const char *stamp,
		       const struct crilog_sink *sink)
{
	int n = snprintf(b->head[0], HEADER_SIZE, "%s %s P ", stamp, c->stream);
	b->head_len = (size_t)n < HEADER_SIZE ? (size_t)n : HEADER_SIZE - 1;
	memcpy(b->head[1], b->head[0], HEADER_SIZE);
	b->head[1][b->head_len - 2] = 'F';
	b->count = 0;
	b->sink = sink;
}

static void batch_flush(struct batch *b)
{
	if (b->count)
		b->sink->emit(b->sink->arg, b->iov, b->count);
	b->count = 0;
}

static void put(struct batch *b, const char *data, size_t len)
{
	if (len)
		b->iov[b->count++] = (struct iovec){.iov_base = (void *)data, .iov_len = len};
}

/* One line: what was held, then text, whose newline (if it brings one) saves an iovec. */
static void put_line(struct batch *b, struct crilog *c, int full, const char *text, size_t len,
		     int has_newline)
{
	if (b->count + IOV_PER_LINE > CRILOG_IOV)
		batch_flush(b);
	put(b, b->head[full], b->head_len);
	put(b, c->held, c->held_len);
	put(b, text, len + (size_t)has_newline);
	if (!has_newline)
		put(b, "\n", 1);
	c->held_len = 0;
}

void crilog_feed(struct crilog *c, const char *stamp, const char *data, size_t len,
		 const struct crilog_sink *sink)
{
	struct batch b = {.count = 0};
	const char *end = data + len;
	batch_init(&b, c, stamp, sink);
	while (data < end) {
		const char *nl = memchr(data, '\n', (size_t)(end - data));
		size_t left = (size_t)((nl ? nl : end) - data);
		while (c->held_len + left > c->max) {
			size_t n = c->max - c->held_len;
			put_line(&b, c, 0, data, n, 0);
			data += n;
			left -= n;
		}
		if (!nl) {
			/* The batch may refer to the bytes held so far. */
			batch_flush(&b);
			if (!c->held)
				c->held = xmalloc(c->max);
			memcpy(c->held + c->held_len, data, left);
			c->held_len += left;
			return;
		}
		put_line(&b, c, 1, data, left, 1);
		data = nl + 1;
	}
	batch_flush(&b);
}

void crilog_end(struct crilog *c, const char *stamp, const struct crilog_sink *sink)
{
	struct batch b = {.count = 0};
	if (!c->held_len)
		return;
	batch_init(&b, c, stamp, sink);
	put_line(&b, c, 1, NULL, 0, 0);
	batch_flush(&b);
}

void crilog_release(struct crilog *c)
{
	free(c->held);
	c->held = NULL;
	c->held_len = 0;
}
