/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_STREAM_H
#define OCIPULL_STREAM_H
/* A layer's uncompressed stream on its way to libarchive: hashed, counted, bounded, and described
 * by a recipe (libcommon/recipe.h).
 *
 * The recipe needs no second opinion on what tar means. libarchive hands out a file's content where
 * it lies in our block: the address tells which bytes of the stream have become which file. All
 * others are told as they are. A block is described when libarchive asks for the next one, as then
 * it is known what became of it. */
#include "digest.h"
#include "err.h"
#include "inflate.h"
#include "recipe.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct stream_limits {
	uint64_t bytes, ratio; /* 0 = no limit; config.h, unpack_max_* */
};

struct stream {
	struct inflate *in;
	struct stream_limits max;
	struct digest hash;
	uint64_t bytes; /* up to the end of this block */
	const char *block;
	size_t len;
	bool padded;
	struct recipe_writer *recipe; /* NULL: none is kept */
	uint64_t done;                /* it covers the stream up to here */
	uint32_t files;               /* F records so far */
	struct kept *kept;            /* which F an inode holds the content of */
	size_t kept_size, kept_used;
	/* The file that is being written. */
	enum { STREAM_FILE_NONE, STREAM_FILE_OPEN, STREAM_FILE_WHOLE, STREAM_FILE_RAW } state;
	int file;
	const char *path;
	uint64_t size, start, next;
	uint32_t crc;
};

/* recipe_fd: -1 = none. */
void stream_init(struct stream *s, int recipe_fd);
/* The next block, 0 at the end. */
ssize_t stream_next(struct stream *s, const void **data, struct err *e);

/* A file's content: the file (to be read) and where it will be found (both borrowed until the end),
 * each piece that libarchive gives, before it is written, and what has been made of it. */
void stream_file_begin(struct stream *s, int file, const char *path, uint64_t size);
int stream_file_data(struct stream *s, const void *data, size_t len, uint64_t at, struct err *e);
int stream_file_end(struct stream *s, const struct stat *st, struct err *e);
/* A regular file is about to lose a name: the recipe takes over what it needs of it. */
int stream_removing(struct stream *s, int dirfd, const char *leaf, const struct stat *st,
		    struct err *e);
/* The hash is over everything; completes the recipe. */
int stream_finish(struct stream *s, char hex[DIGEST_HEX_LEN + 1], struct err *e);
void stream_release(struct stream *s);
#endif
