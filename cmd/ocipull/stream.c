/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include "auto.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __has_include(<isa-l/crc.h>) && !defined(NO_ISAL)
#include <isa-l/crc.h>
static uint32_t crc_of(uint32_t crc, const void *data, size_t len)
{
	return crc32_gzip_refl(crc, data, len);
}
#else
#include <zlib.h>
static uint32_t crc_of(uint32_t crc, const void *data, size_t len)
{
	return (uint32_t)crc32_z(crc, data, len);
}
#endif

/* A few megabytes of zeros are nobody's attack. */
static const uint64_t ratio_counts_from = 256 << 20;
enum { TAR_BLOCK = 512, GONE = UINT32_MAX };
static const char zeros[TAR_BLOCK];

struct kept {
	ino_t ino; /* 0 = free */
	uint32_t file;
};

void stream_init(struct stream *s, int recipe_fd)
{
	digest_init(&s->hash);
	s->recipe = recipe_fd < 0 ? NULL : recipe_writer_new(recipe_fd);
}

void stream_release(struct stream *s)
{
	inflate_free(s->in);
	digest_release(&s->hash);
	recipe_writer_free(s->recipe);
	free(s->kept);
}

/* Describe as raw what is left of the block before `end`. */
static int raw_until(struct stream *s, uint64_t end, struct err *e)
{
	uint64_t block_at = s->bytes - s->len;
	if (!s->recipe || end <= s->done)
		return 0;
	size_t len = (size_t)(end - s->done);
	const char *from = s->block + (s->done - block_at);
	s->done = end;
	return recipe_raw(s->recipe, from, len, e);
}

static int cover_block(struct stream *s, struct err *e)
{
	if (s->state != STREAM_FILE_OPEN)
		return raw_until(s, s->bytes, e);
	if (raw_until(s, s->start, e) < 0)
		return -1;
	/* The file goes on in the next block. */
	s->done = s->next;
	return raw_until(s, s->bytes, e);
}

/* Some writers (umoci insert for one) end their archive right after the last file's bytes. The rest
 * of that block is made up, as other readers do; the hash and the size are of what really came. */
static ssize_t pad(struct stream *s, const void **data)
{
	size_t part = s->bytes % TAR_BLOCK;
	if (s->padded || part == 0)
		return 0;
	s->padded = true;
	*data = zeros;
	return (ssize_t)(TAR_BLOCK - part);
}

static int check_limits(const struct stream *s, struct err *e)
{
	uint64_t in = inflate_consumed(s->in);
	if (s->max.bytes > 0 && s->bytes > s->max.bytes)
		return err_set(e, ERR_BAD_INPUT,
			       "uncompressed more than %llu bytes (unpack_max_bytes)",
			       (unsigned long long)s->max.bytes);
	if (s->max.ratio > 0 && s->bytes > ratio_counts_from && s->bytes / s->max.ratio > in)
		return err_set(e, ERR_BAD_INPUT,
			       "%llu bytes of it became %llu: more than %llu times as many "
			       "(unpack_max_ratio)",
			       (unsigned long long)in, (unsigned long long)s->bytes,
			       (unsigned long long)s->max.ratio);
	return 0;
}

ssize_t stream_next(struct stream *s, const void **data, struct err *e)
{
	if (cover_block(s, e) < 0)
		return -1;
	ssize_t n = inflate_next(s->in, data, e);
	s->block = n > 0 ? *data : NULL;
	s->len = n > 0 ? (size_t)n : 0;
	if (n < 0)
		return -1;
	if (n == 0)
		return pad(s, data);
	digest_update(&s->hash, *data, s->len);
	s->bytes += s->len;
	return check_limits(s, e) < 0 ? -1 : n;
}

void stream_file_begin(struct stream *s, int file, const char *path, uint64_t size)
{
	s->file = file;
	s->state = STREAM_FILE_NONE;
	s->path = path;
	s->size = size;
	s->crc = 0;
}

