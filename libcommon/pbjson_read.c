/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "base64.h"
#include "jsonx.h"
#include "pbjson.h"
#include "pbjson_path.h"
#include "xalloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The fields that a message has already, one bit each. */
enum { MAX_FIELDS = 64 };

static ProtobufCMessage *read_message(struct pbjson_walk *w, const ProtobufCMessageDescriptor *d,
				      json_t *j);

static int mistyped(struct pbjson_walk *w, const char *expected, const json_t *j)
{
	return pbjson_fail(w, "expected %s, found %s", expected, jsonx_type_name(json_typeof(j)));
}

/* Decimal digits, nothing else: no blanks, no plus sign, no leading zeros that hint at octal. */
static bool is_decimal(const char *s)
{
	if (*s == '-')
		s++;
	size_t n = strspn(s, "0123456789");
	return n > 0 && s[n] == '\0' && (n == 1 || *s != '0');
}

static int read_signed(struct pbjson_walk *w, const json_t *j, int64_t min, int64_t max,
		       int64_t *out)
{
	if (json_is_integer(j)) {
		*out = json_integer_value(j);
	} else if (json_is_string(j) && is_decimal(json_string_value(j))) {
		errno = 0;
		*out = strtoll(json_string_value(j), NULL, 10);
		if (errno)
			return pbjson_fail(w, "%.24s is out of range", json_string_value(j));
	} else if (json_is_real(j) && json_real_value(j) == trunc(json_real_value(j)) &&
		   fabs(json_real_value(j)) <= 0x1p53) {
		*out = (int64_t)json_real_value(j);
	} else {
		return mistyped(w, "integer", j);
	}
	if (*out < min || *out > max)
		return pbjson_fail(w, "%" PRId64 " is out of range", *out);
	return 0;
}

static int read_unsigned(struct pbjson_walk *w, const json_t *j, uint64_t max, uint64_t *out)
{
	const char *s = json_string_value(j);
	int64_t n;
	if (s && is_decimal(s) && *s != '-') {
		errno = 0;
		*out = strtoull(s, NULL, 10);
		if (errno || *out > max)
			return pbjson_fail(w, "%.24s is out of range", s);
		return 0;
	}
	if (read_signed(w, j, 0, INT64_MAX, &n) < 0)
		return -1;
	if ((uint64_t)n > max)
		return pbjson_fail(w, "%" PRId64 " is out of range", n);
	*out = (uint64_t)n;
	return 0;
}

