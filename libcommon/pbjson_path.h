/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PBJSON_PATH_H
#define CRISP_PBJSON_PATH_H
/* Private to pbjson*.c: where in a document a reader or writer is, for its errors. A path that gets
 * too long loses its tail. */
#include "err.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct pbjson_walk {
	const char *what; /* the document's name */
	struct err *e;
	int flags; /* enum pbjson_flags; unused when reading */
	int depth; /* messages that are open */
	size_t len;
	char path[384];
};

/* Each extends the path and returns its former length; restore it by assigning it to len. */
size_t pbjson_enter_field(struct pbjson_walk *w, const char *name);
size_t pbjson_enter_index(struct pbjson_walk *w, size_t i);
size_t pbjson_enter_key(struct pbjson_walk *w, const char *key);
/* Sets ERR_BAD_INPUT "what: path: ..." and returns -1. */
__attribute__((format(printf, 2, 3))) int pbjson_fail(struct pbjson_walk *w, const char *fmt, ...);

/* The size of one value of that type in a generated struct. */
size_t pbjson_value_size(ProtobufCType type);
#endif
