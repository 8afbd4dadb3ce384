/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_SPACE_H
#define OCIPULL_SPACE_H
/* Keeps a pull from filling the disk: min_free_bytes and min_free_inodes of the configuration stay
 * free for the rest of the node. Asked before the first layer comes, with an estimate of what they
 * will take, and while they are unpacked. */
#include "config.h"
#include "err.h"
#include "manifest.h"

struct space {
	int root; /* a directory of the store's file system, borrowed */
	const struct config *cfg;
	long long checked_ms;
};

/* What these layers will take on disk when unpacked: compressed ones twice their size, as images
 * are mostly between two and three times; what is wrong with that the later checks notice. */
long long space_estimate(const struct descriptor *d);
/* Would `need` more bytes fit? ERR_EXHAUSTED tells what is needed and what there is. */
int space_begin(struct space *s, int root, const struct config *cfg, long long need, struct err *e);
/* Is it still so? Looks a hundred times a second at most: a fast disk takes tens of MB in a tenth of one. */
int space_check(struct space *s, struct err *e);
#endif