static int read_double(struct pbjson_walk *w, const json_t *j, double *out)
{
	static const struct {
		const char *name;
		double value;
	} special[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
	if (json_is_number(j)) {
		*out = json_number_value(j);
		return 0;
	}
	for (size_t i = 0; json_is_string(j) && i < ARRAY_LEN(special); i++) {
		if (strcmp(special[i].name, json_string_value(j)) == 0) {
			*out = special[i].value;
			return 0;
		}
	}
	return mistyped(w, "number", j);
}

static const ProtobufCEnumValue *enum_by_name(const ProtobufCEnumDescriptor *d, const char *name)
{
	char with_prefix[64];
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(d, name);
	if (v || strcmp(d->name, "runtime.v1.Signal") != 0)
		return v;
	snprintf(with_prefix, sizeof with_prefix, "SIGNAL_%s", name);
	return protobuf_c_enum_descriptor_get_value_by_name(d, with_prefix);
}

static int read_enum(struct pbjson_walk *w, const ProtobufCEnumDescriptor *d, const json_t *j,
		     int *out)
{
	int64_t n;
	if (!json_is_string(j)) {
		if (!json_is_integer(j))
			return mistyped(w, "name", j);
		if (read_signed(w, j, INT32_MIN, INT32_MAX, &n) < 0)
			return -1;
		*out = (int)n;
		return 0;
	}
	const ProtobufCEnumValue *v = enum_by_name(d, json_string_value(j));
	if (v) {
		*out = v->value;
		return 0;
	}
	char names[256] = "";
	size_t len = 0;
	for (unsigned i = 0; i < d->n_values && len < sizeof names - 48; i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "%s%.40s", i ? ", " : "",
					d->values[i].name);
	return pbjson_fail(w, "'%.64s' is not one of %s%s", json_string_value(j), names,
			   len < sizeof names - 48 ? "" : ", ...");
}

static int read_string(struct pbjson_walk *w, const json_t *j, char **out)
{
	if (!json_is_string(j))
		return mistyped(w, "string", j);
	if (strlen(json_string_value(j)) != json_string_length(j))
		return pbjson_fail(w, "NUL in a string");
	*out = xstrdup(json_string_value(j));
	return 0;
}

static int read_bytes(struct pbjson_walk *w, json_t *j, ProtobufCBinaryData *out)
{
	const json_t *coded = json_object_get(j, "base64");
	if (json_is_string(j)) {
		out->len = json_string_length(j);
		out->data = out->len ? xmalloc(out->len) : NULL;
		if (out->len)
			memcpy(out->data, json_string_value(j), out->len);
		return 0;
	}
	if (!json_is_string(coded) || json_object_size(j) != 1)
		return json_is_object(j)
			       ? pbjson_fail(w, "expected string or {\"base64\": \"...\"}")
			       : mistyped(w, "string", j);
	if (base64_decode(json_string_value(coded), json_string_length(coded), &out->data,
			  &out->len) < 0)
		return pbjson_fail(w, "not base64");
	return 0;
}

static int read_int32(struct pbjson_walk *w, const json_t *j, int32_t *out)
{
	int64_t n;
	if (read_signed(w, j, INT32_MIN, INT32_MAX, &n) < 0)
		return -1;
	*out = (int32_t)n;
	return 0;
}

static int read_uint32(struct pbjson_walk *w, const json_t *j, uint32_t *out)
{
	uint64_t n;
	if (read_unsigned(w, j, UINT32_MAX, &n) < 0)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

static int read_float(struct pbjson_walk *w, const json_t *j, float *out)
{
	double n;
	if (read_double(w, j, &n) < 0)
		return -1;
	*out = (float)n;
	return 0;
}

static int read_bool(struct pbjson_walk *w, const json_t *j, protobuf_c_boolean *out)
{
	if (!json_is_boolean(j))
		return mistyped(w, "boolean", j);
	*out = json_is_true(j);
	return 0;
}

/* One value of f's type to *out, which is as message_init or calloc left it. */
static int read_value(struct pbjson_walk *w, const ProtobufCFieldDescriptor *f, json_t *j,
		      void *out)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return read_int32(w, j, out);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return read_uint32(w, j, out);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return read_signed(w, j, INT64_MIN, INT64_MAX, out);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return read_unsigned(w, j, UINT64_MAX, out);
	case PROTOBUF_C_TYPE_FLOAT:
		return read_float(w, j, out);
	case PROTOBUF_C_TYPE_DOUBLE:
		return read_double(w, j, out);
	case PROTOBUF_C_TYPE_BOOL:
		return read_bool(w, j, out);
	case PROTOBUF_C_TYPE_ENUM:
		return read_enum(w, f->descriptor, j, out);
	case PROTOBUF_C_TYPE_STRING:
		return read_string(w, j, out);
	case PROTOBUF_C_TYPE_BYTES:
		return read_bytes(w, j, out);
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)out = read_message(w, f->descriptor, j);
		return *(ProtobufCMessage **)out ? 0 : -1;
	}
	return pbjson_fail(w, "a type that is not known here");
}

/* The count grows with the elements, so that a half-read list can be freed with its message. */
static int read_list(struct pbjson_walk *w, const ProtobufCFieldDescriptor *f, const json_t *j,
		     size_t *count, char **list)
{
	size_t size = pbjson_value_size(f->type), n = json_array_size(j);
	if (!json_is_array(j))
		return mistyped(w, "array", j);
	if (n == 0)
		return 0;
	*list = xcalloc(n, size);
	for (size_t i = 0; i < n; i++) {
		size_t former = pbjson_enter_index(w, i);
		if (read_value(w, f, json_array_get(j, i), *list + i * size) < 0)
			return -1;
		*count = i + 1;
		w->len = former;
	}
	return 0;
}

