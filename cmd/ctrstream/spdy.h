/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_SPDY_H
#define CTRSTREAM_SPDY_H
/* SPDY/3.1 frames, seen from the server: bytes in, calls out; calls in, bytes out. No I/O and no
 * streams: who counts windows and knows which streams are open is link.c. Everything from outside
 * is bounded: a control frame, a header block before and after decompression, the number of
 * headers. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

enum {
	SPDY_WINDOW = 65536,         /* of a stream and of the connection, until changed */
	SPDY_CONTROL_MAX = 64 << 10, /* bytes of a control frame */
	SPDY_BLOCK_MAX = 64 << 10,   /* bytes of a header block, unpacked */
	SPDY_HEADERS_MAX = 64,
	SPDY_DATA_MAX = 64 << 10, /* bytes of a frame that we send */
};

enum spdy_status {
	SPDY_PROTOCOL_ERROR = 1,
	SPDY_REFUSED_STREAM = 3,
	SPDY_CANCEL = 5,
	SPDY_INTERNAL_ERROR = 6,
};

struct spdy_header {
	const char *name, *value; /* not terminated */
	size_t name_len, value_len;
};

/* The stream's number is never 0. A call may use every spdy_ function but spdy_feed. */
struct spdy_events {
	/* `no_reply`: the client will not listen on it. An answer by spdy_reply or spdy_reset is
	 * due. */
	void (*open)(void *arg, uint32_t id, const struct spdy_header *h, size_t n, bool no_reply);
	void (*data)(void *arg, uint32_t id, const uint8_t *p, size_t n);
	void (*end)(void *arg, uint32_t id); /* the client sends no more on it */
	void (*reset)(void *arg, uint32_t id);
	void (*window)(void *arg, uint32_t id, uint32_t delta); /* id 0: the connection */
	void (*settings)(void *arg, int64_t initial_window);    /* -1: not among them */
	void (*goaway)(void *arg);
};

struct spdy {
	const struct spdy_events *ev;
	void *arg;
	struct buf *out;
	z_stream unpack, pack;
	uint8_t head[8];
	size_t head_len;
	size_t left; /* of the frame's payload */
	struct buf control;
	char *block; /* SPDY_BLOCK_MAX */
	uint32_t last_id;
};

/* Frames to the client are appended to `out`, whose limit holds. */
void spdy_init(struct spdy *s, const struct spdy_events *ev, void *arg, struct buf *out);
void spdy_release(struct spdy *s);
/* -1 when the client breaks the protocol: the connection is of no use any more. */
int spdy_feed(struct spdy *s, const uint8_t *data, size_t len, struct err *e);

/* `http`: the stream was opened as an HTTP request (it has a :method), which kubectl's are not. */
int spdy_reply(struct spdy *s, uint32_t id, bool http, struct err *e);
/* At most SPDY_DATA_MAX bytes. */
int spdy_data(struct spdy *s, uint32_t id, const void *data, size_t len, bool end, struct err *e);
int spdy_reset(struct spdy *s, uint32_t id, enum spdy_status status, struct err *e);
int spdy_window(struct spdy *s, uint32_t id, uint32_t delta, struct err *e);
int spdy_goaway(struct spdy *s, struct err *e);
#endif
