/* SPDX-License-Identifier: Apache-2.0 */
#include "spdy.h"

#include "spdy_dict.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

enum { SYN_STREAM = 1, SYN_REPLY, RST_STREAM, SETTINGS, PING = 6, GOAWAY, HEADERS, WINDOW_UPDATE };
enum { FLAG_FIN = 1, FLAG_UNIDIRECTIONAL = 2, VERSION_3 = 3, INITIAL_WINDOW_SIZE = 7 };
/* The smallest window that holds the dictionary: replies have no headers worth more. */
enum { PACK_WINDOW_BITS = 11, PACK_MEM_LEVEL = 1 };

static const uint32_t id_mask = 0x7fffffff;

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void spdy_init(struct spdy *s, const struct spdy_events *ev, void *arg, struct buf *out)
{
	*s = (struct spdy){.ev = ev, .arg = arg, .out = out};
	s->control = BUF_INIT(SPDY_CONTROL_MAX);
	s->block = xmalloc(SPDY_BLOCK_MAX);
	if (inflateInit(&s->unpack) != Z_OK ||
	    deflateInit2(&s->pack, Z_BEST_SPEED, Z_DEFLATED, PACK_WINDOW_BITS, PACK_MEM_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		abort(); /* out of memory, as in xalloc.c */
	deflateSetDictionary(&s->pack, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_SIZE);
}

void spdy_release(struct spdy *s)
{
	if (!s->block)
		return;
	inflateEnd(&s->unpack);
	deflateEnd(&s->pack);
	buf_release(&s->control);
	free(s->block);
	s->block = NULL;
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_BAD_INPUT, "SPDY: %s", what);
}

/* Every block has to go through here, of refused streams as well: they share one compression
 * state. */
static int unpack(struct spdy *s, const uint8_t *p, size_t n, size_t *len, struct err *e)
{
	z_stream *z = &s->unpack;
	z->next_in = (Bytef *)p;
	z->avail_in = (uInt)n;
	z->next_out = (Bytef *)s->block;
	z->avail_out = SPDY_BLOCK_MAX;
	while (z->avail_in) {
		int r = inflate(z, Z_SYNC_FLUSH);
		if (r == Z_NEED_DICT)
			r = inflateSetDictionary(z, (const Bytef *)spdy_dictionary,
						 SPDY_DICTIONARY_SIZE);
		if (r != Z_OK)
			return bad(e, "a header block cannot be unpacked");
		if (!z->avail_out)
			return bad(e, "a header block is too large");
	}
	*len = SPDY_BLOCK_MAX - z->avail_out;
	return 0;
}

static bool take_string(const char **at, size_t *left, const char **p, size_t *len)
{
	if (*left < 4)
		return false;
	*len = get32((const uint8_t *)*at);
	*left -= 4;
	*p = *at + 4;
	if (*len > *left)
		return false;
	*at = *p + *len;
	*left -= *len;
	return true;
}

static int parse_block(const char *block, size_t len, struct spdy_header *h, size_t *n,
		       struct err *e)
{
	if (len < 4)
		return bad(e, "a header block is cut off");
	size_t count = get32((const uint8_t *)block), left = len - 4;
	const char *at = block + 4;
	if (count > SPDY_HEADERS_MAX)
		return bad(e, "too many headers");
	for (*n = 0; *n < count; ++*n)
		if (!take_string(&at, &left, &h[*n].name, &h[*n].name_len) ||
		    !take_string(&at, &left, &h[*n].value, &h[*n].value_len))
			return bad(e, "a header block is cut off");
	return 0;
}

static int take_syn_stream(struct spdy *s, const uint8_t *p, size_t n, unsigned flags,
			   struct err *e)
{
	struct spdy_header headers[SPDY_HEADERS_MAX];
	size_t count = 0, len;
	if (n < 10)
		return bad(e, "SYN_STREAM is cut off");
	uint32_t id = get32(p) & id_mask;
	if (unpack(s, p + 10, n - 10, &len, e) < 0 ||
	    parse_block(s->block, len, headers, &count, e) < 0)
		return -1;
	if (id % 2 == 0 || id <= s->last_id)
		return id ? spdy_reset(s, id, SPDY_PROTOCOL_ERROR, e) : bad(e, "stream 0");
	s->last_id = id;
	s->ev->open(s->arg, id, headers, count, flags & FLAG_UNIDIRECTIONAL);
	if (flags & FLAG_FIN)
		s->ev->end(s->arg, id);
	return 0;
}

/* HEADERS, and a SYN_REPLY to nothing: what they say is of no interest. */
static int take_headers(struct spdy *s, const uint8_t *p, size_t n, unsigned flags, struct err *e)
{
	size_t len;
	if (n < 4)
		return bad(e, "HEADERS is cut off");
	if (unpack(s, p + 4, n - 4, &len, e) < 0)
		return -1;
	uint32_t id = get32(p) & id_mask;
	if (flags & FLAG_FIN && id)
		s->ev->end(s->arg, id);
	return 0;
}

static int take_settings(struct spdy *s, const uint8_t *p, size_t n, struct err *e)
{
	int64_t window = -1;
	if (n < 4 || get32(p) != (n - 4) / 8 || (n - 4) % 8)
		return bad(e, "SETTINGS has the wrong length");
	for (size_t at = 4; at < n; at += 8)
		if ((get32(p + at) & 0xffffff) == INITIAL_WINDOW_SIZE)
			window = get32(p + at + 4) & id_mask;
	s->ev->settings(s->arg, window);
	return 0;
}

static int put_control(struct spdy *s, unsigned type, const void *payload, size_t len,
		       struct err *e)
{
	uint8_t head[8] = {0x80, VERSION_3, 0, (uint8_t)type};
	put32(head + 4, (uint32_t)len);
	return buf_add(s->out, head, sizeof head, e) < 0 ? -1 : buf_add(s->out, payload, len, e);
}

static int take_control(struct spdy *s, struct err *e)
{
	const uint8_t *p = (const uint8_t *)s->control.data;
	size_t n = s->control.len;
	unsigned type = (unsigned)s->head[2] << 8 | s->head[3], flags = s->head[4];
	switch (type) {
	case SYN_STREAM:
		return take_syn_stream(s, p, n, flags, e);
	case SYN_REPLY:
	case HEADERS:
		return take_headers(s, p, n, flags, e);
	case SETTINGS:
		return take_settings(s, p, n, e);
	case PING:
		if (n != 4)
			return bad(e, "PING has the wrong length");
		/* The even ones would be answers to ours. */
		return get32(p) % 2 ? put_control(s, PING, p, n, e) : 0;
	case RST_STREAM:
	case WINDOW_UPDATE:
		if (n != 8)
			return bad(e, "a frame has the wrong length");
		if (type == WINDOW_UPDATE)
			s->ev->window(s->arg, get32(p) & id_mask, get32(p + 4) & id_mask);
		else if (get32(p) & id_mask)
			s->ev->reset(s->arg, get32(p) & id_mask);
		return 0;
	case GOAWAY:
		s->ev->goaway(s->arg);
		return 0;
	default:
		return 0; /* to be ignored, says the protocol */
	}
}

static int begin_frame(struct spdy *s, struct err *e)
{
	s->left = get32(s->head + 4) & 0xffffff;
	buf_clear(&s->control);
	if (!(s->head[0] & 0x80))
		return get32(s->head) ? 0 : bad(e, "data for stream 0");
	if ((s->head[0] & 0x7f) || s->head[1] != VERSION_3)
		return bad(e, "not version 3");
	return s->left > SPDY_CONTROL_MAX ? bad(e, "a control frame is too large") : 0;
}

static int end_frame(struct spdy *s, struct err *e)
{
	s->head_len = 0;
	if (s->head[0] & 0x80)
		return take_control(s, e);
	if (s->head[4] & FLAG_FIN)
		s->ev->end(s->arg, get32(s->head));
	return 0;
}

/* Takes some of the bytes; how many, or -1. */
static ssize_t step(struct spdy *s, const uint8_t *data, size_t len, struct err *e)
{
	size_t n;
	if (s->head_len < sizeof s->head) {
		n = sizeof s->head - s->head_len;
		n = n < len ? n : len;
		memcpy(s->head + s->head_len, data, n);
		s->head_len += n;
		if (s->head_len < sizeof s->head)
			return (ssize_t)n;
		if (begin_frame(s, e) < 0)
			return -1;
	} else {
		n = len < s->left ? len : s->left;
		if (!(s->head[0] & 0x80))
			s->ev->data(s->arg, get32(s->head), data, n);
		else if (buf_add(&s->control, data, n, e) < 0)
			return -1;
		s->left -= n;
	}
	return s->left == 0 && end_frame(s, e) < 0 ? -1 : (ssize_t)n;
}

int spdy_feed(struct spdy *s, const uint8_t *data, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = step(s, data, len, e);
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int spdy_reply(struct spdy *s, uint32_t id, bool http, struct err *e)
{
	static const char none[4] = {0};
	/* Section 3.2.2: a client that sends HTTP refuses a reply without these. */
	static const char ok[] = "\0\0\0\2\0\0\0\7:status\0\0\0\6"
				 "200 OK\0\0\0\10:version\0\0\0\10HTTP/1.1";
	uint8_t payload[4 + 256];
	put32(payload, id);
	s->pack.next_in = (Bytef *)(http ? ok : none);
	s->pack.avail_in = http ? sizeof ok - 1 : sizeof none;
	s->pack.next_out = payload + 4;
	s->pack.avail_out = sizeof payload - 4;
	if (deflate(&s->pack, Z_SYNC_FLUSH) != Z_OK || s->pack.avail_in)
		return err_set(e, ERR_FAILED, "SPDY: cannot pack a header block");
	return put_control(s, SYN_REPLY, payload, sizeof payload - s->pack.avail_out, e);
}

int spdy_data(struct spdy *s, uint32_t id, const void *data, size_t len, bool end, struct err *e)
{
	uint8_t head[8];
	put32(head, id);
	put32(head + 4, (uint32_t)len);
	head[4] = end ? FLAG_FIN : 0;
	if (buf_add(s->out, head, sizeof head, e) < 0)
		return -1;
	return len ? buf_add(s->out, data, len, e) : 0;
}

static int put_two(struct spdy *s, unsigned type, uint32_t a, uint32_t b, struct err *e)
{
	uint8_t payload[8];
	put32(payload, a);
	put32(payload + 4, b);
	return put_control(s, type, payload, sizeof payload, e);
}

int spdy_reset(struct spdy *s, uint32_t id, enum spdy_status status, struct err *e)
{
	return put_two(s, RST_STREAM, id, status, e);
}

int spdy_window(struct spdy *s, uint32_t id, uint32_t delta, struct err *e)
{
	return put_two(s, WINDOW_UPDATE, id, delta, e);
}

int spdy_goaway(struct spdy *s, struct err *e)
{
	return put_two(s, GOAWAY, s->last_id, 0, e);
}
