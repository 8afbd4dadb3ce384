/* SPDX-License-Identifier: Apache-2.0 */
/* A client that says anything, against the server's side of a connection without a socket. The
 * input is a program: a byte says what is done next (a frame with fitting or unfitting contents,
 * raw bytes, an answer of a handler, an amount of output taken), the bytes after it say how.
 * Handlers answer at once, later, after the client has gone, or never, by the method that is
 * called. */
#include "adapter/arena.c"
#include "adapter/call.c"
#include "adapter/http2.c"
#include "adapter/recorder.c"
#include "adapter/stream.c"

#include "cri.pb-c.h"

/* Nobody counts here. */
void telemetry_call(struct telemetry *t, const char *rpc, int code, long long us)
{
	(void)t, (void)rpc, (void)code, (void)us;
}

enum { HELD_MAX = 64 };

static struct call *held[HELD_MAX];

static void forget(void *arg)
{
	*(struct call **)arg = NULL;
}

static void hold(struct call *c, bool cancellable)
{
	for (size_t i = 0; i < HELD_MAX; i++) {
		if (held[i])
			continue;
		held[i] = c;
		if (cancellable)
			call_on_cancel(c, forget, &held[i]);
		return;
	}
	call_fail(c, &(struct err){.kind = ERR_EXHAUSTED, .msg = "too \x80 many\n"});
}

static void answer_now(struct call *c, const ProtobufCMessage *request)
{
	(void)call_time_left_ms(c);
	call_reply(c, request);
}

static void answer_later(struct call *c, const ProtobufCMessage *request)
{
	(void)request;
	hold(c, true);
}

static void answer_later_whatever(struct call *c, const ProtobufCMessage *request)
{
	(void)request;
	hold(c, false);
}

static void stream_some(struct call *c, const ProtobufCMessage *request)
{
	for (int i = 0; i < 3; i++)
		if (!call_send(c, request))
			return;
	hold(c, true);
}

#define METHOD(name, streaming, handler) \
	{ \
		"/" name, &runtime__v1__list_pod_sandbox_request__descriptor, streaming, handler \
	}
const struct call_method call_methods[] = {
	METHOD("s/Now", false, answer_now),
	METHOD("s/Later", false, answer_later),
	METHOD("s/Orphan", false, answer_later_whatever),
	METHOD("s/Stream", true, stream_some),
	{NULL, NULL, false, NULL},
};

static void wake_nobody(void *conn)
{
	(void)conn;
}

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

struct frame {
	uint8_t bytes[2048];
	size_t len;
};

static void add(struct frame *f, const void *data, size_t len)
{
	if (len > sizeof f->bytes - f->len)
		len = sizeof f->bytes - f->len;
	memcpy(f->bytes + f->len, data, len);
	f->len += len;
}

static void add_some(struct frame *f, struct input *in)
{
	size_t n = next(in);
	for (; n && in->left; n--)
		add(f, &(uint8_t){next(in)}, 1);
}

/* HPACK: a literal field that is not indexed. */
static void add_field(struct frame *f, const char *name, const char *value)
{
	add(f, &(uint8_t){0}, 1);
	add(f, &(uint8_t){(uint8_t)strlen(name)}, 1);
	add(f, name, strlen(name));
	add(f, &(uint8_t){(uint8_t)strlen(value)}, 1);
	add(f, value, strlen(value));
}

static void add_request(struct frame *f, struct input *in)
{
	static const char *const paths[] = {"/s/Now", "/s/Later", "/s/Orphan", "/s/Stream",
					    "/s/Now", "/",        "*",         "/x%"};
	static const char *const types[] = {"application/grpc", "application/grpc+proto",
					    "application/grpc;x", "text/html"};
	static const char *const timeouts[] = {"1H", "0n", "99999999H", "x"};
	uint8_t how = next(in), more = next(in);
	add_field(f, ":method", how & 0x40 && how & 0x80 ? "GET" : "POST");
	add_field(f, ":scheme", "http");
	add_field(f, ":path", paths[how & 7]);
	add_field(f, ":authority", "x");
	add_field(f, "content-type", types[more & 8 ? more & 3 : 0]);
	add_field(f, "te", "trailers");
	if (more & 0x10)
		add_field(f, "grpc-timeout", timeouts[more >> 6]);
	if ((more & 0x2c) == 0x2c)
		add_field(f, "grpc-encoding", "gzip");
}

