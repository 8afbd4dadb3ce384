/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY frames from a client. The first byte: in which pieces the rest comes, and whether it is
 * frames or the contents of a header block that gets packed. */
#include "cmd/ctrstream/spdy.c"

static struct spdy *current;
static struct buf out;

static void on_open(void *arg, uint32_t id, const struct spdy_header *h, size_t n, bool no_reply)
{
	struct err e;
	size_t total = 0;
	(void)arg;
	for (size_t i = 0; i < n; i++)
		total += h[i].name_len + h[i].value_len;
	if (!id || n > SPDY_HEADERS_MAX || total > SPDY_BLOCK_MAX)
		abort();
	for (size_t i = 0; i < n; i++)
		if ((h[i].value_len && h[i].value[h[i].value_len - 1] == 'x') || no_reply)
			break;
	spdy_reply(current, id, n % 2, &e);
}

static void on_data(void *arg, uint32_t id, const uint8_t *p, size_t n)
{
	struct err e;
	(void)arg;
	if (!id)
		abort();
	if (n)
		spdy_data(current, id, p, n, false, &e);
}

static void on_id(void *arg, uint32_t id)
{
	(void)arg;
	if (!id)
		abort();
}

static void on_window(void *arg, uint32_t id, uint32_t delta)
{
	(void)arg, (void)id, (void)delta;
}

static void on_settings(void *arg, int64_t window)
{
	(void)arg, (void)window;
}

static void on_goaway(void *arg)
{
	(void)arg;
}

static const struct spdy_events events = {on_open,   on_data,     on_id,    on_id,
					  on_window, on_settings, on_goaway};

static size_t pack_block(const uint8_t *data, size_t size, uint8_t *frame, size_t room)
{
	z_stream z = {0};
	deflateInit(&z, 1);
	deflateSetDictionary(&z, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_SIZE);
	memset(frame, 0, 18);
	frame[0] = 0x80;
	frame[1] = VERSION_3;
	frame[3] = SYN_STREAM;
	frame[11] = 1;
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)size;
	z.next_out = frame + 18;
	z.avail_out = (uInt)(room - 18);
	deflate(&z, Z_SYNC_FLUSH);
	size_t n = room - z.avail_out;
	deflateEnd(&z);
	put32(frame + 4, (uint32_t)n - 8);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[1 << 17];
	struct spdy s;
	struct err e;
	int r = 0;
	if (size < 1 || size > 1 << 16)
		return 0;
	size_t piece = (data[0] & 0x7f) + 1u;
	bool block = data[0] & 0x80;
	data++;
	size--;
	if (block) {
		size = pack_block(data, size, frame, sizeof frame);
		data = frame;
	}
	out = BUF_INIT(1 << 20);
	current = &s;
	spdy_init(&s, &events, NULL, &out);
	for (size_t at = 0; at < size && r == 0; at += piece)
		r = spdy_feed(&s, data + at, size - at < piece ? size - at : piece, &e);
	spdy_release(&s);
	buf_release(&out);
	return 0;
}
