/* SPDX-License-Identifier: Apache-2.0 */
#include "yamljson.h"

#include "auto.h"
#include "jsonx.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 32, NODES_MAX = 100000, KEY_MAX = 4096, BYTES_MAX = 16 << 20 };

struct reader {
	yaml_parser_t parser;
	const char *what;
	struct err *e;
	int depth;
	size_t nodes, bytes; /* made so far, copies by aliases included */
	json_t *anchors;     /* name -> value of the present document; NULL: not allowed */
};

static json_t *fail(struct reader *r, const yaml_event_t *ev, const char *text)
{
	return err_set_p(r->e, ERR_BAD_INPUT, "%s: line %zu: %s", r->what, ev->start_mark.line + 1,
			 text);
}

/* null, booleans, integers; all else is text. */
static json_t *plain_scalar(const char *s)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
					  "y",    "Y",    "on",   "On",  "ON"};
	static const char *const no[] = {"false", "False", "FALSE", "no",  "No", "NO",
					 "n",     "N",     "off",   "Off", "OFF"};
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

/* What an alias stands for, and what the copies cost, or -1 beyond the bounds. */
static int charge(struct reader *r, const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;
	r->nodes++;
	r->bytes += json_is_string(j) ? json_string_length(j) : 0;
	if (r->nodes > NODES_MAX || r->bytes > BYTES_MAX)
		return -1;
	json_object_foreach ((json_t *)j, key, v) {
		r->bytes += strlen(key);
		if (charge(r, v) < 0)
			return -1;
	}
	json_array_foreach (j, i, v)
		if (charge(r, v) < 0)
			return -1;
	return 0;
}

