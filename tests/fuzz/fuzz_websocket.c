/* SPDX-License-Identifier: Apache-2.0 */
/* A whole connection to ctrstream without its socket: the first byte says what is spoken and in
 * which pieces the rest comes; with its highest bit the rest is the request's head. */
#include "cmd/ctrstream/http.c"
#include "cmd/ctrstream/sha1.c"
#include "cmd/ctrstream/spdy.c"
#include "cmd/ctrstream/ws.c"
#define on_chunk wire_on_chunk
#include "cmd/ctrstream/link_wire.c"
#undef on_chunk
#define refuse link_say_no
#include "cmd/ctrstream/link.c"

static int open_chan(void *arg, struct chan *c)
{
	(void)arg;
	return c->kind == CHAN_RESIZE ? -1 : 0;
}

/* Take half, answer it, and let go of what has ended. */
static void input(void *arg, struct chan *c)
{
	(void)arg;
	size_t n = c->in.len / 2 + c->in.len % 2;
	if (n > chan_room(c))
		n = chan_room(c);
	if (n && c->in.data)
		chan_write(c, c->in.data, n);
	chan_consume(c, n);
	if (c->in_ended)
		chan_release(c);
}

static void nothing(void *arg)
{
	(void)arg;
}

static const struct link_events link_events = {open_chan, input, nothing, nothing};

static void check(const struct link *l)
{
	size_t total = 0, full = 0, n = 0;
	for (const struct chan *c = l->chans; c; c = c->next, n++) {
		total += c->in.len;
		full += c->in.len > CHAN_IN_MAX;
	}
	if (total != l->in_total || full != l->n_full || n != l->n_chans)
		abort();
}

static void fuzz_head(const uint8_t *data, size_t size)
{
	struct upgrade u;
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(8192);
	char *head = xmalloc(size + 1);
	memcpy(head, data, size);
	head[size] = '\0';
	if (http_upgrade(head, size, (enum work)(size % 3), &u, &b, &e) == 0)
		http_accept(&u, &b, &e);
	else if (!b.len)
		abort();
	free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned ports[] = {80, 443};
	struct err e;
	struct link l = {.ev = &link_events,
			 .sock = WATCH_NONE,
			 .window = SPDY_WINDOW,
			 .initial_window = SPDY_WINDOW};
	int r = 0;
	if (size < 1)
		return 0;
	unsigned how = data[0];
	data++;
	size--;
	if (how & 0x80) {
		fuzz_head(data, size);
		return 0;
	}
	l.loop = loop_new(&e);
	l.out = l.plain = BUF_INIT(16 << 20);
	l.ws_text = BUF_INIT(CHAN_IN_MAX);
	l.up = (struct upgrade){.wire = (enum wire)(how % 3),
				.version = how & 4 ? 5 : 4,
				.base64 = how & 8,
				.is_ws = how % 3};
	l.work = how & 16 ? WORK_PORTFORWARD : WORK_EXEC;
	wire_init(&l);
	if (l.work == WORK_PORTFORWARD)
		link_ports(&l, ports, ARRAY_LEN(ports));
	else
		link_channels(&l);
	size_t piece = how & 32 ? 1 : how & 64 ? 17 : 4096;
	for (size_t at = 0; at < size && r == 0; at += piece) {
		r = wire_feed(&l, data + at, size - at < piece ? size - at : piece, &e);
		check(&l);
		if (l.out.len > LINK_OUT_HIGH)
			buf_clear(&l.out);
	}
	link_release(&l);
	loop_free(l.loop);
	return 0;
}
