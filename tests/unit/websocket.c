/* SPDX-License-Identifier: Apache-2.0 */
/* ctrstream's upgrade requests, and WebSocket frames. */
#include "cmd/ctrstream/http.c"
#include "cmd/ctrstream/sha1.c"
#include "cmd/ctrstream/ws.c"
#include "tap.h"

static int ask(const char *text, enum work work, struct upgrade *u, struct buf *answer)
{
	struct err e;
	char head[8192];
	size_t n = strlen(text);
	memcpy(head, text, n + 1);
	buf_clear(answer);
	return http_upgrade(head, n, work, u, answer, &e);
}

#define WS_HEAD \
	"GET /x HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
#define SPDY_HEAD "POST /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"

static void test_upgrade(void)
{
	struct upgrade u;
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(8192);
	ok(ask(WS_HEAD "Sec-WebSocket-Protocol: v9.x, v5.channel.k8s.io ,v4.channel.k8s.io\r\n\r\n",
	       WORK_EXEC, &u, &b) == 0 &&
		   u.version == 5 && u.wire == WIRE_WS_CHANNELS && !u.base64,
	   "v5 by WebSocket");
	buf_clear(&b);
	ok(http_accept(&u, &b, &e) == 0 &&
		   strstr(b.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") &&
		   strstr(b.data, "\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"),
	   "its answer, as RFC 6455 has it");
	ok(ask(WS_HEAD "Sec-WebSocket-Protocol: v4.base64.channel.k8s.io\r\n\r\n", WORK_ATTACH, &u,
	       &b) == 0 &&
		   u.base64,
	   "base64");
	ok(ask(WS_HEAD "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n",
	       WORK_PORTFORWARD, &u, &b) == 0 &&
		   u.wire == WIRE_WS_SPDY,
	   "a tunnel");
	ok(ask(WS_HEAD "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n", WORK_EXEC, &u,
	       &b) < 0 &&
		   strstr(b.data, " 403 "),
	   "a tunnel is nothing for exec");
	ok(ask(SPDY_HEAD "X-Stream-Protocol-Version: v9.x\r\nx-stream-protocol-version: "
			 "v3.channel.k8s.io\r\n\r\n",
	       WORK_EXEC, &u, &b) == 0 &&
		   u.version == 3 && !u.is_ws,
	   "v3 by SPDY, in the second of two headers");
	ok(ask(SPDY_HEAD "\r\n", WORK_EXEC, &u, &b) == 0 && u.version == 1 && !u.protocol,
	   "a client from before the negotiation");
	ok(ask(SPDY_HEAD "X-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n", WORK_EXEC, &u,
	       &b) < 0 &&
		   strstr(b.data, "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io"),
	   "there is no v5 by SPDY");
}

static void test_bad_heads(void)
{
	static const char *const heads[] = {
		"",
		"\r\n\r\n",
		"GET /x HTTP/1.0\r\n\r\n",
		"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
		"GET /x HTTP/1.1\r\n: empty\r\n\r\n",
		"GET /x HTTP/1.1\r\nA b: c\r\n\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"GET /x HTTP/1.1\r\nConnection: close\r\nUpgrade: SPDY/3.1\r\n\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		("GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n"),
	};
	struct upgrade u;
	AUTO_BUF struct buf b = BUF_INIT(8192);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		ok(ask(heads[i], WORK_EXEC, &u, &b) < 0 && b.len &&
			   strncmp(b.data, "HTTP/1.1 4", 10) == 0,
		   "bad head %zu", i);
}

struct seen {
	char log[1024];
	size_t n;
};

static void on_begin(void *arg, bool text)
{
	struct seen *x = arg;
	x->log[x->n++] = text ? 'T' : 'B';
}

static void on_bytes(void *arg, const uint8_t *p, size_t n)
{
	struct seen *x = arg;
	memcpy(x->log + x->n, p, n);
	x->n += n;
}

static void on_message_end(void *arg)
{
	struct seen *x = arg;
	x->log[x->n++] = '.';
}

static const struct ws_events events = {on_begin, on_bytes, on_message_end};

static size_t client_frame(uint8_t *out, unsigned head, const char *text)
{
	static const uint8_t mask[4] = {1, 2, 3, 4};
	size_t n = strlen(text);
	out[0] = (uint8_t)head;
	out[1] = (uint8_t)(0x80 | n);
	memcpy(out + 2, mask, 4);
	for (size_t i = 0; i < n; i++)
		out[6 + i] = (uint8_t)text[i] ^ mask[i % 4];
	return 6 + n;
}

static int feed(struct seen *x, struct buf *out, const uint8_t *p, size_t n, size_t piece,
		bool *closed)
{
	struct ws w;
	struct err e;
	int r = 0;
	*x = (struct seen){.n = 0};
	ws_init(&w, &events, x, out);
	for (size_t at = 0; at < n && r == 0; at += piece)
		r = ws_feed(&w, p + at, n - at < piece ? n - at : piece, &e);
	*closed = w.closed;
	x->log[x->n] = '\0';
	ws_release(&w);
	return r;
}

static void test_frames(void)
{
	uint8_t in[512];
	struct seen x;
	bool closed;
	size_t n = client_frame(in, 0x82, "one");
	n += client_frame(in + n, 0x02, "tw");
	n += client_frame(in + n, 0x89, "ping");
	n += client_frame(in + n, 0x80, "o");
	n += client_frame(in + n, 0x81, "text");
	n += client_frame(in + n, 0x82, "");
	n += client_frame(in + n, 0x88, "\003\350");
	for (size_t piece = 1; piece < 40; piece += 6) {
		AUTO_BUF struct buf out = BUF_INIT(1 << 16);
		int r = feed(&x, &out, in, n, piece, &closed);
		ok(r == 0 && closed && strcmp(x.log, "Bone.Btwo.Ttext.B.") == 0,
		   "frames in pieces of %zu: %s", piece, x.log);
		ok(out.len == 10 && memcmp(out.data, "\212\4ping\210\2\3\350", 10) == 0,
		   "a pong and the closing");
	}
	static const uint8_t unmasked[] = {0x82, 1, 'x'}, reserved[] = {0xc2, 0x80, 0, 0, 0, 0},
			     early[] = {0x80, 0x80, 0, 0, 0, 0};
	AUTO_BUF struct buf out = BUF_INIT(1 << 16);
	ok(feed(&x, &out, unmasked, sizeof unmasked, 9, &closed) < 0, "no mask");
	ok(feed(&x, &out, reserved, sizeof reserved, 9, &closed) < 0, "a reserved bit");
	ok(feed(&x, &out, early, sizeof early, 9, &closed) < 0, "a continuation of nothing");
}

int main(void)
{
	test_upgrade();
	test_bad_heads();
	test_frames();
	return tap_done();
}
