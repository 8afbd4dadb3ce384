/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_INFLATE_H
#define OCIPULL_INFLATE_H
/* A layer's bytes uncompressed: gzip (any number of members), zstd (any number of frames) or plain,
 * told apart by their first bytes, as the media types of images in the field cannot be relied on.
 *
 *	while ((n = inflate_next(in, &data, e)) > 0) ...
 */
#include "err.h"

#include <sys/types.h>

struct inflate;

/* Reads fd, which stays the caller's. */
struct inflate *inflate_new(int fd);
/* The next bytes (borrowed until the next call), 0 at the end, -1 on error: a stream that is
 * damaged or ends in the middle is ERR_BAD_INPUT. */
ssize_t inflate_next(struct inflate *in, const void **data, struct err *e);
/* How many compressed bytes it took so far. */
unsigned long long inflate_consumed(const struct inflate *in);
void inflate_free(struct inflate *in);
#endif
