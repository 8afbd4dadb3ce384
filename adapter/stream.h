/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STREAM_H
#define CRISP_STREAM_H
/* One gRPC exchange on one HTTP/2 stream: http2.c's other half, and nobody else's. The functions
 * are called from nghttp2's callbacks and only queue what is to be sent. */
#include "http2.h"

#include <nghttp2/nghttp2.h>

struct h2_stream {
	struct h2 *conn;
	int32_t id;
	struct h2_stream *prev, *next;

	/* the request */
	const struct call_method *method;
	char *path;         /* as asked for, when there is no such method */
	char *content_type; /* when it is not gRPC's */
	char *encoding;     /* grpc-encoding, unless "identity" */
	size_t header_bytes;
	long long deadline_ms; /* CLOCK_MONOTONIC, 0 = none */
	struct timer deadline; /* after the answer: for the client to end its side */
	bool bad_timeout, is_post, is_grpc;
	bool in_over;   /* the request was handed on or refused: what still comes is dropped */
	bool in_closed; /* the client has ended its side */
	struct grpc_deframer in;
	bool has_message; /* in.msg is complete */

	/* the answer */
	struct call *call; /* NULL = not begun or answered */
	struct h2_msg *head, **tail;
	size_t head_off; /* bytes of the head that are sent */
	size_t promised; /* bytes of the head that nghttp2 was told of and has not fetched */
	size_t queued;
	size_t room_below; /* tell the call when no more than this is queued */
	bool room_wanted;
	bool responded; /* the HEADERS are submitted */
	bool deferred;  /* nghttp2 waits to be told that there is data */
	bool finished;
	int code;
	char *text;
};

struct h2_stream *stream_new(struct h2 *h, int32_t id);
void stream_free(struct h2_stream *s); /* cancels its call */

/* One header of the request; false when there are too many. */
bool stream_header(struct h2_stream *s, const char *name, size_t name_len, const char *value,
		   size_t value_len);
void stream_headers_done(struct h2_stream *s);
void stream_data(struct h2_stream *s, const uint8_t *data, size_t len);
void stream_input_done(struct h2_stream *s);

/* The data provider: how much can be sent now, and its bytes. */
ssize_t stream_read(nghttp2_session *ng, int32_t id, uint8_t *unused, size_t max, uint32_t *flags,
		    nghttp2_data_source *src, void *h2);
int stream_take(struct h2_stream *s, struct buf *out, size_t len, struct err *e);

/* The end of the answer is sent. */
void stream_answered(struct h2_stream *s);

/* End a call that is not answered yet: cancel it and tell the client. */
void stream_abort(struct h2_stream *s, int code, const char *text);

/* Of the connection. */
nghttp2_session *h2_session(const struct h2 *h);
struct h2_host *h2_host_of(const struct h2 *h);
void h2_woken(struct h2 *h); /* output is waiting */
#endif
