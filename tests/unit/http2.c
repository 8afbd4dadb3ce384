/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of a connection against an nghttp2 client in the same process, without sockets:
 * what needs slow handlers, streams, closed windows or unlucky moments, none of which the real
 * services offer to a test. */
#include "adapter/http2.c"
#include "adapter/arena.c"
#include "adapter/call.c"
#include "adapter/recorder.c"
#include "adapter/stream.c"

#include "cri.pb-c.h"
#include "tap.h"

/* Nobody counts here. */
void telemetry_call(struct telemetry *t, const char *rpc, int code, long long us)
{
	(void)t, (void)rpc, (void)code, (void)us;
}

enum { STREAMS = 64, BIG = 15 << 20, PIECE = 1 << 20 };

/* ---- handlers ---- */

static struct call *held, *other;
static int cancelled;
static size_t reply_size;

static void send_sized(struct call *c, size_t size,
		       void (*how)(struct call *, const ProtobufCMessage *))
{
	Runtime__V1__VersionRequest m = RUNTIME__V1__VERSION_REQUEST__INIT;
	m.version = xcalloc(1, size + 1);
	memset(m.version, 'x', size);
	how(c, &m.base);
	free(m.version);
}

static void on_cancel(void *arg)
{
	(void)arg;
	cancelled++;
	held = NULL;
	/* Whoever is told of the end of one call may answer another. */
	if (other)
		send_sized(TAKE(other), 3, call_reply);
}

static void echo(struct call *c, const ProtobufCMessage *request)
{
	call_reply(c, request);
}

static void reply_sized(struct call *c, const ProtobufCMessage *request)
{
	(void)request;
	send_sized(c, reply_size, call_reply);
}

static void hold(struct call *c, const ProtobufCMessage *request)
{
	(void)request;
	held = c;
	call_on_cancel(c, on_cancel, NULL);
}

static void hold_blindly(struct call *c, const ProtobufCMessage *request)
{
	(void)request;
	other = c;
}

#define METHOD(name, input, streaming, handler) \
	{ \
		"/s/" name, &runtime__v1__##input##__descriptor, streaming, handler \
	}
const struct call_method call_methods[] = {
	METHOD("Echo", version_request, false, echo),
	METHOD("Sized", version_request, false, reply_sized),
	METHOD("Hold", version_request, false, hold),
	METHOD("Blind", version_request, false, hold_blindly),
	METHOD("Stream", version_request, true, hold),
	METHOD("Parts", pod_sandbox_config, false, echo),
	{NULL, NULL, false, NULL},
};

/* ---- the client ---- */

struct answer {
	int grpc_status; /* -1 = none yet */
	char message[256];
	size_t bytes, frames;
	bool closed;
	uint32_t code;
};

struct client {
	nghttp2_session *ng;
	struct h2 *h;
	struct answer answers[STREAMS];
	const uint8_t *body;
	size_t body_len;
	bool goaway;
};

static struct crispd daemon_;
static struct h2_host host;
static int woken;

static void wake(void *conn)
{
	(void)conn;
	woken++;
}

static int client_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
			 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
			 void *arg)
{
	struct answer *a = &((struct client *)arg)->answers[f->hd.stream_id % STREAMS];
	(void)ng, (void)flags;
	if (is("grpc-status", (const char *)name, name_len)) {
		AUTO_FREE char *v = xstrndup((const char *)value, value_len);
		a->grpc_status = (int)strtol(v, NULL, 10);
	}
	if (is("grpc-message", (const char *)name, name_len))
		snprintf(a->message, sizeof a->message, "%.*s", (int)value_len,
			 (const char *)value);
	return 0;
}

static int client_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
		       size_t len, void *arg)
{
	struct answer *a = &((struct client *)arg)->answers[id % STREAMS];
	(void)ng, (void)flags, (void)data;
	a->bytes += len;
	a->frames++;
	return 0;
}

static int client_closed(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct answer *a = &((struct client *)arg)->answers[id % STREAMS];
	(void)ng;
	a->closed = true;
	a->code = code;
	return 0;
}

static int client_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	(void)ng;
	if (f->hd.type == NGHTTP2_GOAWAY)
		((struct client *)arg)->goaway = true;
	return 0;
}

