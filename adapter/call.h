/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CALL_H
#define CRISP_CALL_H
/* One RPC under way, as the service handlers see it: the seam between the transport (http2.c,
 * server.c: bytes, streams, deadlines, flow control) and the services (what a request means).
 *
 * A handler is called once with the decoded request, which is valid only until it returns. It
 * answers now or later, exactly once:
 *
 *	unary	call_reply() or call_fail()
 *	stream	call_send() any number of times, then call_end() or call_fail()
 *
 * After the answer, and after the cancel callback has run (client gone, stream reset, deadline
 * passed), the call must not be touched any more. Work that goes on after a cancellation keeps its
 * own data. */
#include "err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct call;
struct crispd;

struct call_method {
	const char *path; /* "/runtime.v1.RuntimeService/Version" */
	const ProtobufCMessageDescriptor *input;
	bool streaming;
	void (*handle)(struct call *c, const ProtobufCMessage *request);
};

/* All methods that are served (services.c); a NULL path ends it. Everything else is UNIMPLEMENTED.
 */
extern const struct call_method call_methods[];

struct crispd *call_daemon(const struct call *c);
/* The request's id: a decimal number, unique in the daemon's life; CRISP_REQ of every tool it
 * starts. */
const char *call_id(const struct call *c);
/* "RunPodSandbox" */
const char *call_rpc(const struct call *c);
/* Milliseconds until the client's deadline, -1 = none. */
long long call_time_left_ms(const struct call *c);

void call_reply(struct call *c, const ProtobufCMessage *msg);
/* False when the message cannot be taken any more (too large): the call has failed then and is
 * over. */
bool call_send(struct call *c, const ProtobufCMessage *msg);
/* For a stream that may have nothing to say for long: the client learns now that it is heard. */
void call_open(struct call *c);
/* For who has much to send: how many bytes the client has not fetched yet, and a callback, once,
 * when there are not more than `below`; it may answer. The callback is not remembered over an
 * answer. */
size_t call_queued(const struct call *c);
void call_on_room(struct call *c, size_t below, void (*cb)(void *arg), void *arg);
void call_end(struct call *c);
void call_fail(struct call *c, const struct err *e);

/* Called at most once, when the client gives up before the answer. The transport sends the status
 * itself. */
void call_on_cancel(struct call *c, void (*cb)(void *arg), void *arg);
#endif
