/* SPDX-License-Identifier: Apache-2.0 */
/* ctrstream's SPDY/3.1 frames: what comes in, in pieces of any size; what goes out; what is
 * refused. */
#include "cmd/ctrstream/spdy.c"
#include "tap.h"

struct seen {
	char log[4096]; /* a word a call */
	size_t n;
	struct spdy *s;
	char data[4096];
	size_t data_len;
};

__attribute__((format(printf, 2, 3))) static void note(struct seen *x, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(x->log + x->n, sizeof x->log - x->n, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof x->log - x->n)
		x->n += (size_t)n;
}

static void on_open(void *arg, uint32_t id, const struct spdy_header *h, size_t n, bool no_reply)
{
	struct seen *x = arg;
	note(x, "open %u%s", id, no_reply ? " mute" : "");
	for (size_t i = 0; i < n; i++)
		note(x, " %.*s=%.*s", (int)h[i].name_len, h[i].name, (int)h[i].value_len,
		     h[i].value);
	note(x, "; ");
}

static void on_data(void *arg, uint32_t id, const uint8_t *p, size_t n)
{
	struct seen *x = arg;
	(void)id;
	if (x->data_len + n <= sizeof x->data)
		memcpy(x->data + x->data_len, p, n);
	x->data_len += n;
}

static void on_end(void *arg, uint32_t id)
{
	note(arg, "end %u; ", id);
}

static void on_reset(void *arg, uint32_t id)
{
	note(arg, "reset %u; ", id);
}

static void on_window(void *arg, uint32_t id, uint32_t delta)
{
	note(arg, "window %u %u; ", id, delta);
}

static void on_settings(void *arg, int64_t window)
{
	note(arg, "settings %lld; ", (long long)window);
}

static void on_goaway(void *arg)
{
	note(arg, "goaway; ");
}

static const struct spdy_events events = {on_open,   on_data,     on_end,   on_reset,
					  on_window, on_settings, on_goaway};

/* The client's side. */
struct client {
	z_stream pack;
	uint8_t out[1 << 18];
	size_t n;
};

static void client_begin(struct client *c)
{
	deflateEnd(&c->pack); /* of the client before, if any */
	memset(c, 0, sizeof *c);
	deflateInit(&c->pack, 9);
	deflateSetDictionary(&c->pack, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_SIZE);
}

static void frame(struct client *c, uint32_t first, unsigned flags, const void *p, size_t n)
{
	put32(c->out + c->n, first);
	put32(c->out + c->n + 4, (uint32_t)n);
	c->out[c->n + 4] = (uint8_t)flags;
	if (n)
		memcpy(c->out + c->n + 8, p, n);
	c->n += 8 + n;
}

static void control(struct client *c, unsigned type, unsigned flags, const void *p, size_t n)
{
	frame(c, 0x80030000 | type, flags, p, n);
}

static void two(struct client *c, unsigned type, uint32_t a, uint32_t b)
{
	uint8_t p[8];
	put32(p, a);
	put32(p + 4, b);
	control(c, type, 0, p, sizeof p);
}

/* `block` packed behind the first `fixed` bytes. */
static void packed(struct client *c, unsigned type, unsigned flags, uint32_t id, size_t fixed,
		   const void *block, size_t n)
{
	static uint8_t p[1 << 17];
	memset(p, 0, fixed);
	put32(p, id);
	c->pack.next_in = (Bytef *)block;
	c->pack.avail_in = (uInt)n;
	c->pack.next_out = p + fixed;
	c->pack.avail_out = (uInt)(sizeof p - fixed);
	deflate(&c->pack, Z_SYNC_FLUSH);
	control(c, type, flags, p, sizeof p - c->pack.avail_out);
}

static size_t pair(uint8_t *p, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);
	put32(p, (uint32_t)n);
	memcpy(p + 4, name, n);
	put32(p + 4 + n, (uint32_t)v);
	memcpy(p + 8 + n, value, v);
	return 8 + n + v;
}

