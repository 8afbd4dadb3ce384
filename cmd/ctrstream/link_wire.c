/* SPDX-License-Identifier: Apache-2.0 */
#include "link_wire.h"

#include "auto.h"
#include "base64.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WINDOW_MAX = INT32_MAX, WS_CLOSE_CHANNEL = 255, WS_MESSAGE_MAX = 64 << 10 };

static const char *const kind_names[CHAN_KINDS] = {"error",  "stdin",  "stdout",
						   "stderr", "resize", "data"};

/* ---- SPDY */

static void copy_value(const struct spdy_header *h, char *out, size_t size)
{
	size_t n = h->value_len < size ? h->value_len : size - 1;
	memcpy(out, h->value, n);
	out[n] = '\0';
}

static bool is_header(const struct spdy_header *h, const char *name)
{
	return h->name_len == strlen(name) && strncasecmp(h->name, name, h->name_len) == 0;
}

/* What the headers say of the channel; false when that is nothing. */
static bool describe(struct chan *c, const struct spdy_header *h, size_t n)
{
	char text[24];
	bool found = false;
	long port;
	for (size_t i = 0; i < n; i++) {
		copy_value(&h[i], text, sizeof text);
		if (is_header(&h[i], "requestid"))
			memcpy(c->request, text, sizeof text);
		if (is_header(&h[i], "port") && tool_parse_long(text, &port) == 0 && port > 0 &&
		    port < 65536)
			c->port = (unsigned)port;
		if (!is_header(&h[i], "streamtype"))
			continue;
		for (int k = 0; k < CHAN_KINDS; k++)
			if (strcmp(text, kind_names[k]) == 0) {
				c->kind = (enum chan_kind)k;
				found = true;
			}
	}
	return found;
}

static void on_open(void *arg, uint32_t id, const struct spdy_header *h, size_t n, bool no_reply)
{
	struct link *l = arg;
	struct err ignored;
	link_touch(l);
	if (l->n_chans >= CHANS_MAX) {
		spdy_reset(&l->spdy, id, SPDY_REFUSED_STREAM, &ignored);
		return;
	}
	struct chan *c = chan_new(l, id, CHAN_ERROR);
	c->out_ended = no_reply;
	if (!describe(c, h, n) || l->ev->open(l->arg, c) < 0) {
		chan_release(c);
		spdy_reset(&l->spdy, id, SPDY_REFUSED_STREAM, &ignored);
		return;
	}
	bool http = false;
	for (size_t i = 0; i < n; i++)
		http = http || is_header(&h[i], ":method");
	spdy_reply(&l->spdy, id, http, &ignored);
}

static void told(struct link *l, size_t n)
{
	struct err ignored;
	l->taken += n;
	if (l->taken < SPDY_WINDOW / 2)
		return;
	spdy_window(&l->spdy, 0, (uint32_t)l->taken, &ignored);
	l->taken = 0;
	link_touch(l);
}

static void on_data(void *arg, uint32_t id, const uint8_t *p, size_t n)
{
	struct link *l = arg;
	struct chan *c = chan_find(l, id);
	if (c && !c->in_ended)
		chan_feed(c, p, n);
	else
		told(l, n);
}

static void on_end(void *arg, uint32_t id)
{
	struct link *l = arg;
	struct chan *c = chan_find(l, id);
	if (!c || c->in_ended)
		return;
	c->in_ended = true;
	l->ev->input(l->arg, c);
}

static void on_reset(void *arg, uint32_t id)
{
	struct link *l = arg;
	struct chan *c = chan_find(l, id);
	if (!c || c->reset)
		return;
	c->reset = c->in_ended = c->out_ended = true;
	l->ev->input(l->arg, c);
}

static void add_window(int64_t *w, uint32_t delta)
{
	*w += delta;
	if (*w > WINDOW_MAX)
		*w = WINDOW_MAX;
}

/* The Go client never counts: it sends no WINDOW_UPDATE at all, and one that waited for them would
 * wait for ever. Who sends one, or SETTINGS, counts. */
static void on_window(void *arg, uint32_t id, uint32_t delta)
{
	struct link *l = arg;
	struct chan *c = id ? chan_find(l, id) : NULL;
	l->counts = true;
	if (c || !id)
		add_window(c ? &c->window : &l->window, delta);
	link_touch(l);
}

static void on_settings(void *arg, int64_t initial)
{
	struct link *l = arg;
	l->counts = true;
	if (initial < 0)
		return;
	for (struct chan *c = l->chans; c; c = c->next)
		c->window += initial - l->initial_window;
	l->initial_window = initial;
	link_touch(l);
}

