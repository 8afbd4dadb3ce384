/* SPDX-License-Identifier: Apache-2.0 */
#include "pbjson.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <ctype.h>
#include <string.h>

void pbjson_free(ProtobufCMessage *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

/* Equal but for case and underscores. */
static bool same_key(const char *a, const char *b)
{
	for (;;) {
		while (*a == '_')
			a++;
		while (*b == '_')
			b++;
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		if (*a == '\0')
			return true;
		a++, b++;
	}
}

const ProtobufCFieldDescriptor *pbjson_field(const ProtobufCMessageDescriptor *d, const char *key)
{
	for (unsigned i = 0; i < d->n_fields; i++)
		if (same_key(d->fields[i].name, key))
			return &d->fields[i];
	return NULL;
}

/* protobuf-c does not carry the map_entry option; but the compiler makes such entries in one form
 * only, and refuses a message that a person would give the same name. */
const ProtobufCMessageDescriptor *pbjson_map_entry(const ProtobufCMessageDescriptor *d,
						   const ProtobufCFieldDescriptor *f)
{
	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return NULL;
	const ProtobufCMessageDescriptor *m = f->descriptor;
	size_t outer = strlen(d->name), len = strlen(f->name), full = strlen(m->short_name);
	if (strncmp(m->name, d->name, outer) != 0 || m->name[outer] != '.')
		return NULL;
	if (m->n_fields != 2 || strcmp(m->fields[0].name, "key") != 0 ||
	    strcmp(m->fields[1].name, "value") != 0)
		return NULL;
	/* label_selector -> LabelSelectorEntry */
	const char *s = m->short_name;
	for (size_t i = 0; i < len; i++)
		if (f->name[i] != '_' &&
		    tolower((unsigned char)*s++) != tolower((unsigned char)f->name[i]))
			return NULL;
	return full >= 5 && strcmp(s, "Entry") == 0 ? m : NULL;
}

ProtobufCMessage *pbjson_parse(const ProtobufCMessageDescriptor *d, const char *text, size_t len,
			       const char *what, struct err *e)
{
	if (len > PBJSON_TEXT_MAX)
		return err_set_p(e, ERR_BAD_INPUT, "%s: larger than %d bytes", what,
				 PBJSON_TEXT_MAX);
	AUTO_JSON json_t *j = jsonx_parse(text, len, what, e);
	return j ? pbjson_read(d, j, what, e) : NULL;
}

ProtobufCMessage *pbjson_load(const ProtobufCMessageDescriptor *d, const char *operand,
			      struct err *e)
{
	const char *what = strcmp(operand, "-") == 0 ? "standard input" : operand;
	AUTO_BUF struct buf b = BUF_INIT(PBJSON_TEXT_MAX);
	if (fs_read_operand(operand, &b, e) < 0)
		return NULL;
	return pbjson_parse(d, b.data ? b.data : "", b.len, what, e);
}

char *pbjson_dump(const ProtobufCMessage *m, int flags, size_t *len, struct err *e)
{
	AUTO_JSON json_t *j = pbjson_write(m, flags, e);
	if (!j)
		return NULL;
	char *text = json_dumps(j, flags & PBJSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT);
	if (!text)
		return err_set_p(e, ERR_EXHAUSTED, "%s: out of memory", m->descriptor->short_name);
	if (len)
		*len = strlen(text);
	return text;
}