/* Give `take` the first `size` bytes of the file that is being written, in pieces. */
static int read_back(struct stream *s, uint64_t size,
		     int (*take)(struct stream *s, const void *data, size_t len, struct err *e),
		     struct err *e)
{
	AUTO_FREE char *piece = xmalloc(RECIPE_PIECE_MAX);
	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < RECIPE_PIECE_MAX ? (size_t)(size - at) : RECIPE_PIECE_MAX;
		ssize_t n = pread(s->file, piece, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "read %.300s", s->path)
				     : err_set(e, ERR_FAILED, "%.300s has become shorter", s->path);
		if (take(s, piece, (size_t)n, e) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static int take_raw(struct stream *s, const void *data, size_t len, struct err *e)
{
	return recipe_raw(s->recipe, data, len, e);
}

static int take_kept(struct stream *s, const void *data, size_t len, struct err *e)
{
	return recipe_kept(s->recipe, s->files - 1, data, len, e);
}

/* A piece that does not continue the file where the last one ended (a sparse file's, say), or too
 * few: what of earlier blocks was left to the file stands in it, from its beginning. */
static int file_is_raw(struct stream *s, struct err *e)
{
	bool skipped = s->state == STREAM_FILE_OPEN && s->done > s->start;
	s->state = STREAM_FILE_RAW;
	return skipped ? read_back(s, s->done - s->start, take_raw, e) : 0;
}

/* All of it has come: the bytes that follow are described behind it. */
static int file_is_whole(struct stream *s, struct err *e)
{
	s->state = STREAM_FILE_WHOLE;
	if (raw_until(s, s->start, e) < 0 ||
	    recipe_file(s->recipe, s->path, s->size, s->crc, e) < 0)
		return -1;
	s->done = s->next;
	s->files++;
	return 0;
}

int stream_file_data(struct stream *s, const void *data, size_t len, uint64_t at, struct err *e)
{
	uintptr_t p = (uintptr_t)data, block = (uintptr_t)s->block, made_up = (uintptr_t)zeros;
	if (p >= made_up && p < made_up + sizeof zeros)
		return err_set(e, ERR_BAD_INPUT, "the archive ends in the middle of a file");
	if (!s->recipe || s->state == STREAM_FILE_RAW)
		return 0;
	bool inside = p >= block && p < block + s->len && len <= block + s->len - p;
	uint64_t where = inside ? s->bytes - s->len + (p - block) : 0;
	if (s->state == STREAM_FILE_NONE && inside && at == 0 && where >= s->done) {
		s->state = STREAM_FILE_OPEN;
		s->start = s->next = where;
	}
	if (s->state != STREAM_FILE_OPEN || !inside || where != s->next || at != where - s->start ||
	    at + len > s->size)
		return file_is_raw(s, e);
	s->crc = crc_of(s->crc, data, len);
	s->next += len;
	return at + len == s->size ? file_is_whole(s, e) : 0;
}

static struct kept *find_kept(const struct stream *s, ino_t ino)
{
	/* Linear probing; the factor is 2^64 over the golden ratio. */
	size_t mask = s->kept_size - 1;
	size_t i = (size_t)(((uint64_t)ino * 0x9e3779b97f4a7c15ULL) >> 32) & mask;
	while (s->kept[i].ino && s->kept[i].ino != ino)
		i = (i + 1) & mask;
	return &s->kept[i];
}

static void remember(struct stream *s, ino_t ino, uint32_t file)
{
	if ((s->kept_used + 1) * 4 > s->kept_size * 3) {
		struct kept *old = s->kept;
		size_t size = s->kept_size;
		s->kept_size = size ? size * 2 : 1024;
		s->kept = xcalloc(s->kept_size, sizeof *s->kept);
		for (size_t i = 0; i < size; i++)
			if (old[i].ino)
				*find_kept(s, old[i].ino) = old[i];
		free(old);
	}
	struct kept *k = find_kept(s, ino);
	s->kept_used += k->ino == 0;
	*k = (struct kept){.ino = ino, .file = file};
}

int stream_file_end(struct stream *s, const struct stat *st, struct err *e)
{
	int rc = 0;
	if (s->state == STREAM_FILE_OPEN)
		rc = file_is_raw(s, e);
	else if (s->state == STREAM_FILE_WHOLE && st->st_size == (off_t)s->size)
		remember(s, st->st_ino, s->files - 1);
	else if (s->state == STREAM_FILE_WHOLE)
		rc = read_back(s, s->size, take_kept, e);
	s->state = STREAM_FILE_NONE;
	return rc;
}

static int keep(struct stream *s, uint32_t file, int fd, struct err *e)
{
	AUTO_FREE char *piece = xmalloc(RECIPE_PIECE_MAX);
	ssize_t n;
	while ((n = read(fd, piece, RECIPE_PIECE_MAX)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (recipe_kept(s->recipe, file, piece, (size_t)n, e) < 0)
			return -1;
	}
	return 0;
}

int stream_removing(struct stream *s, int dirfd, const char *leaf, const struct stat *st,
		    struct err *e)
{
	struct kept *k = s->recipe && s->kept_size > 0 ? find_kept(s, st->st_ino) : NULL;
	/* By inode: one of several names may go without need, which costs only space. */
	if (!k || !k->ino || k->file == GONE)
		return 0;
	AUTO_CLOSE int fd = openat(dirfd, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || keep(s, k->file, fd, e) < 0)
		return fd < 0 ? err_sys(e, "open %.300s", leaf) : -1;
	k->file = GONE;
	return 0;
}

int stream_finish(struct stream *s, char hex[DIGEST_HEX_LEN + 1], struct err *e)
{
	unsigned char sha[DIGEST_HEX_LEN / 2];
	digest_hex(&s->hash, hex);
	if (!s->recipe)
		return 0;
	for (size_t i = 0; i < sizeof sha; i++) {
		const char two[] = {hex[2 * i], hex[2 * i + 1], '\0'};
		sha[i] = (unsigned char)strtoul(two, NULL, 16);
	}
	return recipe_finish(s->recipe, s->bytes, sha, e);
}
