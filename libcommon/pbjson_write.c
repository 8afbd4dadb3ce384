/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "base64.h"
#include "jsonx.h"
#include "pbjson.h"
#include "pbjson_path.h"
#include "utf8.h"
#include "xalloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Beyond this, parsers that hold numbers as doubles (jq, JavaScript) round. */
#define EXACT_MAX (INT64_C(1) << 53)

static json_t *write_message(struct pbjson_walk *w, const ProtobufCMessage *m);

static json_t *checked(struct pbjson_walk *w, json_t *j)
{
	if (!j)
		err_set(w->e, ERR_EXHAUSTED, "%s: out of memory", w->what);
	return j;
}

/* Takes over the value; NULL means that it failed already. */
static int set(struct pbjson_walk *w, json_t *object, const char *key, json_t *value)
{
	if (!value)
		return -1;
	if (json_object_set_new(object, key, value) < 0)
		return err_set(w->e, ERR_EXHAUSTED, "%s: out of memory", w->what);
	return 0;
}

static json_t *write_signed(struct pbjson_walk *w, int64_t n)
{
	char text[24];
	if (n >= -EXACT_MAX && n <= EXACT_MAX)
		return checked(w, json_integer(n));
	snprintf(text, sizeof text, "%" PRId64, n);
	return checked(w, json_string(text));
}

static json_t *write_unsigned(struct pbjson_walk *w, uint64_t n)
{
	char text[24];
	if (n <= (uint64_t)EXACT_MAX)
		return checked(w, json_integer((json_int_t)n));
	snprintf(text, sizeof text, "%" PRIu64, n);
	return checked(w, json_string(text));
}

static json_t *write_double(struct pbjson_walk *w, double n)
{
	if (isnan(n))
		return checked(w, json_string("NaN"));
	if (isinf(n))
		return checked(w, json_string(n > 0 ? "Infinity" : "-Infinity"));
	return checked(w, json_real(n));
}

static json_t *write_enum(struct pbjson_walk *w, const ProtobufCEnumDescriptor *d, int n)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, n);
	return checked(w, v ? json_string(v->name) : json_integer(n));
}

static json_t *write_string(struct pbjson_walk *w, const char *s)
{
	if (!s)
		s = "";
	if (!utf8_valid(s, strlen(s)))
		return pbjson_fail(w, "not UTF-8"), NULL;
	return checked(w, json_string(s));
}

static json_t *write_bytes(struct pbjson_walk *w, const ProtobufCBinaryData *b)
{
	const char *text = b->len ? (const char *)b->data : "";
	if (utf8_valid(text, b->len) && !memchr(text, '\0', b->len))
		return checked(w, json_stringn(text, b->len));
	AUTO_FREE char *coded = base64_encode(b->data, b->len);
	return checked(w, json_pack("{s:s}", "base64", coded));
}

