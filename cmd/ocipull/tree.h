/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_TREE_H
#define OCIPULL_TREE_H
/* Where an archive's entries go: names resolved inside the (chrooted) target directory, symbolic
 * links among the parents followed as a process with that root would, missing parents made.
 * The way down to the last directory is kept open, as entries mostly come directory by
 * directory. */
#include "err.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* TREE_NOTED_MAX: bytes of all paths in the sets below, which must fit into the report. */
enum { TREE_DEPTH_MAX = 1024, TREE_NOTED_MAX = 12 << 20, TREE_DIR_USAGE = 4096 };

struct tree {
	char canon[PATH_MAX]; /* the directory where we are, without symlinks; "" = the root */
	size_t depth;
	char asked[PATH_MAX]; /* the path that led here last, links and all */
	bool asked_valid;
	struct {
		int fd;
		size_t end;       /* length of canon up to here */
	} at[TREE_DEPTH_MAX + 1]; /* at[0] is the root */
	json_t *implied;          /* sets of paths (bytes, not text) */
	json_t *opaque;
	json_t *hiding; /* directories with whiteouts */
	json_t *links;  /* names that wait for a lower layer's file -> its path; untar.h */
	size_t noted;
	bool root_named;             /* the archive has an entry for the root itself */
	bool replaced;               /* a directory may have made room for something else */
	uint64_t inodes, max_inodes; /* in the layer (0: no limit) */
	uint64_t usage;              /* bytes on disk */
	/* Called before something that is no directory loses a name. */
	int (*removing)(void *arg, int dirfd, const char *leaf, const struct stat *st,
			struct err *e);
	void *arg;
};

int tree_open(struct tree *t, struct err *e);
void tree_close(struct tree *t);

/* An entry's name as a path from the root without ".", "..", or doubled slashes; ".." at the top
 * stays at the top. */
int tree_clean(const char *name, char out[PATH_MAX], struct err *e);
/* Go to the directory that holds `path` (cleaned, not ""), making what is missing; returns its
 * descriptor (borrowed until the next call) and the last component. */
int tree_parent(struct tree *t, const char *path, const char **leaf, struct err *e);

/* leaf in the directory where we are, as a path without symlinks. */
int tree_path(const struct tree *t, const char *leaf, char out[PATH_MAX], struct err *e);
/* One more thing in the layer. */
int tree_count(struct tree *t, struct err *e);
/* The name where we are waits for the lower layers' file at `target`. */
int tree_note_link(struct tree *t, const char *leaf, const char *target, struct err *e);

/* Something stands at dirfd/leaf (where tree_parent went) that must make room for another entry.
 * Returns 1 if it is a directory and stays because the new one is too, 0 when the place is free. */
int tree_make_room(struct tree *t, int dirfd, const char *leaf, bool for_dir, struct err *e);

/* The archive names this directory itself: it is not implied any more. */
void tree_explicit(struct tree *t, const char *leaf);
/* The directory where we are (leaf NULL) or leaf in it hides what is below. */
int tree_opaque(struct tree *t, const char *leaf, struct err *e);
/* Hide what is below at leaf: a whiteout, or opaqueness of a directory of the same layer. */
int tree_whiteout(struct tree *t, int dirfd, const char *leaf, struct err *e);
/* The directory where we are holds a whiteout. */
int tree_hides(struct tree *t, struct err *e);
#endif
