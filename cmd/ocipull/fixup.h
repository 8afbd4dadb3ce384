/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_FIXUP_H
#define OCIPULL_FIXUP_H
/* What the unpacking child cannot do to a layer: overlay's marks need a capability that it has not,
 * and the layers below are outside of its root. All paths are opened without following links. */
#include "err.h"

#include <stdbool.h>

/* Mark diff/path as hiding what is below (trusted.overlay.opaque). */
int fixup_opaque(int diff, const char *path, struct err *e);
/* diff/path holds whiteouts. Where nothing else lies below or above a directory, overlay lists
 * what is in it as it is, whiteouts as names of nothing; the mark of one that came from another layer
 * (trusted.overlay.origin, empty: unknown from where) makes it look. */
int fixup_hiding(int diff, const char *path, struct err *e);

/* diff/path was made only because something is in it: give it the metadata that the directory has
 * in the layers below (lower: their diff directories, nearest first), if it is there and not hidden
 * on the way. A symbolic link or a file there is hidden by the directory, as everywhere. */
int fixup_implied(int diff, const char *path, const int *lower, int count, struct err *e);

/* diff/path is an empty file of mode 0 that stands for the file `target` of the layers below: make
 * it a copy of that. One that is not so any more was filled by another of its names, or has gone.
 * *usage grows by what it takes on disk. */
int fixup_link(int diff, const char *path, const char *target, const int *lower, int count,
	       unsigned long long *usage, struct err *e);

/* Owner, mode, attributes and time of what `from` is; and whether the first three are the same. */
int fixup_meta(int from, int to, struct err *e);
bool fixup_same_meta(int a, int b);
#endif
