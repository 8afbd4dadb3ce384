/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FLATJSON_H
#define CRISP_FLATJSON_H
/* JSON for a program that must stay small (ctrmon does without jansson): one object whose members
 * are strings or integers, such as our own records, the requests on ctl.sock and the lines of a
 * runtime's log. Members of other types are passed over. No allocation, no state. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member as it stands in the text: a string's value without its quotes and with its escapes, any
 * other one as it is written. */
struct flatjson_member {
	const char *name, *value;
	size_t name_len, value_len;
	bool is_string;
};

/* Calls fn for each member in their order, until it returns false. Returns where the object ends;
 * NULL when text is no such object, or fn has ended the walk. */
const char *flatjson_each(const char *text, size_t len,
			  bool (*fn)(void *arg, const struct flatjson_member *m), void *arg);

/* The string member `key`, unescaped into out (always terminated; what does not fit is cut off).
 * false when text is no such object, or has no such string. */
bool flatjson_string(const char *text, size_t len, const char *key, char *out, size_t size);
bool flatjson_int(const char *text, size_t len, const char *key, int64_t *out);

/* Append s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
int flatjson_put(struct buf *b, const char *s, size_t len, struct err *e);
#endif
