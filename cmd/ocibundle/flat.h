/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FLAT_H
#define CRISP_FLAT_H
/* A config.json as a list of lines, and where each comes from. A path names a member as jq does,
 * except that what has a name of its own is found by it and not by its number, so that a line keeps
 * its path when others come or go:
 *
 *	process.args[0]                  process.env[PATH]            mounts[/dev/shm].source
 *	linux.namespaces[ipc].path       linux.maskedPaths[/proc/keys]  annotations[crisp.pod]
 */
#include "buf.h"
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

struct bundle;

/* A new object path -> value, in the document's order. `fold` keeps the names of a seccomp rule on
 * one line. */
json_t *flat_config(json_t *spec, bool fold);

/* One line PATH TAB VALUE... of text that cannot break a terminal; value NULL is "-". */
void flat_print(const char *path, const json_t *const *values, size_t n, const char *last);

/* Where the lines at `path` and below it come from; a later or longer path wins. */
__attribute__((format(printf, 3, 4))) void why(const struct bundle *b, const char *path,
					       const char *source, ...);
/* The same for a path that is made of parts: why_at(b, "request mounts", "mounts[%s]", at). */
__attribute__((format(printf, 3, 4))) void why_at(const struct bundle *b, const char *source,
						  const char *path, ...);
/* A key of the configuration: "configuration KEY (FILE)", or "default". */
void why_config(const struct bundle *b, const char *path, const char *key);
char *why_config_text(const struct bundle *b, const char *key); /* the text alone, a new string */
/* All lines that differ between two documents. */
void why_changes(const struct bundle *b, json_t *before, json_t *after, const char *source);
/* The source of a line by what why() has written: "path TAB source" lines. Borrowed from `text`
 * for *len bytes; "default" when nothing says. */
const char *why_find(const char *text, size_t text_len, const char *path, size_t *len);
#endif