static ProtobufCMessage *read_entry(struct pbjson_walk *w, const ProtobufCMessageDescriptor *d,
				    const char *key, json_t *value)
{
	AUTO_PB ProtobufCMessage *m = xcalloc(1, d->sizeof_message);
	AUTO_JSON json_t *k = json_string(key);
	protobuf_c_message_init(d, m);
	/* Number keys are strings in JSON, and integers are read from strings. */
	if (d->fields[0].type == PROTOBUF_C_TYPE_BOOL)
		return pbjson_fail(w, "maps with boolean keys are not supported"), NULL;
	if (read_value(w, &d->fields[0], k, (char *)m + d->fields[0].offset) < 0 ||
	    read_value(w, &d->fields[1], value, (char *)m + d->fields[1].offset) < 0)
		return NULL;
	return TAKE(m);
}

static int read_map(struct pbjson_walk *w, const ProtobufCMessageDescriptor *entry, json_t *j,
		    size_t *count, ProtobufCMessage ***list)
{
	const char *key;
	json_t *value;
	if (!json_is_object(j))
		return mistyped(w, "object", j);
	if (json_object_size(j) == 0)
		return 0;
	*list = xcalloc(json_object_size(j), sizeof(ProtobufCMessage *));
	json_object_foreach (j, key, value) {
		size_t former = pbjson_enter_key(w, key);
		ProtobufCMessage *m = read_entry(w, entry, key, value);
		if (!m)
			return -1;
		(*list)[(*count)++] = m;
		w->len = former;
	}
	return 0;
}

static int read_field(struct pbjson_walk *w, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
		      json_t *j)
{
	char *at = (char *)m + f->offset;
	void *quantifier = (char *)m + f->quantifier_offset;
	const ProtobufCMessageDescriptor *entry = pbjson_map_entry(m->descriptor, f);
	if (entry)
		return read_map(w, entry, j, quantifier, (ProtobufCMessage ***)(void *)at);
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return read_list(w, f, j, quantifier, (char **)(void *)at);
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		if (*(uint32_t *)quantifier)
			return pbjson_fail(w, "excludes another field that is set");
		/* The members share their place: what message_init left there is another's. */
		memset(at, 0, pbjson_value_size(f->type));
		if (read_value(w, f, j, at) < 0)
			return -1;
		*(uint32_t *)quantifier = f->id;
		return 0;
	}
	if (read_value(w, f, j, at) < 0)
		return -1;
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
	    f->type != PROTOBUF_C_TYPE_MESSAGE)
		*(protobuf_c_boolean *)quantifier = true;
	return 0;
}

static int read_fields(struct pbjson_walk *w, ProtobufCMessage *m, json_t *j)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	uint64_t seen = 0;
	const char *key;
	json_t *value;
	json_object_foreach (j, key, value) {
		const ProtobufCFieldDescriptor *f = pbjson_field(d, key);
		size_t former = pbjson_enter_field(w, key);
		if (!f)
			return pbjson_fail(w, "unknown key");
		uint64_t bit = UINT64_C(1) << (f - d->fields);
		if (seen & bit)
			return pbjson_fail(w, "given twice");
		seen |= bit;
		if (!json_is_null(value) && read_field(w, m, f, value) < 0)
			return -1;
		w->len = former;
	}
	return 0;
}

static ProtobufCMessage *read_message(struct pbjson_walk *w, const ProtobufCMessageDescriptor *d,
				      json_t *j)
{
	if (!json_is_object(j))
		return mistyped(w, "object", j), NULL;
	if (w->depth >= PBJSON_MAX_DEPTH)
		return pbjson_fail(w, "nested too deep"), NULL;
	if (d->n_fields > MAX_FIELDS)
		return pbjson_fail(w, "more fields than are supported"), NULL;
	AUTO_PB ProtobufCMessage *m = xcalloc(1, d->sizeof_message);
	protobuf_c_message_init(d, m);
	w->depth++;
	if (read_fields(w, m, j) < 0)
		return NULL;
	w->depth--;
	return TAKE(m);
}

ProtobufCMessage *pbjson_read(const ProtobufCMessageDescriptor *d, json_t *j, const char *what,
			      struct err *e)
{
	struct pbjson_walk w = {.what = what, .e = e};
	return read_message(&w, d, j);
}
