/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_VERIFY_H
#define OCISTORE_VERIFY_H
/* Is what the store has what was pulled?
 *
 * A layer's tar stream is made again from its recipe and files (recipe.h): sizes, checksums and the
 * hash of the whole say whether the contents are right. What the stream's headers say of owners,
 * modes, links and so on is worked out by a child (verify_tar.c) that has the stream on its standard
 * input and can do nothing but answer on its standard output: the headers come from a hostile
 * archive. Its answer is compared with the directory here (verify_tree.c). */
#include "err.h"
#include "tool.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* ocistore starts itself anew as `ocistore VERIFY_ARG`. */
#define VERIFY_ARG "--list-tar"
int verify_tar_main(void);

/* The child's answer: a row of these, each followed by its bytes in the order of the lengths. */
enum fact_kind {
	FACT_DIR = 'D',   /* what follows, sorted by bytes, is in that directory; name: its path */
	FACT_ENTRY = 'N', /* name: without the directory */
	FACT_ERROR = 'E', /* name: the message; the last one */
	FACT_END = 'Z',
};
struct fact {
	uint8_t kind;
	/* The layer says nothing of it but that it is there: a directory without an entry, a file of
	 * a layer below to which it has links. Of a whiteout: it need not be there. */
	uint8_t implied;
	uint8_t opaque;
	uint32_t mode, uid, gid, major, minor, nsec;
	int64_t size, mtime;
	uint32_t name_len, target_len; /* of a symbolic link */
	uint32_t link_len;             /* another path of the same file */
	uint32_t xattr_len;            /* name, NUL, u32 length, value; and so on */
};
enum { FACT_XATTRS_MAX = 1 << 20 };

struct verify {
	const struct tool_ctx *ctx;
	bool silent;
	bool progress; /* standard error is a terminal */
	size_t faults;
	json_t *bad_layers, *bad_images; /* sets: layer's directory, image id */
	json_t *seen;                    /* layers that were looked at */
	/* The layer at hand. */
	const char *layer;
	json_t *told; /* "path\nproblem", as two ways may lead to the same */
};

/* what: "layer", "image" or "name"; path: of the file, "" = the thing itself. */
void verify_fault(struct verify *v, const char *what, const char *id, const char *path,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Which layer is looked at, on a terminal; NULL = none. */
void verify_progress(const struct verify *v, const char *layer);
/* A fault of the layer at hand. */
void verify_file_fault(struct verify *v, const char *path, const char *why);
/* id: its directory; diff: its diff ID (hex). */
int verify_layer(struct verify *v, const char *id, const char *diff, struct err *e);
/* Compare the child's answer, which comes from fd, with diff/. */
int verify_tree(struct verify *v, int diff, int fd, struct err *e);
/* All images, or those named. -1 only when it could not be done. */
int verify_images(struct verify *v, int argc, char **argv, struct err *e);
void verify_release(struct verify *v);
#endif