static json_t *write_value(struct pbjson_walk *w, const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return write_signed(w, *(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return write_unsigned(w, *(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return write_signed(w, *(const int64_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return write_unsigned(w, *(const uint64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return write_double(w, *(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return write_double(w, *(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return checked(w, json_boolean(*(const protobuf_c_boolean *)at));
	case PROTOBUF_C_TYPE_ENUM:
		return write_enum(w, f->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return write_string(w, *(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return write_bytes(w, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return write_message(w, *(ProtobufCMessage *const *)at);
	}
	return pbjson_fail(w, "a type that is not known here"), NULL;
}

static json_t *write_list(struct pbjson_walk *w, const ProtobufCFieldDescriptor *f, size_t n,
			  const char *list)
{
	size_t size = pbjson_value_size(f->type);
	AUTO_JSON json_t *out = checked(w, json_array());
	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t former = pbjson_enter_index(w, i);
		json_t *v = write_value(w, f, list + i * size);
		if (!v)
			return NULL;
		if (json_array_append_new(out, v) < 0)
			return checked(w, NULL);
		w->len = former;
	}
	return TAKE(out);
}

/* An entry's key as JSON has it: a string, whatever its type. */
struct map_item {
	char *key;
	size_t at; /* where it stood: of equal keys the last one counts, as on the wire */
	const ProtobufCMessage *entry;
};

static int map_order(const void *pa, const void *pb)
{
	const struct map_item *a = pa, *b = pb;
	int c = strcmp(a->key, b->key);
	return c ? c : (a->at > b->at) - (a->at < b->at);
}

static char *map_key(struct pbjson_walk *w, const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *f = &entry->descriptor->fields[0];
	AUTO_JSON json_t *j = write_value(w, f, (const char *)entry + f->offset);
	if (!j)
		return NULL;
	return json_is_string(j) ? xstrdup(json_string_value(j)) : json_dumps(j, JSON_ENCODE_ANY);
}

static int write_items(struct pbjson_walk *w, const struct map_item *items, size_t n, json_t *out)
{
	for (size_t i = 0; i < n; i++) {
		const ProtobufCFieldDescriptor *f = &items[i].entry->descriptor->fields[1];
		size_t former = pbjson_enter_key(w, items[i].key);
		if (set(w, out, items[i].key,
			write_value(w, f, (const char *)items[i].entry + f->offset)) < 0)
			return -1;
		w->len = former;
	}
	return 0;
}

static json_t *write_map(struct pbjson_walk *w, size_t n, ProtobufCMessage *const *list)
{
	AUTO_JSON json_t *out = checked(w, json_object());
	AUTO_FREE struct map_item *items = xcalloc(n + 1, sizeof *items);
	size_t made = 0;
	for (; out && made < n; made++) {
		items[made].at = made;
		items[made].entry = list[made];
		items[made].key = map_key(w, list[made]);
		if (!items[made].key)
			break;
	}
	bool complete = out && made == n;
	if (complete) {
		qsort(items, n, sizeof *items, map_order);
		complete = write_items(w, items, n, out) == 0;
	}
	for (size_t i = 0; i < made; i++)
		free(items[i].key);
	return complete ? TAKE(out) : NULL;
}

/* Whether a single field has a value that the wire would carry. */
static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	static const ProtobufCBinaryData zero;
	const char *at = (const char *)m + f->offset;
	const void *quantifier = (const char *)m + f->quantifier_offset;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)quantifier == f->id;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(ProtobufCMessage *const *)(const void *)at != NULL;
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		const char *s = *(char *const *)(const void *)at;
		return f->label == PROTOBUF_C_LABEL_NONE ? s && *s : s && s != f->default_value;
	}
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL)
		return *(const protobuf_c_boolean *)quantifier;
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)(const void *)at)->len != 0;
	return memcmp(at, &zero, pbjson_value_size(f->type)) != 0;
}

static bool is_omitted(const struct pbjson_walk *w, const ProtobufCMessage *m,
		       const ProtobufCFieldDescriptor *f)
{
	bool all = w->flags & PBJSON_ALL;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return !all &&
		       *(const size_t *)(const void *)((const char *)m + f->quantifier_offset) == 0;
	if (is_set(m, f))
		return false;
	return !all || f->label != PROTOBUF_C_LABEL_NONE || f->type == PROTOBUF_C_TYPE_MESSAGE ||
	       f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static json_t *write_field(struct pbjson_walk *w, const ProtobufCMessage *m,
			   const ProtobufCFieldDescriptor *f)
{
	const void *at = (const char *)m + f->offset;
	const size_t *count = (const void *)((const char *)m + f->quantifier_offset);
	if (pbjson_map_entry(m->descriptor, f))
		return write_map(w, *count, *(ProtobufCMessage *const *const *)at);
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return write_list(w, f, *count, *(const char *const *)at);
	return write_value(w, f, at);
}

static json_t *write_message(struct pbjson_walk *w, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	if (w->depth >= PBJSON_MAX_DEPTH)
		return pbjson_fail(w, "nested too deep"), NULL;
	AUTO_JSON json_t *out = checked(w, json_object());
	if (!out)
		return NULL;
	w->depth++;
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		if (is_omitted(w, m, f))
			continue;
		size_t former = pbjson_enter_field(w, f->name);
		if (set(w, out, f->name, write_field(w, m, f)) < 0)
			return NULL;
		w->len = former;
	}
	w->depth--;
	return TAKE(out);
}

json_t *pbjson_write(const ProtobufCMessage *m, int flags, struct err *e)
{
	struct pbjson_walk w = {.what = m->descriptor->short_name, .e = e, .flags = flags};
	return write_message(&w, m);
}