static void add_message(struct frame *f, struct input *in)
{
	uint8_t how = next(in);
	uint8_t prefix[5] = {how == 1, 0, 0, 0, how & 1 ? next(in) : 0};
	add(f, prefix, 5);
	add_some(f, in);
	if (how & 1)
		return;
	size_t n = f->len - 9 - 5;
	f->bytes[9 + 3] = (uint8_t)(n >> 8);
	f->bytes[9 + 4] = (uint8_t)n;
}

static bool send_frame(struct h2 *h, struct input *in)
{
	static const uint8_t zero[9];
	struct frame f = {.len = 0};
	struct err e;
	uint8_t type = next(in), flags = next(in), id = next(in);
	add(&f, zero, sizeof zero);
	if (type % 16 == 1 && type < 128)
		add_request(&f, in);
	else if (type % 16 == 0 && type < 128)
		add_message(&f, in);
	else
		add_some(&f, in);
	size_t n = f.len - 9;
	f.bytes[0] = 0;
	f.bytes[1] = (uint8_t)(n >> 8);
	f.bytes[2] = (uint8_t)n;
	f.bytes[3] = type % 16;
	f.bytes[4] = flags;
	f.bytes[8] = id;
	return h2_input(h, f.bytes, f.len, &e) == 0;
}

static void answer(struct input *in)
{
	Runtime__V1__ListPodSandboxRequest msg = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
	uint8_t how = next(in);
	struct call **slot = &held[how % HELD_MAX], *c = *slot;
	if (!c)
		return;
	if (how < 64) {
		*slot = NULL;
		call_reply(c, &msg.base);
	} else if (how < 128) {
		*slot = NULL;
		call_fail(c, &(struct err){.kind = (enum err_kind)(how % ERR_KIND_COUNT),
					   .msg = "why"});
	} else if (how < 192) {
		*slot = NULL;
		call_end(c);
	} else if (!call_send(c, &msg.base)) {
		*slot = NULL;
	}
}

/* False when the connection would be closed. */
static bool step(struct h2 *h, struct input *in)
{
	struct buf out = BUF_INIT(1 << 20);
	struct err e;
	bool go_on = true;
	uint8_t raw[256];
	size_t n = 0;
	switch (next(in) % 8) {
	case 0:
		for (n = next(in); n > in->left; n--)
			;
		memcpy(raw, in->at, n);
		in->at += n;
		in->left -= n;
		go_on = h2_input(h, raw, n, &e) == 0;
		break;
	case 1:
		answer(in);
		break;
	case 2:
		go_on = h2_output(h, &out, 1 + next(in), &e) == 0;
		break;
	case 3:
		if (next(in) == 0xff)
			h2_drain(h);
		else if (h->streams)
			stream_abort(h->streams, GRPC_DEADLINE_EXCEEDED, "late");
		break;
	default:
		go_on = send_frame(h, in);
	}
	buf_release(&out);
	return go_on && !h2_is_done(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
	static struct crispd daemon;
	struct input in = {data, size};
	struct err e;
	struct h2_host host = {.daemon = &daemon, .wake = wake_nobody};
	if (!daemon.loop) {
		daemon.loop = loop_new(&e);
		daemon.cfg.grpc_max_recv_msg_size = 1024;
		daemon.cfg.grpc_max_send_msg_size = 256;
		log_set_level("error");
	}
	struct h2 *h = h2_new(&host, NULL);
	bool go_on = h && (next(&in) == 0xff ||
			   h2_input(h, (const uint8_t *)preface, sizeof preface, &e) == 0);
	while (go_on && in.left)
		go_on = step(h, &in);
	h2_free(h);
	/* What was held without a cancel callback is answered when nobody is there any more. */
	for (size_t i = 0; i < HELD_MAX; i++) {
		struct call *c = held[i];
		held[i] = NULL;
		if (c)
			call_end(c);
	}
	if (host.in_bytes != 0)
		abort();
	return 0;
}
