/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and messages; the client is in ttrpc_client.c. */
#include "ttrpc.h"

#include "shim.pb-c.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

static void write_u32(uint8_t *p, uint32_t n)
{
	p[0] = (uint8_t)(n >> 24);
	p[1] = (uint8_t)(n >> 16);
	p[2] = (uint8_t)(n >> 8);
	p[3] = (uint8_t)n;
}

static uint32_t read_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void ttrpc_header_write(uint8_t h[TTRPC_HEADER_LEN], size_t len, uint32_t stream,
			enum ttrpc_type type)
{
	write_u32(h, (uint32_t)len);
	write_u32(h + 4, stream);
	h[8] = (uint8_t)type;
	h[9] = 0;
}

void ttrpc_deframer_init(struct ttrpc_deframer *d)
{
	*d = (struct ttrpc_deframer){.data = BUF_INIT(TTRPC_DATA_MAX)};
}

static int take_header(struct ttrpc_deframer *d, const uint8_t **data, size_t *len, struct err *e)
{
	size_t n = TTRPC_HEADER_LEN - d->have < *len ? TTRPC_HEADER_LEN - d->have : *len;
	memcpy(d->header + d->have, *data, n);
	d->have += n;
	*data += n;
	*len -= n;
	if (d->have < TTRPC_HEADER_LEN)
		return 0;
	d->want = read_u32(d->header);
	d->stream = read_u32(d->header + 4);
	d->type = d->header[8];
	d->flags = d->header[9];
	if (d->want > TTRPC_DATA_MAX)
		return err_set(e, ERR_EXHAUSTED, "a frame of %zu bytes: more than ttrpc allows",
			       d->want);
	return 1;
}

int ttrpc_deframe(struct ttrpc_deframer *d, const uint8_t **data, size_t *len, struct err *e)
{
	if (d->is_done) {
		buf_clear(&d->data);
		d->have = 0;
		d->is_done = false;
	}
	if (d->have < TTRPC_HEADER_LEN) {
		int r = take_header(d, data, len, e);
		if (r <= 0)
			return r;
	}
	size_t n = d->want - d->data.len < *len ? d->want - d->data.len : *len;
	if (n && buf_add(&d->data, *data, n, e) < 0)
		return -1;
	*data += n;
	*len -= n;
	d->is_done = d->data.len == d->want;
	return d->is_done;
}

bool ttrpc_deframer_is_within(const struct ttrpc_deframer *d)
{
	return d->have > 0 && !d->is_done;
}

void ttrpc_deframer_release(struct ttrpc_deframer *d)
{
	buf_release(&d->data);
}

uint8_t *ttrpc_pack(const ProtobufCMessage *m, size_t *len, struct err *e)
{
	*len = protobuf_c_message_get_packed_size(m);
	if (*len > TTRPC_DATA_MAX)
		return err_set_p(e, ERR_EXHAUSTED, "a message of %zu bytes: more than ttrpc allows",
				 *len);
	uint8_t *out = xmalloc(*len + 1);
	protobuf_c_message_pack(m, out);
	return out;
}

int ttrpc_add_response(struct buf *out, uint32_t stream, int code, const char *words,
		       const ProtobufCMessage *m, struct err *e)
{
	uint8_t header[TTRPC_HEADER_LEN];
	size_t payload_len = 0, len;
	Shim__Response r = SHIM__RESPONSE__INIT;
	Shim__Status status = SHIM__STATUS__INIT;
	uint8_t *payload = code ? NULL : ttrpc_pack(m, &payload_len, e);
	if (!code && !payload)
		return -1;
	status.code = code;
	status.message = (char *)words;
	if (code)
		r.status = &status;
	r.payload = (ProtobufCBinaryData){.len = payload_len, .data = payload};
	uint8_t *text = ttrpc_pack(&r.base, &len, e);
	free(payload);
	if (!text)
		return -1;
	ttrpc_header_write(header, len, stream, TTRPC_RESPONSE);
	int added = buf_add(out, header, sizeof header, e) < 0 ? -1 : buf_add(out, text, len, e);
	free(text);
	return added;
}
