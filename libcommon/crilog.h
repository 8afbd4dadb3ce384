/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CRILOG_H
#define CRISP_CRILOG_H
/* A container's output as lines of the CRI log format:
 *
 *	2026-08-22T10:00:00.123456789Z stdout F text
 *
 * Pure: bytes in, iovecs out; no descriptor, no clock. A line longer than `max` bytes is cut into
 * pieces of `max` tagged P, the last one F; what is not ended by a newline is held back until the
 * newline, the limit or the end of the stream comes (then it is F as well).
 *
 * The iovecs given to emit point into the data, the held bytes and the header, and are valid during
 * the call only. Each line ends with the last byte of an iovec, and no iovec has a newline
 * elsewhere. */
#include <stddef.h>
#include <sys/uio.h>
#include <time.h>

enum { CRILOG_STAMP_SIZE = 31, CRILOG_STREAM_MAX = 8, CRILOG_IOV = 1024 };

struct crilog {
	const char *stream; /* "stdout", "stderr"; at most CRILOG_STREAM_MAX - 1 bytes */
	size_t max;
	char *held; /* `max` bytes, allocated when first needed */
	size_t held_len;
};
#define CRILOG_INIT(name, limit) ((struct crilog){.stream = (name), .max = (limit)})

struct crilog_sink {
	void (*emit)(void *arg, const struct iovec *iov, int count);
	void *arg;
};

/* "2026-08-22T10:00:00.123456789Z", UTC. */
void crilog_stamp(char out[CRILOG_STAMP_SIZE], const struct timespec *ts);

void crilog_feed(struct crilog *c, const char *stamp, const char *data, size_t len,
		 const struct crilog_sink *sink);
/* The stream has ended: what is held goes out as a full line. */
void crilog_end(struct crilog *c, const char *stamp, const struct crilog_sink *sink);
void crilog_release(struct crilog *c);
#endif
