/* SPDX-License-Identifier: Apache-2.0 */
#include "skeleton.h"

#include "pbjson.h"

#include <string.h>

static json_t *message(const ProtobufCMessageDescriptor *d, int depth);

static json_t *value(const ProtobufCFieldDescriptor *f, int depth)
{
	const ProtobufCEnumDescriptor *names;
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return message(f->descriptor, depth + 1);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		return json_string("");
	case PROTOBUF_C_TYPE_BOOL:
		return json_false();
	case PROTOBUF_C_TYPE_ENUM:
		names = f->descriptor;
		return json_string(names->values[0].name);
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(0);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer(0);
	}
	return json_null();
}

static json_t *message(const ProtobufCMessageDescriptor *d, int depth)
{
	json_t *out = json_object();
	for (unsigned i = 0; i < d->n_fields && depth < PBJSON_MAX_DEPTH; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		json_t *v;
		if (f->flags & PROTOBUF_C_FIELD_FLAG_DEPRECATED || strcmp(f->name, "windows") == 0)
			continue;
		if (pbjson_map_entry(d, f))
			v = json_object();
		else if (f->label != PROTOBUF_C_LABEL_REPEATED)
			v = value(f, depth);
		else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			v = json_pack("[o]", value(f, depth));
		else
			v = json_array();
		json_object_set_new(out, f->name, v);
	}
	return out;
}

json_t *skeleton(const ProtobufCMessageDescriptor *d)
{
	return message(d, 0);
}
