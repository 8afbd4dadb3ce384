/* SPDX-License-Identifier: Apache-2.0 */
#include "edit.h"

#include "auto.h"
#include "jsonx.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 32, NODES_MAX = 100000, KEY_MAX = 4096 };

struct reader {
	yaml_parser_t parser;
	const char *what;
	struct err *e;
	int depth;
	size_t nodes;
};

static json_t *fail(struct reader *r, const yaml_event_t *ev, const char *text)
{
	return err_set_p(r->e, ERR_BAD_INPUT, "%s: line %zu: %s", r->what, ev->start_mark.line + 1,
			 text);
}

/* The core schema, as far as CDI has use for it: null, booleans, integers; all else is text. */
static json_t *plain_scalar(const char *s)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const yes[] = {"true", "True", "TRUE"};
	static const char *const no[] = {"false", "False", "FALSE"};
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
		if (strcmp(s, nulls[i]) == 0)
			return json_null();
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0)
			return json_boolean(strcmp(s, yes[i]) == 0);
	const char *digits = s + (*s == '-' || *s == '+');
	char *end;
	int base = 10;
	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
		base = digits[1] == 'x' ? 16 : 8;
		digits += 2;
	}
	/* YAML 1.1's octal, which is what Go's reader of these files makes of a leading 0. */
	else if (digits[0] == '0' && digits[1])
		base = 8;
	if (*digits < '0' || strlen(digits) > 18)
		return json_string(s);
	errno = 0;
	long long n = strtoll(digits, &end, base);
	if (*end || errno || strchr("+-", *digits))
		return json_string(s);
	return json_integer(*s == '-' ? -n : n);
}

static json_t *read_node(struct reader *r, yaml_event_t *ev);

static bool next(struct reader *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev))
		return true;
	err_set(r->e, ERR_BAD_INPUT, "%s: line %zu: %s", r->what, r->parser.problem_mark.line + 1,
		r->parser.problem ? r->parser.problem : "not YAML");
	return false;
}

static json_t *read_scalar(struct reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	if (strlen(s) != ev->data.scalar.length)
		return fail(r, ev, "a NUL in a text");
	if (ev->data.scalar.tag && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return fail(r, ev, "tags are not supported");
	json_t *j =
		ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(s) : json_string(s);
	return j ? j : fail(r, ev, "not UTF-8");
}

static json_t *read_list(struct reader *r)
{
	AUTO_JSON json_t *out = json_array();
	yaml_event_t ev;
	while (next(r, &ev)) {
		bool end = ev.type == YAML_SEQUENCE_END_EVENT;
		json_t *item = end ? NULL : read_node(r, &ev);
		yaml_event_delete(&ev);
		if (end)
			return TAKE(out);
		if (!item)
			return NULL;
		json_array_append_new(out, item);
	}
	return NULL;
}

/* The value of a key that has been read; 0 or -1. */
static int read_member(struct reader *r, json_t *out, const yaml_event_t *key_event)
{
	yaml_event_t ev;
	const char *key = (const char *)key_event->data.scalar.value;
	if (key_event->type != YAML_SCALAR_EVENT || key_event->data.scalar.length > KEY_MAX) {
		fail(r, key_event, "a key that is not a word");
		return -1;
	}
	if (json_object_get(out, key)) {
		fail(r, key_event, "a key that comes twice");
		return -1;
	}
	if (!next(r, &ev))
		return -1;
	json_t *v = read_node(r, &ev);
	yaml_event_delete(&ev);
	if (v && json_object_set_new(out, key, v) < 0)
		fail(r, key_event, "not UTF-8"), v = NULL;
	return v ? 0 : -1;
}

static json_t *read_map(struct reader *r)
{
	AUTO_JSON json_t *out = json_object();
	yaml_event_t ev;
	while (next(r, &ev)) {
		bool end = ev.type == YAML_MAPPING_END_EVENT;
		int n = end ? 0 : read_member(r, out, &ev);
		yaml_event_delete(&ev);
		if (end)
			return TAKE(out);
		if (n < 0)
			return NULL;
	}
	return NULL;
}

static json_t *read_node(struct reader *r, yaml_event_t *ev)
{
	json_t *j = NULL;
	if (++r->nodes > NODES_MAX || r->depth >= DEPTH_MAX)
		return fail(r, ev, "too large or nested too deep");
	r->depth++;
	if (ev->type == YAML_SCALAR_EVENT)
		j = read_scalar(r, ev);
	else if (ev->type == YAML_SEQUENCE_START_EVENT)
		j = read_list(r);
	else if (ev->type == YAML_MAPPING_START_EVENT)
		j = read_map(r);
	else
		fail(r, ev, "anchors and aliases are not supported");
	r->depth--;
	return j;
}

/* Up to the node that a document consists of, then what must follow it. */
static json_t *read_document(struct reader *r)
{
	AUTO_JSON json_t *out = NULL;
	yaml_event_t ev;
	while (next(r, &ev)) {
		yaml_event_type_t type = ev.type;
		bool frame = type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
			     type == YAML_DOCUMENT_END_EVENT;
		bool again = out && type == YAML_DOCUMENT_START_EVENT;
		if (again)
			fail(r, &ev, "more than one document");
		else if (!frame && type != YAML_STREAM_END_EVENT)
			again = !(out = read_node(r, &ev));
		yaml_event_delete(&ev);
		if (again)
			return NULL;
		if (type == YAML_STREAM_END_EVENT)
			return out ? TAKE(out)
				   : err_set_p(r->e, ERR_BAD_INPUT, "%s: empty", r->what);
	}
	return NULL;
}

json_t *yaml_to_json(const char *text, size_t len, const char *what, struct err *e)
{
	struct reader r = {.what = what, .e = e};
	if (!yaml_parser_initialize(&r.parser))
		return err_set_p(e, ERR_FAILED, "%s: no memory for the YAML reader", what);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	json_t *j = read_document(&r);
	yaml_parser_delete(&r.parser);
	return j;
}
