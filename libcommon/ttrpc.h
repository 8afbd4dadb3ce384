/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TTRPC_H
#define CRISP_TTRPC_H
/* ttrpc: the small RPC that containerd's shims (and NRI) speak over a Unix socket. A frame is ten
 * bytes of header (length of the data, stream, both big endian; type; flags) and the data; a request
 * and its response are protobuf messages (shim.proto). Facts from ttrpc's PROTOCOL.md. Only unary
 * calls: a stream is one request and one response, and a client's streams have odd numbers.
 *
 * Three layers: frames, which is pure; the server's side of one message; a client. What comes from
 * the other end is hostile: memory grows with what has come, never with what a header announces, and
 * 4 MiB is the most that the protocol allows. */
#include "buf.h"
#include "err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

enum { TTRPC_HEADER_LEN = 10, TTRPC_DATA_MAX = 4 << 20 };
enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

/* ---- frames */

void ttrpc_header_write(uint8_t h[TTRPC_HEADER_LEN], size_t len, uint32_t stream,
			enum ttrpc_type type);

struct ttrpc_deframer {
	struct buf data; /* the frame's, once ttrpc_deframe has returned 1 */
	uint32_t stream;
	uint8_t type, flags;
	size_t want, have; /* bytes of data announced; bytes of header read */
	uint8_t header[TTRPC_HEADER_LEN];
	bool is_done; /* the frame goes with the next call */
};
void ttrpc_deframer_init(struct ttrpc_deframer *d);
/* Takes bytes from *data, advancing it, up to the end of a frame. 1: it is in *d (data.data is NULL
 * if it is empty), valid until the next call; 0: all taken, no frame is complete; -1: ERR_EXHAUSTED,
 * larger than the protocol allows. */
int ttrpc_deframe(struct ttrpc_deframer *d, const uint8_t **data, size_t *len, struct err *e);
/* Whether a frame has begun and not ended. */
bool ttrpc_deframer_is_within(const struct ttrpc_deframer *d);
void ttrpc_deframer_release(struct ttrpc_deframer *d);

/* ---- messages */

/* A protobuf message, packed; NULL with *e when it would not fit into a frame. free() it. */
uint8_t *ttrpc_pack(const ProtobufCMessage *m, size_t *len, struct err *e);
/* A frame with a response, appended: an error (code as grpc.h has them, words) unless code is 0. */
int ttrpc_add_response(struct buf *out, uint32_t stream, int code, const char *words,
		       const ProtobufCMessage *m, struct err *e);

/* ---- client: one connection; calls one after another, or sent now and their answers taken later. */

struct ttrpc {
	int fd;            /* -1 = not connected; non-blocking: may be put into an event loop */
	uint32_t next;     /* stream */
	const char *peer;  /* for messages; borrowed */
	const char *space; /* containerd's namespace, which goes with each request; NULL = none */
	struct ttrpc_deframer in;
	uint8_t bytes[8192]; /* read and not yet taken apart */
	size_t at, end;
};
#define TTRPC_NONE ((struct ttrpc){.fd = -1})

/* "unix:///path" or, as old shims have it, the name of an abstract socket. ERR_UNAVAILABLE when
 * nobody listens there, ERR_UNSUPPORTED for other schemes. The server must be of our own user or
 * root's: ERR_DENIED. */
int ttrpc_dial(struct ttrpc *t, const char *address, const char *peer, struct err *e);
void ttrpc_close(struct ttrpc *t);
#define AUTO_TTRPC __attribute__((cleanup(ttrpc_close)))

/* Send a request; the number of its stream in *stream. The server is told the time that is left, too;
 * deadline_ms is of proc_now_ms, -1 = none. */
int ttrpc_send(struct ttrpc *t, const char *service, const char *method, const ProtobufCMessage *m,
	       long long deadline_ms, uint32_t *stream, struct err *e);
/* The answer to `stream`: 1, and *out is the message (protobuf_c_message_free_unpacked it); 0 when it
 * has not come by the deadline (0 = look and do not wait); -1: what the server says about the
 * failure, its code as kind, or ERR_UNAVAILABLE when the connection is gone, ERR_BAD_INPUT when what
 * comes makes no sense. Answers to other streams are passed over. */
int ttrpc_receive(struct ttrpc *t, uint32_t stream, const ProtobufCMessageDescriptor *type,
		  long long deadline_ms, ProtobufCMessage **out, struct err *e);
/* Both; no answer in time is ERR_TIMEOUT, and the connection is of no use any more. */
int ttrpc_call(struct ttrpc *t, const char *service, const char *method, const ProtobufCMessage *m,
	       const ProtobufCMessageDescriptor *type, long long deadline_ms,
	       ProtobufCMessage **out, struct err *e);
#endif