static void syn(struct client *c, uint32_t id, unsigned flags, const char *type)
{
	uint8_t block[256];
	put32(block, 2);
	size_t n = 4 + pair(block + 4, "streamtype", type);
	n += pair(block + n, "port", "80");
	packed(c, SYN_STREAM, flags, id, 10, block, n);
}

static int feed(struct seen *x, struct buf *out, const struct client *c, size_t piece)
{
	struct spdy s;
	struct err e = {.msg = ""};
	int r = 0;
	*x = (struct seen){.s = &s};
	spdy_init(&s, &events, x, out);
	for (size_t at = 0; at < c->n && r == 0; at += piece)
		r = spdy_feed(&s, c->out + at, c->n - at < piece ? c->n - at : piece, &e);
	spdy_release(&s);
	return r;
}

static void conversation(struct client *c)
{
	static const uint8_t settings[] = {0, 0, 0, 2, 1, 0, 0, 7, 0, 0,
					   1, 0, 0, 0, 0, 4, 0, 0, 0, 9};
	static const uint8_t odd[] = {0, 0, 0, 5}, even[] = {0, 0, 0, 6}, none[] = {0, 0, 0, 0};
	client_begin(c);
	control(c, SETTINGS, 0, settings, sizeof settings);
	syn(c, 1, 0, "error");
	syn(c, 3, FLAG_FIN, "stdout");
	syn(c, 5, FLAG_UNIDIRECTIONAL, "stdin");
	frame(c, 5, 0, "hello ", 6);
	frame(c, 5, 0, "", 0);
	frame(c, 5, FLAG_FIN, "world", 5);
	syn(c, 4, 0, "even");
	syn(c, 3, 0, "again");
	packed(c, HEADERS, FLAG_FIN, 1, 4, none, sizeof none);
	control(c, PING, 0, odd, sizeof odd);
	control(c, PING, 0, even, sizeof even);
	control(c, 77, 0, "unknown", 7);
	two(c, WINDOW_UPDATE, 0, 1000);
	two(c, WINDOW_UPDATE, 3, 2000);
	two(c, RST_STREAM, 3, 5);
	two(c, GOAWAY, 0, 0);
	deflateEnd(&c->pack);
}

static void test_in(void)
{
	static const char want[] =
		"settings 256; open 1 streamtype=error port=80; open 3 streamtype=stdout port=80; "
		"end 3; open 5 mute streamtype=stdin port=80; end 5; end 1; window 0 1000; "
		"window 3 2000; reset 3; goaway; ";
	/* Two refusals, then the answer to the odd ping. */
	static const uint8_t answer[] = {0x80, 3,    0,    3, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0,
					 1,    0x80, 3,    0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0,
					 0,    1,    0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5};
	static struct client c;
	conversation(&c);
	for (size_t piece = 1; piece < 64; piece += piece < 4 ? 1 : 13) {
		struct seen x;
		AUTO_BUF struct buf out = BUF_INIT(1 << 16);
		int r = feed(&x, &out, &c, piece);
		ok(r == 0 && strcmp(x.log, want) == 0, "a conversation in pieces of %zu: %s", piece,
		   x.log);
		ok(x.data_len == 11 && memcmp(x.data, "hello world", 11) == 0, "its data");
		ok(out.len == sizeof answer && memcmp(out.data, answer, out.len) == 0,
		   "its answers");
	}
}

