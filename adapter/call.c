/* SPDX-License-Identifier: Apache-2.0 */
#include "call.h"

#include "arena.h"
#include "http2.h"
#include "log.h"
#include "recorder.h"
#include "telemetry.h"
#include "utf8.h"
#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A decoded request: small parts can make a message of 16 MiB several times larger in memory. */
enum { REQUEST_MEM_MAX = 64 << 20 };

struct call {
	struct h2_stream *stream; /* NULL: the client is gone */
	struct call **slot;       /* where the stream knows us by */
	struct crispd *daemon;
	const struct call_method *method;
	long long begin_us;
	void (*cancel)(void *arg);
	void *cancel_arg;
	void (*room)(void *arg);
	void *room_arg;
	char id[24];
};

struct crispd *call_daemon(const struct call *c)
{
	return c->daemon;
}

const char *call_id(const struct call *c)
{
	return c->id;
}

static const char *rpc_of(const struct call_method *m)
{
	return strrchr(m->path, '/') + 1;
}

const char *call_rpc(const struct call *c)
{
	return rpc_of(c->method);
}

long long call_time_left_ms(const struct call *c)
{
	return c->stream ? h2_time_left_ms(c->stream) : 0;
}

void call_on_cancel(struct call *c, void (*cb)(void *arg), void *arg)
{
	c->cancel = cb;
	c->cancel_arg = arg;
}

size_t call_queued(const struct call *c)
{
	return c->stream ? h2_queued(c->stream) : 0;
}

void call_open(struct call *c)
{
	if (c->stream)
		h2_open(c->stream);
}

void call_on_room(struct call *c, size_t below, void (*cb)(void *arg), void *arg)
{
	c->room = cb;
	c->room_arg = arg;
	if (c->stream)
		h2_tell_room(c->stream, below);
}

void call_room(struct call *c)
{
	c->room(c->room_arg);
}

static long long now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Calls that change nothing, and ExecSync, which probes make all the time, are only of interest to
 * who debugs. */
static bool is_quiet(const char *rpc)
{
	static const char *const starts[] = {"List", "Stream", "Get", "Exec", "RuntimeConfig"};
	static const char *const ends[] = {"Status", "Stats", "Info", "Version"};
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (strncmp(rpc, starts[i], strlen(starts[i])) == 0)
			return true;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (ends_with(rpc, ends[i]))
			return true;
	return false;
}

static void log_end(const struct call *c, int code, const char *text,
		    const ProtobufCMessage *answer)
{
	long long us = now_us() - c->begin_us;
	telemetry_call(c->daemon->telemetry, call_rpc(c), code, us);
	recorder_end(c->daemon->recorder, c->id, call_rpc(c), code, text, answer, us);
	log_msg(is_quiet(call_rpc(c)) ? LOG_LVL_DEBUG : LOG_LVL_INFO,
		"req %s: %s: code %d, %lld.%03lld ms%s%s", c->id, call_rpc(c), code, us / 1000,
		us % 1000, text ? ": " : "", text ? text : "");
}

/* The call is answered: off its stream, which may get the end of the answer still. */
static void call_free(struct call *c)
{
	if (c->stream)
		*c->slot = NULL;
	free(c);
}

static void finish_with(struct call *c, int code, const char *text, const ProtobufCMessage *answer)
{
	log_end(c, code, text, answer);
	if (c->stream)
		h2_finish(c->stream, code, text);
	call_free(c);
}

static void finish(struct call *c, int code, const char *text)
{
	finish_with(c, code, text, NULL);
}

void call_gone(struct call *c, int code)
{
	void (*cancel)(void *) = c->cancel;
	void *arg = c->cancel_arg;
	log_msg(LOG_LVL_DEBUG, "req %s: %s: given up by the client or the clock (code %d)", c->id,
		call_rpc(c), code);
	*c->slot = NULL;
	c->stream = NULL;
	/* Without a callback its owner will answer some time: it is freed then. */
	if (!cancel)
		return;
	log_end(c, code, NULL, NULL);
	free(c);
	cancel(arg);
}

/* Packs and queues; false when the call has failed, and is over, instead. */
static bool send_message(struct call *c, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg),
	       max = (size_t)c->daemon->cfg.grpc_max_send_msg_size;
	char text[160];
	if (!c->stream) {
		finish(c, GRPC_CANCELLED, NULL);
		return false;
	}
	if (len > max) {
		snprintf(text, sizeof text, "%s: the answer of %zu bytes is larger than %zu",
			 call_rpc(c), len, max);
		finish(c, GRPC_RESOURCE_EXHAUSTED, text);
		return false;
	}
	struct h2_msg *m = h2_msg_new(len);
	protobuf_c_message_pack(msg, m->data + GRPC_PREFIX_LEN);
	if (h2_send(c->stream, m))
		return true;
	snprintf(text, sizeof text, "%s: the client reads too slowly", call_rpc(c));
	finish(c, GRPC_RESOURCE_EXHAUSTED, text);
	return false;
}

