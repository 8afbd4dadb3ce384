/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RECIPE_H
#define CRISP_RECIPE_H
/* How a layer's uncompressed tar stream is made again from its directory, byte for byte, so that an
 * image can be verified against its diff IDs and saved under its own id, though the store keeps no
 * archive. ocipull writes it while it unpacks; ocistore reads it.
 *
 * layers/<hex>/recipe is zstd (any number of frames) over a row of records; integers are little
 * endian, paths are bytes relative to diff/, without links in them:
 *
 *	'R' u32 len, bytes                     the stream goes on with these bytes: headers, padding,
 *	                                       and what stands in no file as it is (sparse files)
 *	'F' u64 size, u32 crc, u16 len, path   it goes on with the whole content of that regular file
 *	                                       (crc: CRC-32 as in gzip)
 *	'K' u32 n, u32 len, bytes              a piece of what the n-th F (from 0) meant: the file was
 *	                                       replaced or removed by a later entry, so its bytes
 *	                                       stand here, anywhere behind that F, pieces in order
 *	'E' u64 size, u8[32] sha256            the end: size and SHA-256 of the whole stream
 *
 * The content comes from a hostile archive and is bounded when it is read: a record's len is at most
 * RECIPE_PIECE_MAX (R, K) or PATH_MAX (F). */
#include "digest.h"
#include "err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RECIPE_PIECE_MAX = 1 << 20 };

/* Writing. The descriptor stays the caller's; nothing is synced. */
struct recipe_writer;
struct recipe_writer *recipe_writer_new(int fd);
int recipe_raw(struct recipe_writer *w, const void *data, size_t len, struct err *e);
int recipe_file(struct recipe_writer *w, const char *path, uint64_t size, uint32_t crc,
		struct err *e);
int recipe_kept(struct recipe_writer *w, uint32_t n, const void *data, size_t len, struct err *e);
int recipe_finish(struct recipe_writer *w, uint64_t size, const unsigned char sha256[32],
		  struct err *e);
void recipe_writer_free(struct recipe_writer *w);

/* Reading.
 *
 *	while ((n = recipe_next(r, &data, e)) > 0) ...
 *
 * layer: the layer's directory (with recipe and diff/), which stays the caller's. ERR_NOT_FOUND when
 * it has no recipe. A file that is missing, or whose content is not what it was, is
 * told to `bad` (path, reason) and zeros or what is there take the place of its bytes, as many as
 * there were; with bad NULL it is an error that names it. Damage in the recipe itself is
 * ERR_BAD_STATE. The end is reached only after the whole stream's size and hash were compared: bad
 * gets "" as the path when they differ though each file was right. */
struct recipe;
struct recipe *recipe_open(int layer, void (*bad)(void *arg, const char *path, const char *why),
			   void *arg, struct err *e);
ssize_t recipe_next(struct recipe *r, const void **data, struct err *e);
uint64_t recipe_size(const struct recipe *r); /* of the whole stream, known from recipe_open on */
/* The SHA-256 that the whole stream is said to have. */
void recipe_diff_id(const struct recipe *r, char hex[DIGEST_HEX_LEN + 1]);
void recipe_close(struct recipe *r);
/* "regular file", "directory", … */
const char *recipe_kind_of(unsigned mode);
#endif
