/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_HTTP2_H
#define CRISP_HTTP2_H
/* One HTTP/2 connection that carries gRPC, without its socket: bytes in, bytes out. server.c moves
 * them; a fuzzer may as well. A request that has come completely goes to call.c, whose answers come
 * back here.
 *
 * Nothing here sends or closes at once: answers are queued, h2_host.wake says that there is
 * something to fetch, and h2_output fetches it. So a handler may answer from within h2_input. */
#include "buf.h"
#include "call.h"
#include "crispd.h"
#include "grpc.h"

#include <stdint.h>

struct h2;
struct h2_stream;

/* What all connections of a daemon share. */
struct h2_host {
	struct crispd *daemon;
	unsigned long long requests; /* the last request's number */
	size_t in_bytes; /* of requests that are still coming in, over all connections */
	void (*wake)(
		void *conn); /* output is waiting; not called from within h2_input, h2_output */
};

/* conn is handed to wake. NULL only when memory is out. */
struct h2 *h2_new(struct h2_host *host, void *conn);
/* Cancels what is under way. */
void h2_free(struct h2 *h);

/* Take bytes from the client. -1: what it sends is not HTTP/2, or it misbehaves; fetch the output
 * that tells it so, then close. */
int h2_input(struct h2 *h, const uint8_t *data, size_t len, struct err *e);
/* Append to out what is to be sent, until out holds at least `enough` bytes or there is no more. */
int h2_output(struct h2 *h, struct buf *out, size_t enough, struct err *e);
/* One of its functions is under way. */
bool h2_is_busy(const struct h2 *h);
/* The client has sent its preface and settings. */
bool h2_is_greeted(const struct h2 *h);
/* Neither side has anything to say any more (after an error or h2_drain): close once the output is
 * sent. */
bool h2_is_done(const struct h2 *h);
/* GOAWAY: calls under way go on, except streams, which end with UNAVAILABLE; new ones are refused.
 */
void h2_drain(struct h2 *h);
/* What is still unanswered fails with UNAVAILABLE. */
void h2_abort_calls(struct h2 *h);

/* A gRPC message with its prefix, being made or waiting to be sent. */
struct h2_msg {
	struct h2_msg *next;
	size_t len;     /* prefix included */
	uint8_t data[]; /* the prefix, then the message at GRPC_PREFIX_LEN */
};
enum {
	H2_QUEUE_MAX = 64 << 20, /* bytes of messages waiting on one stream */
	H2_INPUT_MAX = 64 << 20, /* bytes of requests coming in, over all connections; one more is
				    always let in */
};

/* The prefix is written; the caller fills len bytes at data + GRPC_PREFIX_LEN. */
struct h2_msg *h2_msg_new(size_t len);

/* For call.c. h2_send takes the message over; false when the client reads too slowly to have more
 * than H2_QUEUE_MAX waiting, and the message is dropped. After h2_finish (gRPC code, text) nothing
 * can be sent; messages not begun are dropped when the code is not 0. Either may be called at any
 * time, from within our callbacks too. */
bool h2_send(struct h2_stream *s, struct h2_msg *m);
void h2_finish(struct h2_stream *s, int code, const char *text);
long long h2_time_left_ms(const struct h2_stream *s); /* -1 = no deadline */
struct h2_host *h2_stream_host(const struct h2_stream *s);
/* Bytes of messages that wait to be sent; and have the call told (call_room), once, when there are
 * not more than `below`. */
size_t h2_queued(const struct h2_stream *s);
void h2_tell_room(struct h2_stream *s, size_t below);
/* Send the headers of the answer although there is no message yet. */
void h2_open(struct h2_stream *s);

/* Of call.c, for us. A request is complete: decodes it and runs the handler. *slot is where the
 * stream knows its call by: set while there is one that is not answered. */
void call_begin(struct h2_stream *s, struct call **slot, const struct call_method *method,
		const uint8_t *data, size_t len);
/* The client is gone, or is told `code` by us: the call leaves the stream, and its owner is told.
 */
void call_gone(struct call *c, int code);
void call_room(struct call *c);
#endif