static struct client *client_new(bool windows)
{
	struct client *c = xcalloc(1, sizeof *c);
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_option_new(&opt);
	nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_closed);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, client_frame);
	nghttp2_option_set_no_auto_window_update(opt, !windows);
	nghttp2_session_client_new2(&c->ng, cb, c, opt);
	nghttp2_submit_settings(c->ng, 0, NULL, 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	for (size_t i = 0; i < STREAMS; i++)
		c->answers[i].grpc_status = -1;
	c->h = h2_new(&host, c);
	return c;
}

/* Bytes back and forth until neither side has any. */
static void pump(struct client *c)
{
	struct buf out = BUF_INIT(1 << 20);
	struct err e;
	for (bool moved = true; moved;) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(c->ng, &p);
		moved = n > 0;
		if (n > 0 && h2_input(c->h, p, (size_t)n, &e) < 0)
			break;
		if (h2_output(c->h, &out, 4096, &e) < 0)
			break;
		if (out.len) {
			moved = true;
			nghttp2_session_mem_recv(c->ng, (const uint8_t *)out.data, out.len);
			buf_clear(&out);
		}
	}
	buf_release(&out);
}

static void client_free(struct client *c)
{
	h2_free(c->h);
	nghttp2_session_del(c->ng);
	free(c);
}

