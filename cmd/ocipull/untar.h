/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_UNTAR_H
#define OCIPULL_UNTAR_H
/* Unpack one tar stream into the working directory, which is the root already (confine.h). */
#include "digest.h"
#include "err.h"
#include "inflate.h"
#include "tree.h"

#include <stdbool.h>

struct untar {
	struct tree tree;
	/* A layer: owners, devices, whiteouts. Otherwise an archive of files: regular files,
	 * directories and links, all ours. */
	bool layer;
	struct inflate *in;
	struct digest hash; /* of the uncompressed stream, to its very end */
	unsigned long long bytes;
	bool padded;            /* the last block's missing rest was supplied */
	struct err *read_error; /* what the stream itself failed with, kind ERR_OK = nothing */
	struct dir_time *dirs;
	size_t dir_count;
};

int untar(struct untar *u, struct err *e);
void untar_release(struct untar *u);
#endif