/* It opens no streams any more. With all of them broken off there is nobody left to talk to, though
 * the connection may stay for a while. */
static void on_goaway(void *arg)
{
	struct link *l = arg;
	struct chan *c = l->chans;
	while (c && c->reset)
		c = c->next;
	if (!c)
		link_over(l);
}

static const struct spdy_events spdy_events = {
	.open = on_open,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
	.window = on_window,
	.settings = on_settings,
	.goaway = on_goaway,
};

/* ---- WebSocket */

static void on_message(void *arg, bool text)
{
	struct link *l = arg;
	(void)text;
	l->ws_begun = l->ws_closing = false;
	l->ws_chan = NULL;
	buf_clear(&l->ws_text);
}

static void ended_by_number(struct link *l, uint8_t id)
{
	struct chan *c = chan_find(l, id);
	if (l->up.version >= 5 && c)
		on_end(l, id);
}

static void channel_bytes(struct link *l, const uint8_t *p, size_t n)
{
	if (!n)
		return;
	if (!l->ws_begun) {
		l->ws_begun = true;
		l->ws_closing = *p == WS_CLOSE_CHANNEL;
		l->ws_chan = chan_find(l, *p);
		p++;
		n--;
	}
	if (!n)
		return;
	if (l->ws_closing)
		ended_by_number(l, *p);
	else if (l->ws_chan)
		chan_feed(l->ws_chan, p, n);
}

static void on_chunk(void *arg, const uint8_t *p, size_t n)
{
	struct link *l = arg;
	if (l->failed)
		return;
	if (l->up.wire == WIRE_WS_SPDY)
		l->failed = spdy_feed(&l->spdy, p, n, &l->why) < 0;
	else if (l->up.base64)
		l->failed = buf_add(&l->ws_text, p, n, &l->why) < 0;
	else
		channel_bytes(l, p, n);
}

static void on_message_end(void *arg)
{
	struct link *l = arg;
	AUTO_FREE unsigned char *bytes = NULL;
	size_t n;
	if (l->failed || l->up.wire == WIRE_WS_SPDY || !l->up.base64 || !l->ws_text.len)
		return;
	/* The channel is a digit, the rest is base64. */
	uint8_t id = (uint8_t)(l->ws_text.data[0] - '0');
	if (base64_decode(l->ws_text.data + 1, l->ws_text.len - 1, &bytes, &n) < 0) {
		l->failed = true;
		err_set(&l->why, ERR_BAD_INPUT, "WebSocket: a message is not in base64");
		return;
	}
	struct chan *c = chan_find(l, id);
	for (size_t at = 0; c && at < n; at += WS_MESSAGE_MAX) {
		chan_feed(c, bytes + at, n - at < WS_MESSAGE_MAX ? n - at : WS_MESSAGE_MAX);
		c = chan_find(l, id);
	}
}

static const struct ws_events ws_events = {on_message, on_chunk, on_message_end};

static int ws_put(struct chan *c, const uint8_t *p, size_t n, struct err *e)
{
	static uint8_t message[1 + WS_MESSAGE_MAX];
	struct link *l = c->link;
	if (!l->up.base64) {
		message[0] = (uint8_t)c->id;
		memcpy(message + 1, p, n);
		return ws_send(&l->ws, false, message, 1 + n, e);
	}
	AUTO_FREE char *text = base64_encode(p, n);
	AUTO_BUF struct buf b = BUF_INIT(2 * WS_MESSAGE_MAX);
	if (buf_addf(&b, e, "%c%s", (int)('0' + c->id), text) < 0)
		return -1;
	return ws_send(&l->ws, true, b.data, b.len, e);
}

/* ---- both */

void wire_init(struct link *l)
{
	bool plain = l->up.wire == WIRE_SPDY;
	if (l->up.wire != WIRE_WS_CHANNELS)
		spdy_init(&l->spdy, &spdy_events, l, plain ? &l->out : &l->plain);
	if (!plain)
		ws_init(&l->ws, &ws_events, l, &l->out);
}

void wire_release(struct link *l)
{
	spdy_release(&l->spdy);
	ws_release(&l->ws);
}

static int pass_on(struct link *l, struct err *e)
{
	if (l->up.wire != WIRE_WS_SPDY || !l->plain.len)
		return 0;
	int r = ws_send(&l->ws, false, l->plain.data, l->plain.len, e);
	buf_clear(&l->plain);
	return r;
}

