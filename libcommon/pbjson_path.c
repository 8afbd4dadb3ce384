/* SPDX-License-Identifier: Apache-2.0 */
#include "pbjson_path.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static size_t extend(struct pbjson_walk *w, const char *fmt,
							   ...)
{
	size_t former = w->len, room = sizeof w->path - w->len;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(w->path + w->len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		w->len += (size_t)n < room ? (size_t)n : room - 1;
	return former;
}

size_t pbjson_enter_field(struct pbjson_walk *w, const char *name)
{
	return extend(w, "%s%s", w->len ? "." : "", name);
}

size_t pbjson_enter_index(struct pbjson_walk *w, size_t i)
{
	return extend(w, "[%zu]", i);
}

size_t pbjson_enter_key(struct pbjson_walk *w, const char *key)
{
	return extend(w, "[\"%s\"]", key);
}

int pbjson_fail(struct pbjson_walk *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(w->e, ERR_BAD_INPUT, "%s: %.*s%s%s", w->what, (int)w->len, w->path,
		       w->len ? ": " : "", text);
}

size_t pbjson_value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return sizeof(int32_t);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return sizeof(int64_t);
	case PROTOBUF_C_TYPE_FLOAT:
		return sizeof(float);
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(double);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	}
	return sizeof(void *);
}
