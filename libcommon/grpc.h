/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_GRPC_H
#define CRISP_GRPC_H
/* The part of gRPC over HTTP/2 that moves no bytes, for client and server alike: message framing,
 * the timeout header, the status message header, status codes. The rules are those of the gRPC
 * project's protocol description ("gRPC over HTTP2"). */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

/* A status code's number and name are the protocol's. */
#define GRPC_CODES(X) \
	X(OK, 0) \
	X(CANCELLED, 1) \
	X(UNKNOWN, 2) \
	X(INVALID_ARGUMENT, 3) \
	X(DEADLINE_EXCEEDED, 4) \
	X(NOT_FOUND, 5) \
	X(ALREADY_EXISTS, 6) \
	X(PERMISSION_DENIED, 7) \
	X(RESOURCE_EXHAUSTED, 8) \
	X(FAILED_PRECONDITION, 9) \
	X(ABORTED, 10) \
	X(OUT_OF_RANGE, 11) \
	X(UNIMPLEMENTED, 12) \
	X(INTERNAL, 13) \
	X(UNAVAILABLE, 14) \
	X(DATA_LOSS, 15) \
	X(UNAUTHENTICATED, 16)

enum grpc_code {
#define X(name, number) GRPC_##name = (number),
	GRPC_CODES(X)
#undef X
};

/* "NOT_FOUND"; NULL for a number that is no code. */
const char *grpc_code_name(int code);
/* The code that a client reports when the answer has no grpc-status: from the HTTP status, or from
 * the error code of an RST_STREAM. */
enum grpc_code grpc_code_of_http(int status);
enum grpc_code grpc_code_of_reset(uint32_t error_code);
/* The kind of a failed call: the inverse of err_grpc_status, where UNKNOWN is told apart by the
 * token at the message's head (err.h). */
enum err_kind grpc_err_kind(int code, const char *message);

/* A message on the wire is one byte "compressed", four bytes of length (big endian), the message.
 */
enum { GRPC_PREFIX_LEN = 5 };
void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_LEN], size_t len);

/* Takes a body apart into messages. Memory grows with what has come, not with what a prefix
 * announces. */
struct grpc_deframer {
	struct buf msg; /* the message, once grpc_deframe has returned 1 */
	size_t want;    /* its length */
	size_t have;    /* bytes of its prefix */
	uint8_t prefix[GRPC_PREFIX_LEN];
	bool is_done; /* msg is complete and goes with the next call */
};

/* Messages of more than limit bytes are refused. */
void grpc_deframer_init(struct grpc_deframer *d, size_t limit);
/* Takes bytes from *data, advancing it, up to the end of a message. 1: d->msg is one (its data is
 * NULL if it is empty), valid until the next call; 0: all taken, no message is complete; -1:
 * ERR_EXHAUSTED, larger than the limit, or ERR_FAILED, compressed or not framed. */
int grpc_deframe(struct grpc_deframer *d, const uint8_t **data, size_t *len, struct err *e);
/* Whether a message has begun and not ended: the body must not end now. */
bool grpc_deframer_is_within(const struct grpc_deframer *d);
void grpc_deframer_release(struct grpc_deframer *d);

/* The grpc-timeout header: at most eight digits and a unit. Milliseconds, rounded up so that a call
 * never gets less time than was asked for. */
bool grpc_timeout_parse(const char *s, long long *ms);
enum { GRPC_TIMEOUT_SIZE = 10 };
void grpc_timeout_format(long long ms, char out[GRPC_TIMEOUT_SIZE]);

/* The grpc-message header: UTF-8, percent-encoded but for printable ASCII. What does not fit into
 * size bytes (terminator included) is left out, never half a character. */
void grpc_message_encode(const char *text, char *out, size_t size);
/* In place. As the protocol asks of a reader, what is not a valid escape stays as it is; NUL is
 * dropped. */
void grpc_message_decode(char *s);
#endif