void wire_pass_on(struct link *l)
{
	struct err ignored;
	pass_on(l, &ignored);
}

int wire_feed(struct link *l, const uint8_t *data, size_t len, struct err *e)
{
	if (l->up.wire == WIRE_SPDY)
		return spdy_feed(&l->spdy, data, len, e);
	if (ws_feed(&l->ws, data, len, e) < 0)
		return -1;
	if (l->failed) {
		*e = l->why;
		return -1;
	}
	if (l->ws.closed)
		return err_set(e, ERR_CANCELLED, "WebSocket: closed by the client");
	link_touch(l);
	return pass_on(l, e);
}

int wire_write(struct chan *c, const void *data, size_t len, struct err *e)
{
	struct link *l = c->link;
	const uint8_t *p = data;
	for (size_t n; len; p += n, len -= n) {
		n = len < SPDY_DATA_MAX ? len : SPDY_DATA_MAX;
		int r = l->up.wire == WIRE_WS_CHANNELS ? ws_put(c, p, n, e)
						       : spdy_data(&l->spdy, c->id, p, n, false, e);
		if (r < 0)
			return -1;
	}
	return pass_on(l, e);
}

int wire_end(struct chan *c, struct err *e)
{
	struct link *l = c->link;
	/* A WebSocket channel ends with the connection. */
	if (l->up.wire == WIRE_WS_CHANNELS)
		return 0;
	return spdy_data(&l->spdy, c->id, NULL, 0, true, e) < 0 ? -1 : pass_on(l, e);
}

int wire_break(struct chan *c, struct err *e)
{
	struct link *l = c->link;
	if (l->up.wire == WIRE_WS_CHANNELS)
		return 0;
	return spdy_reset(&l->spdy, c->id, SPDY_INTERNAL_ERROR, e) < 0 ? -1 : pass_on(l, e);
}

void wire_taken(struct chan *c, size_t n)
{
	struct link *l = c->link;
	struct err ignored;
	if (!n || l->up.wire == WIRE_WS_CHANNELS || l->finishing || l->over)
		return;
	told(l, n);
	c->taken += n;
	if (c->taken >= SPDY_WINDOW / 2 && !c->in_ended) {
		spdy_window(&l->spdy, c->id, (uint32_t)c->taken, &ignored);
		c->taken = 0;
		link_touch(l);
	}
	pass_on(l, &ignored);
}

void wire_finish(struct link *l)
{
	struct err ignored;
	if (l->up.wire != WIRE_WS_CHANNELS)
		spdy_goaway(&l->spdy, &ignored);
	pass_on(l, &ignored);
	if (l->up.is_ws)
		ws_close(&l->ws, &ignored);
}

/* Each channel begins with what the protocol has it begin with. */
static int open_channel(struct link *l, uint32_t id, enum chan_kind kind, unsigned port)
{
	struct chan *c = chan_new(l, id, kind);
	c->port = port;
	if (port) {
		const uint8_t number[2] = {(uint8_t)port, (uint8_t)(port >> 8)};
		chan_write(c, number, sizeof number);
	}
	if (l->ev->open(l->arg, c) == 0)
		return 0;
	chan_release(c);
	return -1;
}

int link_ports(struct link *l, const unsigned *ports, size_t n)
{
	if (l->up.wire != WIRE_WS_CHANNELS)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (open_channel(l, 2 * (uint32_t)i, CHAN_DATA, ports[i]) < 0 ||
		    open_channel(l, 2 * (uint32_t)i + 1, CHAN_ERROR, ports[i]) < 0)
			return -1;
	return 0;
}

void link_channels(struct link *l)
{
	/* The order is the protocol's numbering. */
	static const enum chan_kind kinds[] = {CHAN_STDIN, CHAN_STDOUT, CHAN_STDERR, CHAN_ERROR,
					       CHAN_RESIZE};
	static const enum chan_kind first[] = {CHAN_STDOUT, CHAN_STDERR, CHAN_ERROR};
	struct err ignored;
	if (l->up.wire != WIRE_WS_CHANNELS)
		return;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		open_channel(l, (uint32_t)i, kinds[i], 0);
	/* An empty message tells the client that it is connected. */
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		for (struct chan *c = l->chans; c; c = c->next)
			if (c->kind == first[i]) {
				ws_put(c, (const uint8_t *)"", 0, &ignored);
				link_touch(l);
				return;
			}
}