void call_reply(struct call *c, const ProtobufCMessage *msg)
{
	if (send_message(c, msg))
		finish_with(c, 0, NULL, msg);
}

bool call_send(struct call *c, const ProtobufCMessage *msg)
{
	if (!send_message(c, msg))
		return false;
	recorder_message(c->daemon->recorder, c->id, call_rpc(c), msg);
	return true;
}

void call_end(struct call *c)
{
	finish(c, 0, NULL);
}

void call_fail(struct call *c, const struct err *e)
{
	char text[sizeof e->msg + 64];
	err_grpc_message(e, text, sizeof text);
	finish(c, err_grpc_status(e), text);
}

struct request_mem {
	struct arena arena;
	size_t used;
	bool full;
};

static void *mem_alloc(void *arg, size_t n)
{
	struct request_mem *m = arg;
	size_t cost = (n < 16 ? 16 : n) + 16; /* with what alignment takes */
	if (cost > REQUEST_MEM_MAX - m->used) {
		m->full = true;
		return NULL;
	}
	m->used += cost;
	return arena_alloc(&m->arena, n);
}

static void mem_free(void *arg, void *p)
{
	(void)arg, (void)p;
}

static const char *bad_text(const ProtobufCMessage *msg);

/* One value of a field; NULL or the name of the field below it that is not UTF-8. */
static const char *bad_value(const ProtobufCFieldDescriptor *f, const void *value)
{
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		const char *s = *(char *const *)value;
		return s && !utf8_valid(s, strlen(s)) ? f->name : NULL;
	}
	const ProtobufCMessage *sub = *(const ProtobufCMessage *const *)value;
	return sub ? bad_text(sub) : NULL;
}

/* proto3 strings are UTF-8, and what is taken here goes back out in lists: a client whose library
 * checks would lose the whole list for one bad label. protobuf-c does not look. */
static const char *bad_text(const ProtobufCMessage *msg)
{
	for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		const void *at = (const char *)msg + f->offset;
		const char *bad = NULL;
		const void *quantifier = (const char *)msg + f->quantifier_offset;
		size_t n = 1;
		if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    *(const unsigned *)quantifier != f->id)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			n = *(const size_t *)quantifier;
			at = *(void *const *)at;
		}
		for (size_t k = 0; k < n && !bad; k++)
			bad = bad_value(f, (const char *)at + k * sizeof(void *));
		if (bad)
			return bad;
	}
	return NULL;
}

static ProtobufCMessage *decode(struct request_mem *m, const struct call_method *method,
				const uint8_t *data, size_t len, int *code, char *text, size_t size)
{
	ProtobufCAllocator allocator = {.alloc = mem_alloc, .free = mem_free, .allocator_data = m};
	ProtobufCMessage *msg = protobuf_c_message_unpack(method->input, &allocator, len, data);
	const char *bad = msg ? bad_text(msg) : NULL;
	if (msg && !bad)
		return msg;
	*code = m->full ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT;
	if (bad)
		snprintf(text, size, "%s: %s: a string that is not UTF-8", rpc_of(method), bad);
	else
		snprintf(text, size, "%s: the request %s", rpc_of(method),
			 m->full ? "is too large" : "cannot be decoded");
	return NULL;
}

void call_begin(struct h2_stream *s, struct call **slot, const struct call_method *method,
		const uint8_t *data, size_t len)
{
	struct h2_host *host = h2_stream_host(s);
	struct request_mem mem = {.used = 0};
	char text[256];
	int code;
	ProtobufCMessage *msg = decode(&mem, method, data, len, &code, text, sizeof text);
	if (msg) {
		struct call *c = xcalloc(1, sizeof *c);
		c->stream = s;
		c->slot = slot;
		c->daemon = host->daemon;
		c->method = method;
		c->begin_us = now_us();
		snprintf(c->id, sizeof c->id, "%llu", ++host->requests);
		*slot = c;
		recorder_request(c->daemon->recorder, c->id, rpc_of(method), msg);
		method->handle(c, msg);
	} else {
		log_debug("%s", text);
		h2_finish(s, code, text);
	}
	arena_release(&mem.arena);
}
