/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_JSONX_H
#define CRISP_JSONX_H
/* JSON whose errors name the document and the path: "manifest: config.size: expected integer, found
 * string". Documents from outside are parsed with duplicate keys refused and a bounded size; `what`
 * names the document in messages. Results called borrowed belong to the document they came from. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

static inline void auto_json(json_t **j)
{
	json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(auto_json)))

/* A new reference, or NULL. */
json_t *jsonx_parse(const char *data, size_t len, const char *what, struct err *e);
json_t *jsonx_read_at(int dirfd, const char *name, size_t limit, struct err *e);
/* Compact, keys in insertion order, one newline at the end; atomic (fs_replace_file_at). */
int jsonx_replace_at(int dirfd, const char *name, mode_t mode, const json_t *j, int fs_flags,
		     struct err *e);
/* The same without flags for a document whose readers take no more than `limit` bytes:
 * ERR_EXHAUSTED when it is larger. */
int jsonx_replace_bounded_at(int dirfd, const char *name, mode_t mode, const json_t *j,
			     size_t limit, struct err *e);

/* The same for a name that is not there yet (FS_NEW). */
int jsonx_create_at(int dirfd, const char *name, mode_t mode, const json_t *j, size_t limit,
		    struct err *e);

/* {"event":"error", "code", "exit", "msg"}, a new reference: what a tool tells of its own failure with this exit
 * status. A message that is not UTF-8 is escaped. */
json_t *jsonx_error_event(const struct err *e, int status);

/* The member at a path of keys (NULL ends), borrowed; NULL with an error when missing or of another
 * type. */
json_t *jsonx_get(json_t *j, const char *what, json_type type, struct err *e, ...)
	__attribute__((sentinel));
/* Required string and integer members of an object; NULL or -1 with an error. */
const char *jsonx_string(json_t *j, const char *what, const char *key, struct err *e);
int jsonx_int(json_t *j, const char *what, const char *key, json_int_t *out, struct err *e);
/* Optional members: the fallback when absent or null, an error when of another type is not
 * reported. For our own records only; documents from outside use the checking forms. */
const char *jsonx_opt_string(json_t *j, const char *key, const char *fallback);
json_int_t jsonx_opt_int(json_t *j, const char *key, json_int_t fallback);
bool jsonx_opt_bool(json_t *j, const char *key, bool fallback);

/* What an object of a file from outside may have in it. */
struct jsonx_key {
	const char *name;
	json_type type; /* JSON_TRUE: a boolean; JSON_NULL: any, its reader looks */
	unsigned flags;
};
enum jsonx_key_flags {
	JSONX_REQUIRED = 1,
	JSONX_STRINGS = 2, /* all members of the array or object are strings */
};
/* Is j an object with no other members than these (a NULL name ends the list), each of its type, and
 * are those that must be there? -1 with an error that names the document and the key. */
int jsonx_check_keys(json_t *j, const char *what, const struct jsonx_key *keys, struct err *e);

/* Is the string a member of the array? Not so when it is no array. */
bool jsonx_has_string(const json_t *list, const char *word);

const char *jsonx_type_name(json_type t);
#endif