static int depth_of(const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;
	int deepest = 0;
	json_object_foreach ((json_t *)j, key, v) {
		int d = depth_of(v);
		deepest = d > deepest ? d : deepest;
	}
	json_array_foreach (j, i, v) {
		int d = depth_of(v);
		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

static json_t *read_alias(struct reader *r, const yaml_event_t *ev)
{
	if (!r->anchors)
		return fail(r, ev, "anchors and aliases are not supported");
	/* An anchor stands when its node is complete: none can contain itself. */
	json_t *j = json_object_get(r->anchors, (const char *)ev->data.alias.anchor);
	if (!j)
		return fail(r, ev, "an alias without its anchor");
	if (charge(r, j) < 0 || r->depth + depth_of(j) > DEPTH_MAX)
		return fail(r, ev, "too large or nested too deep");
	return json_deep_copy(j);
}

static json_t *read_scalar(struct reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	if (strlen(s) != ev->data.scalar.length)
		return fail(r, ev, "a NUL in a text");
	r->bytes += ev->data.scalar.length;
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

/* The keys of a map, or of each of a list of maps, that are not there yet; the earlier wins. */
static int merge(struct reader *r, json_t *out, json_t *from, const yaml_event_t *at)
{
	size_t i;
	json_t *one;
	bool bad = !json_is_object(from) && !json_is_array(from);
	if (json_is_object(from))
		json_object_update_missing(out, from);
	json_array_foreach (from, i, one) {
		bad = bad || !json_is_object(one);
		json_object_update_missing(out, one);
	}
	if (bad)
		fail(r, at, "a merge of what is no map");
	return bad ? -1 : 0;
}

/* The value of a key that has been read; 0 or -1. A merge is kept aside: what the map says itself
 * wins. */
static int read_member(struct reader *r, json_t *out, json_t *merged, const yaml_event_t *key_event)
{
	yaml_event_t ev;
	const char *key = (const char *)key_event->data.scalar.value;
	if (key_event->type != YAML_SCALAR_EVENT || key_event->data.scalar.length > KEY_MAX) {
		fail(r, key_event, "a key that is not a word");
		return -1;
	}
	r->bytes += key_event->data.scalar.length;
	bool merges = r->anchors && strcmp(key, "<<") == 0 &&
		      key_event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (json_object_get(out, key)) {
		fail(r, key_event, "a key that comes twice");
		return -1;
	}
	if (!next(r, &ev))
		return -1;
	json_t *v = read_node(r, &ev);
	yaml_event_delete(&ev);
	if (v && merges) {
		int n = merge(r, merged, v, key_event);
		json_decref(v);
		return n;
	}
	if (v && json_object_set_new(out, key, v) < 0)
		fail(r, key_event, "not UTF-8"), v = NULL;
	return v ? 0 : -1;
}

static json_t *read_map(struct reader *r)
{
	AUTO_JSON json_t *out = json_object();
	AUTO_JSON json_t *merged = json_object();
	yaml_event_t ev;
	while (next(r, &ev)) {
		bool end = ev.type == YAML_MAPPING_END_EVENT;
		int n = end ? 0 : read_member(r, out, merged, &ev);
		yaml_event_delete(&ev);
		if (end) {
			json_object_update_missing(out, merged);
			return TAKE(out);
		}
		if (n < 0)
			return NULL;
	}
	return NULL;
}

static const char *anchor_of(const yaml_event_t *ev)
{
	yaml_char_t *name = ev->type == YAML_SCALAR_EVENT           ? ev->data.scalar.anchor
			    : ev->type == YAML_SEQUENCE_START_EVENT ? ev->data.sequence_start.anchor
			    : ev->type == YAML_MAPPING_START_EVENT  ? ev->data.mapping_start.anchor
								    : NULL;
	return (const char *)name;
}

static json_t *read_node(struct reader *r, yaml_event_t *ev)
{
	json_t *j = NULL;
	if (++r->nodes > NODES_MAX || r->bytes > BYTES_MAX || r->depth >= DEPTH_MAX)
		return fail(r, ev, "too large or nested too deep");
	const char *anchor = r->anchors ? anchor_of(ev) : NULL;
	r->depth++;
	if (ev->type == YAML_SCALAR_EVENT)
		j = read_scalar(r, ev);
	else if (ev->type == YAML_SEQUENCE_START_EVENT)
		j = read_list(r);
	else if (ev->type == YAML_MAPPING_START_EVENT)
		j = read_map(r);
	else
		j = read_alias(r, ev);
	r->depth--;
	/* A copy: what is merged into or out of the node later must not change it. */
	if (j && anchor &&
	    (charge(r, j) < 0 || json_object_set_new(r->anchors, anchor, json_deep_copy(j)) < 0)) {
		json_decref(j);
		return fail(r, ev, "too large or nested too deep");
	}
	return j;
}

/* Every document of the stream, in an array. */
static json_t *read_stream(struct reader *r, bool many)
{
	AUTO_JSON json_t *out = json_array();
	yaml_event_t ev;
	while (next(r, &ev)) {
		yaml_event_type_t type = ev.type;
		json_t *doc = NULL;
		bool bad = false;
		if (type == YAML_DOCUMENT_START_EVENT) {
			bad = !many && json_array_size(out);
			if (bad)
				fail(r, &ev, "more than one document");
			json_object_clear(r->anchors);
		} else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
			   type != YAML_STREAM_END_EVENT) {
			doc = read_node(r, &ev);
			bad = !doc;
		}
		yaml_event_delete(&ev);
		if (bad)
			return NULL;
		if (doc && many && json_is_null(doc))
			json_decref(doc);
		else if (doc)
			json_array_append_new(out, doc);
		if (type == YAML_STREAM_END_EVENT)
			return TAKE(out);
	}
	return NULL;
}

static json_t *read_text(const char *text, size_t len, const char *what, bool many, struct err *e)
{
	struct reader r = {.what = what, .e = e};
	if (!yaml_parser_initialize(&r.parser))
		return err_set_p(e, ERR_FAILED, "%s: no memory for the YAML reader", what);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	r.anchors = many ? json_object() : NULL;
	json_t *j = read_stream(&r, many);
	json_decref(r.anchors);
	yaml_parser_delete(&r.parser);
	return j;
}

json_t *yaml_to_json(const char *text, size_t len, const char *what, struct err *e)
{
	AUTO_JSON json_t *docs = read_text(text, len, what, false, e);
	if (!docs)
		return NULL;
	return json_array_size(docs) ? json_incref(json_array_get(docs, 0))
				     : err_set_p(e, ERR_BAD_INPUT, "%s: empty", what);
}

json_t *yaml_to_json_all(const char *text, size_t len, const char *what, struct err *e)
{
	return read_text(text, len, what, true, e);
}