static void test_broken(void)
{
	static struct client c;
	static const uint8_t ping[] = {0, 0, 0, 1, 0}, zeros[70000];
	struct seen x;
	AUTO_BUF struct buf out = BUF_INIT(1 << 16);
#define REFUSED(what) ok(feed(&x, &out, &c, 4096) < 0, "refused: %s", what)
	client_begin(&c);
	frame(&c, 0, 0, "x", 1);
	REFUSED("data for stream 0");
	client_begin(&c);
	frame(&c, 0x80020006, 0, ping, 4);
	REFUSED("version 2");
	client_begin(&c);
	control(&c, PING, 0, ping, 5);
	REFUSED("a ping of 5 bytes");
	client_begin(&c);
	control(&c, SYN_STREAM, 0, zeros, 9);
	REFUSED("a short SYN_STREAM");
	client_begin(&c);
	control(&c, SYN_STREAM, 0, zeros, 20);
	REFUSED("a block that is not packed");
	client_begin(&c);
	control(&c, SETTINGS, 0,
		"\0\0\0\2"
		"12345678",
		12);
	REFUSED("two settings in the room of one");
	client_begin(&c);
	control(&c, RST_STREAM, 0, zeros, 4);
	REFUSED("a short RST_STREAM");
	client_begin(&c);
	control(&c, SYN_STREAM, 0, zeros, 66000);
	REFUSED("a control frame of 66000 bytes");
	client_begin(&c);
	packed(&c, SYN_STREAM, 0, 1, 10, zeros, sizeof zeros);
	REFUSED("a block that unpacks to 70000 bytes");
	client_begin(&c);
	packed(&c, SYN_STREAM, 0, 1, 10, "\0\0\1\0", 4);
	REFUSED("256 headers in no bytes");
	client_begin(&c);
	packed(&c, SYN_STREAM, 0, 1, 10, "\0\0\0\1\377\377\377\377ab", 10);
	REFUSED("a name of 4 GiB");
	client_begin(&c);
	packed(&c, SYN_STREAM, 0, 0, 10, "\0\0\0\0", 4);
	REFUSED("stream 0");
}

/* What we pack, the other side unpacks: three replies share a state. */
static void test_out(void)
{
	struct spdy s;
	struct err e;
	struct seen x = {.n = 0};
	z_stream z = {0};
	size_t at = 0, whole = 0, len = 0;
	uint8_t block[64];
	AUTO_BUF struct buf out = BUF_INIT(1 << 20);
	spdy_init(&s, &events, &x, &out);
	inflateInit(&z);
	for (uint32_t id = 1; id < 7; id += 2)
		ok(spdy_reply(&s, id, id == 5, &e) == 0, "reply to %u", id);
	while (at < out.len) {
		const uint8_t *p = (const uint8_t *)out.data + at;
		size_t n = get32(p + 4);
		z.next_in = (Bytef *)p + 12;
		z.avail_in = (uInt)n - 4;
		z.next_out = block;
		z.avail_out = sizeof block;
		if (inflate(&z, Z_SYNC_FLUSH) == Z_NEED_DICT) {
			inflateSetDictionary(&z, (const Bytef *)spdy_dictionary,
					     SPDY_DICTIONARY_SIZE);
			inflate(&z, Z_SYNC_FLUSH);
		}
		len = sizeof block - z.avail_out;
		whole += p[3] == SYN_REPLY && len == 4 && !get32(block);
		at += 8 + n;
	}
	ok(at == out.len && whole == 2, "two replies without headers");
	ok(len == 49 && memcmp(block,
			       "\0\0\0\2\0\0\0\7:status\0\0\0\6"
			       "200 OK\0\0\0\10:version\0\0\0\10HTTP/1.1",
			       49) == 0,
	   "one for a client that sends HTTP");
	inflateEnd(&z);
	buf_clear(&out);
	ok(spdy_data(&s, 7, "abc", 3, true, &e) == 0 && out.len == 11 &&
		   memcmp(out.data, "\0\0\0\7\1\0\0\3abc", 11) == 0,
	   "data with the end");
	buf_clear(&out);
	ok(spdy_window(&s, 7, 9, &e) == 0 && out.len == 16 &&
		   memcmp(out.data, "\200\3\0\11\0\0\0\10\0\0\0\7\0\0\0\11", 16) == 0,
	   "a window");
	spdy_release(&s);
}

int main(void)
{
	ok(SPDY_DICTIONARY_SIZE == 1423 &&
		   adler32(adler32(0, NULL, 0), (const Bytef *)spdy_dictionary,
			   SPDY_DICTIONARY_SIZE) == 0xe3c6a7c2,
	   "the dictionary is the draft's");
	test_in();
	test_broken();
	test_out();
	return tap_done();
}
