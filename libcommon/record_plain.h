/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RECORD_PLAIN_H
#define CRISP_RECORD_PLAIN_H
/* Records (record.h) without a tree of them in memory. A record is mostly plain: numbers, truth values,
 * empty lists and strings of ASCII without an escape. Such a one is read here in a tenth of the time that
 * jansson takes: crispd reads all of them at its start. Everything else is left to jansson, so that there
 * is one judge of what is JSON. */
#include <stdbool.h>
#include <stddef.h>

enum { RECORD_VERSION = 1 };

enum member_type {
	M_STR,    /* char *, owned */
	M_INT,    /* int64_t */
	M_BOOL,   /* bool */
	M_LIST,   /* json_t *, an array of strings, owned */
	M_COUNTS, /* struct cgroup_counts: not a member of that name, but each of its counters */
};

/* A member of the file and its place in the struct; a table ends with name NULL. */
struct member {
	const char *name;
	enum member_type type;
	size_t offset;
};

/* Fills rec, which is all zeros, as record.h says ("" and empty lists for what is absent). false when
 * the text is not plain or not of RECORD_VERSION: rec holds a part then, to be released. */
bool record_plain_read(const struct member *members, void *rec, const char *text, size_t len);
#endif