static ssize_t body_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
			 nghttp2_data_source *src, void *arg)
{
	struct client *c = arg;
	size_t n = c->body_len < max ? c->body_len : max;
	(void)ng, (void)id, (void)src;
	if (n)
		memcpy(buf, c->body, n);
	c->body += n;
	c->body_len -= n;
	if (!c->body_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* One at a time: the body is the client's until it is sent. */
static int32_t ask_with(struct client *c, const char *path, const char *timeout, const void *msg,
			size_t len)
{
	nghttp2_nv h[] = {
		nv(":method", "POST"),
		nv(":scheme", "http"),
		nv(":path", path),
		nv(":authority", "x"),
		nv("content-type", "application/grpc"),
		nv("te", "trailers"),
		nv("grpc-timeout", timeout ? timeout : ""),
	};
	AUTO_FREE uint8_t *body = xmalloc(GRPC_PREFIX_LEN + len);
	nghttp2_data_provider provider = {.read_callback = body_read};
	grpc_prefix_write(body, len);
	if (len)
		memcpy(body + GRPC_PREFIX_LEN, msg, len);
	c->body = body;
	c->body_len = GRPC_PREFIX_LEN + len;
	int32_t id =
		nghttp2_submit_request(c->ng, NULL, h, ARRAY_LEN(h) - !timeout, &provider, NULL);
	pump(c);
	return id;
}

static struct answer *ask(struct client *c, const char *path)
{
	return &c->answers[ask_with(c, path, NULL, NULL, 0) % STREAMS];
}

static bool got(const struct answer *a, int status, size_t bytes)
{
	if (a->closed && a->grpc_status == status && a->bytes == bytes)
		return true;
	printf("# closed %d, grpc-status %d (%s), %zu bytes\n", a->closed, a->grpc_status,
	       a->message, a->bytes);
	return false;
}

/* ---- the tests ---- */

static void test_unary(void)
{
	struct client *c = client_new(true);
	int32_t id = ask_with(c, "/s/Echo", NULL,
			      "\x0a\x03"
			      "abc",
			      5);
	ok(got(&c->answers[id], 0, 10), "a request is answered");
	reply_size = 0;
	ok(got(ask(c, "/s/Sized"), 0, 5), "an empty message is an answer");
	reply_size = BIG;
	struct answer *a = ask(c, "/s/Sized");
	ok(got(a, 0, 5 + 5 + BIG) && a->frames > 100, "15 MiB in slices");
	reply_size = 17 << 20;
	a = ask(c, "/s/Sized");
	ok(got(a, GRPC_RESOURCE_EXHAUSTED, 0), "an answer that is too large");
	ok(strstr(a->message, "Sized: the answer of") != NULL, "says so");
	id = ask_with(c, "/s/Echo", NULL, "\x0a", 1);
	ok(got(&c->answers[id], GRPC_INVALID_ARGUMENT, 0), "a request that does not decode");
	client_free(c);
}

static void test_memory(void)
{
	struct client *c = client_new(true);
	size_t n = 4 << 20;
	AUTO_FREE uint8_t *parts = xmalloc(n);
	/* PodSandboxConfig.port_mappings, each empty: two bytes that become a structure. */
	for (size_t i = 0; i < n; i += 2) {
		parts[i] = 5 << 3 | 2;
		parts[i + 1] = 0;
	}
	int32_t id = ask_with(c, "/s/Parts", NULL, parts, 1000);
	ok(got(&c->answers[id], 0, 1005), "some parts");
	id = ask_with(c, "/s/Parts", NULL, parts, n);
	ok(got(&c->answers[id], GRPC_RESOURCE_EXHAUSTED, 0),
	   "a request that grows when it is decoded");
	ok(host.in_bytes == 0, "nothing of requests is kept");
	client_free(c);
}

static void stop_loop(struct timer *t)
{
	loop_stop(t->arg);
}

static void run_loop(long long ms)
{
	struct timer stop = {0};
	struct err e;
	loop_timer(daemon_.loop, &stop, ms, stop_loop, daemon_.loop);
	loop_run(daemon_.loop, &e);
}

static void test_deadline(void)
{
	struct client *c = client_new(true);
	cancelled = 0;
	struct answer *a = &c->answers[ask_with(c, "/s/Hold", "30m", NULL, 0)];
	ok(held && !a->closed, "the handler has not answered");
	long long left = call_time_left_ms(held);
	ok(left >= 0 && left <= 30, "it sees the time that is left");
	woken = 0;
	run_loop(60);
	ok(woken == 1 && cancelled == 1 && !held,
	   "the deadline passes: the handler is told, output waits");
	pump(c);
	ok(got(a, GRPC_DEADLINE_EXCEEDED, 0), "the client gets DEADLINE_EXCEEDED");
	a = &c->answers[ask_with(c, "/s/Echo", "1H", NULL, 0)];
	ok(got(a, 0, 5), "an answer in time");
	a = &c->answers[ask_with(c, "/s/Echo", "1x", NULL, 0)];
	ok(got(a, GRPC_INTERNAL, 0), "a timeout that is none");
	client_free(c);
}

static void test_cancel(void)
{
	struct client *c = client_new(true);
	cancelled = 0;
	struct answer *first = ask(c, "/s/Blind");
	int32_t id = ask_with(c, "/s/Hold", NULL, NULL, 0);
	ok(held && other, "two calls are under way");
	ok(call_time_left_ms(held) == -1, "without a deadline");
	nghttp2_submit_rst_stream(c->ng, 0, id, NGHTTP2_CANCEL);
	pump(c);
	ok(cancelled == 1, "a reset stream is a cancelled call");
	ok(got(first, 0, 5 + 5), "whose owner could answer another call at that moment");
	id = ask_with(c, "/s/Blind", NULL, NULL, 0);
	nghttp2_submit_rst_stream(c->ng, 0, id, NGHTTP2_CANCEL);
	pump(c);
	send_sized(TAKE(other), 10, call_reply);
	ok(true, "an answer for a client that is gone is dropped");
	ask(c, "/s/Blind");
	ask(c, "/s/Hold");
	client_free(c);
	ok(cancelled == 2 && !held, "the end of the connection cancels");
	ok(!other, "and its calls may still be answered by those that are told");
}

static bool accepted;

static void try_send(struct call *c, const ProtobufCMessage *m)
{
	accepted = call_send(c, m);
}

static void test_stream(void)
{
	struct client *c = client_new(true);
	cancelled = 0;
	struct answer *a = ask(c, "/s/Stream");
	ok(a->grpc_status == -1 && a->bytes == 0, "a stream that has nothing to say yet");
	for (int i = 0; i < 3; i++) {
		woken = 0;
		send_sized(held, 10, try_send);
		ok(accepted && woken, "message %d is taken", i);
		pump(c);
		ok(a->bytes == (size_t)(i + 1) * 17 && !a->closed, "and arrives");
	}
	call_end(TAKE(held));
	pump(c);
	ok(got(a, 0, 51), "the stream ends well");
	a = ask(c, "/s/Stream");
	send_sized(held, 10, try_send);
	call_fail(TAKE(held), &(struct err){.kind = ERR_RRO, .msg = "50% of \xc3\xa4\n"});
	pump(c);
	ok(a->closed && a->grpc_status == GRPC_UNKNOWN, "a stream that fails");
	ok(strcmp(a->message, "RROUnsupported: 50%25 of %C3%A4%0A") == 0, "its text is escaped: %s",
	   a->message);
	a = ask(c, "/s/Stream");
	call_end(TAKE(held));
	pump(c);
	ok(got(a, 0, 0), "a stream without messages");
	ok(cancelled == 0, "nothing was cancelled");
	client_free(c);
}

static void test_slow_reader(void)
{
	struct client *c = client_new(false);
	int32_t id = ask_with(c, "/s/Stream", NULL, NULL, 0);
	struct answer *a = &c->answers[id];
	int n = 0;
	cancelled = 0;
	for (accepted = true; accepted && n < 200; n++) {
		send_sized(held, PIECE, try_send);
		pump(c);
	}
	held = NULL;
	ok(!accepted && n > 60 && n < 66, "a client that does not read: %d MiB are kept for it", n);
	ok(a->bytes == 65535 && !a->closed, "it got what its window allows");
	for (int i = 0; i < 100; i++) {
		nghttp2_session_consume(c->ng, id, a->bytes);
		nghttp2_submit_window_update(c->ng, 0, 0, PIECE);
		nghttp2_submit_window_update(c->ng, 0, id, PIECE);
		pump(c);
	}
	ok(got(a, GRPC_RESOURCE_EXHAUSTED, PIECE + 9),
	   "it gets the message that was begun, and is told");
	ok(cancelled == 0, "the handler knew from call_send");
	client_free(c);
}

static int rooms;

/* As a long list does it: the next message when the one before has nearly gone. */
static void on_room(void *arg)
{
	(void)arg;
	if (++rooms == 5) {
		call_end(TAKE(held));
		return;
	}
	send_sized(held, PIECE, try_send);
	call_on_room(held, 1000, on_room, NULL);
}

static void test_room(void)
{
	struct client *c = client_new(false);
	int32_t id = ask_with(c, "/s/Stream", NULL, NULL, 0);
	struct answer *a = &c->answers[id];
	rooms = 0;
	send_sized(held, PIECE, try_send);
	call_on_room(held, 1000, on_room, NULL);
	pump(c);
	ok(rooms == 0 && call_queued(held) > PIECE / 2, "no room while the client does not read");
	for (int i = 0; i < 10; i++) {
		nghttp2_submit_window_update(c->ng, 0, 0, PIECE);
		nghttp2_submit_window_update(c->ng, 0, id, PIECE);
		pump(c);
	}
	ok(rooms == 5 && got(a, 0, 5 * (PIECE + 9)), "room is told each time, and the end is sent");
	client_free(c);
}

static void test_drain(void)
{
	struct client *c = client_new(true);
	cancelled = 0;
	struct answer *blind = ask(c, "/s/Blind"), *stream = ask(c, "/s/Stream");
	struct call *unary = TAKE(other);
	woken = 0;
	h2_drain(c->h);
	ok(woken > 0, "output waits");
	pump(c);
	ok(c->goaway && got(stream, GRPC_UNAVAILABLE, 0), "GOAWAY, and streams end");
	ok(cancelled == 1 && !blind->closed && !h2_is_done(c->h), "calls go on");
	struct answer *late = ask(c, "/s/Echo");
	ok(late->bytes == 0, "no new ones");
	call_end(unary);
	pump(c);
	ok(blind->closed && h2_is_done(c->h), "after the last answer the connection can be closed");
	client_free(c);

	c = client_new(true);
	blind = ask(c, "/s/Hold");
	h2_drain(c->h);
	h2_abort_calls(c->h);
	pump(c);
	ok(got(blind, GRPC_UNAVAILABLE, 0) && cancelled == 2, "what takes too long is given up");
	client_free(c);
}

int main(void)
{
	struct err e;
	daemon_.loop = loop_new(&e);
	daemon_.cfg.grpc_max_recv_msg_size = daemon_.cfg.grpc_max_send_msg_size = 16 << 20;
	host = (struct h2_host){.daemon = &daemon_, .wake = wake};
	log_init("http2");
	log_set_level("error");
	test_unary();
	test_memory();
	test_deadline();
	test_cancel();
	test_stream();
	test_slow_reader();
	test_room();
	test_drain();
	loop_free(daemon_.loop);
	return tap_done();
}
