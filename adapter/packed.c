/* SPDX-License-Identifier: Apache-2.0 */
#include "packed.h"

#include "auto.h"
#include "xalloc.h"

#include <string.h>

enum { LENGTH_MAX = 10, ELEMENT_FIELD = 1 };

/* At out, which has LENGTH_MAX bytes more than the message's size; how many were written. */
static size_t write_element(const ProtobufCMessage *m, size_t size, uint8_t *out)
{
	size_t n = 0;
	for (size_t left = size;; left >>= 7) {
		out[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
		if (left <= 0x7f)
			break;
	}
	protobuf_c_message_pack(m, out + n);
	return n + size;
}

uint8_t *packed_element(const ProtobufCMessage *m, size_t *len)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	uint8_t *out = xmalloc(size + LENGTH_MAX);
	*len = write_element(m, size, out);
	return xrealloc(out, *len);
}

uint8_t *packed_in(const ProtobufCMessage *m, struct arena *a, size_t *len)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	uint8_t *out = arena_alloc(a, size + LENGTH_MAX);
	*len = write_element(m, size, out);
	return out;
}

void packed_append(ProtobufCMessage *reply, struct arena *a, size_t cap, uint8_t *data, size_t len)
{
	if (!reply->unknown_fields)
		reply->unknown_fields = arena_alloc(a, (cap + 1) * sizeof *reply->unknown_fields);
	reply->unknown_fields[reply->n_unknown_fields++] = (ProtobufCMessageUnknownField){
		.tag = ELEMENT_FIELD,
		.wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
		.len = len,
		.data = data,
	};
}

ProtobufCMessage *packed_copy(const ProtobufCMessage *m, struct arena *a)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	AUTO_FREE uint8_t *bytes = xmalloc(size + 1);
	protobuf_c_message_pack(m, bytes);
	return protobuf_c_message_unpack(m->descriptor, arena_pb(a), size, bytes);
}
