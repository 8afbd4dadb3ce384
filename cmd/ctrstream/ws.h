/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_WS_H
#define CTRSTREAM_WS_H
/* WebSocket frames, seen from the server (libwslay does the framing): bytes in, calls out; calls
 * in, bytes out. No I/O. Messages are handed on as their bytes come, so they may be of any length;
 * pings and the closing are answered here. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wslay_event_context;

struct ws_events {
	void (*begin)(void *arg, bool text);
	void (*chunk)(void *arg, const uint8_t *p, size_t n);
	void (*end)(void *arg);
};

struct ws {
	struct wslay_event_context *ctx;
	const struct ws_events *ev;
	void *arg;
	struct buf *out;
	const uint8_t *in; /* what ws_feed was given */
	size_t in_len;
	bool control; /* the frame under way is none of a message */
	bool fin;
	bool closed; /* the client has closed the connection */
};

/* Frames to the client are appended to `out`, whose limit holds. */
void ws_init(struct ws *w, const struct ws_events *ev, void *arg, struct buf *out);
void ws_release(struct ws *w);
/* -1 when the client breaks the protocol; see also closed. */
int ws_feed(struct ws *w, const uint8_t *data, size_t len, struct err *e);
/* One message. */
int ws_send(struct ws *w, bool text, const void *data, size_t len, struct err *e);
/* Nothing can be sent afterwards. */
int ws_close(struct ws *w, struct err *e);
#endif
