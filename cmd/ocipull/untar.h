/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_UNTAR_H
#define OCIPULL_UNTAR_H
/* Unpack one tar stream into the working directory, which is the root already (confine.h).
 *
 * A hard link to a file that this layer has not means one of the layers below, which are outside of
 * our root: an empty file with mode 0 is made at both names, and the parent fills it (fixup.h). */
#include "buf.h"
#include "err.h"
#include "stream.h"
#include "tree.h"

#include <stdbool.h>

struct untar {
	struct tree tree;
	/* A layer: owners, devices, whiteouts. Otherwise an archive of files: regular files,
	 * directories and links, all ours. */
	bool layer;
	struct stream stream;
	unsigned long long entries;
	char last[128];         /* the last entry's name, for messages */
	struct err *read_error; /* what the stream itself failed with, kind ERR_OK = nothing */
	/* A directory's time is set last: what is put into it changes it. Each: the time, the path. */
	struct buf dirs;
	size_t last_dir;
};

int untar(struct untar *u, struct err *e);
void untar_release(struct untar *u);
#endif
