/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe.h"

#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "xalloc.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

enum { IN_SIZE = 128 << 10, OUT_SIZE = 256 << 10, COUNT_MAX = 1 << 26 };

/* The records, decompressed as they are asked for. */
struct records {
	int fd;
	ZSTD_DCtx *zstd;
	ZSTD_inBuffer in;
	ZSTD_outBuffer out;
	size_t pos; /* of the output, what was given out */
	bool at_frame_end;
	char *in_data, *out_data;
};

/* A piece of a file that is not in the tree any more. */
struct piece {
	uint32_t file, len;
	off_t at; /* in the spool */
	size_t order;
};

struct head {
	char type;
	uint32_t len; /* of what follows: bytes, path */
	uint32_t crc, file;
	uint64_t size;
	unsigned char sha256[32];
};

struct recipe {
	int layer, diff;
	struct records rec;
	void (*bad)(void *arg, const char *path, const char *why);
	void *arg;
	bool any_bad;
	struct piece *pieces;
	size_t piece_count, next_piece;
	int spool;
	uint32_t files; /* F records so far */
	/* What is being given out. */
	struct head head;
	char path[PATH_MAX];
	int file;
	uint64_t left; /* of it */
	uLong crc;
	bool faulty; /* told already */
	/* The whole. */
	uint64_t size, given;
	unsigned char sha256[32];
	struct digest hash;
	bool hashing, ended;
	char *buf;
};

static int damaged(struct err *e, const char *why)
{
	return err_set(e, ERR_BAD_STATE, "recipe is damaged: %s", why);
}

static int records_open(struct records *r, int layer, struct err *e)
{
	r->fd = openat(layer, "recipe", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (r->fd < 0)
		return err_sys(e, "open recipe");
	if (fstat(r->fd, &st) < 0)
		return err_sys(e, "stat recipe");
	/* One that could not be completed is not kept: somebody, or a power cut, emptied it. */
	if (st.st_size == 0)
		return damaged(e, "it is empty");
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd)
		return err_set(e, ERR_EXHAUSTED, "no memory for zstd");
	r->in_data = xmalloc(IN_SIZE);
	r->out_data = xmalloc(OUT_SIZE);
	r->in = (ZSTD_inBuffer){.src = r->in_data};
	r->out = (ZSTD_outBuffer){.dst = r->out_data, .size = OUT_SIZE};
	r->at_frame_end = true;
	return 0;
}

static void records_close(struct records *r)
{
	auto_close(&r->fd);
	ZSTD_freeDCtx(r->zstd);
	free(r->in_data);
	free(r->out_data);
}

static int records_rewind(struct records *r, struct err *e)
{
	if (lseek(r->fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seek in recipe");
	ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
	r->in.pos = r->in.size = r->out.pos = r->pos = 0;
	r->at_frame_end = true;
	return 0;
}

/* More output: 1, or 0 at the end. */
static int more(struct records *r, struct err *e)
{
	r->out.pos = r->pos = 0;
	for (;;) {
		/* What a full output has left inside of zstd comes without new input. */
		size_t before = r->in.pos, n = ZSTD_decompressStream(r->zstd, &r->out, &r->in);
		if (ZSTD_isError(n))
			return damaged(e, ZSTD_getErrorName(n));
		if (r->in.pos > before || r->out.pos > 0)
			r->at_frame_end = n == 0;
		if (r->out.pos > 0)
			return 1;
		if (r->in.pos < r->in.size)
			continue;
		ssize_t got = read(r->fd, r->in_data, IN_SIZE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "read recipe");
		if (got == 0)
			return r->at_frame_end ? 0 : damaged(e, "cut short");
		r->in.size = (size_t)got;
		r->in.pos = 0;
		r->at_frame_end = false;
	}
}

/* Exactly len bytes; 1, or 0 when the end is where the first of them should be. */
static int get(struct records *r, void *data, size_t len, struct err *e)
{
	size_t done = 0;
	while (done < len) {
		if (r->pos == r->out.pos) {
			int rc = more(r, e);
			if (rc <= 0)
				return rc < 0 || done == 0 ? rc : damaged(e, "cut short");
		}
		size_t n = r->out.pos - r->pos;
		n = n < len - done ? n : len - done;
		memcpy((char *)data + done, r->out_data + r->pos, n);
		r->pos += n;
		done += n;
	}
	return 1;
}

static uint32_t u32(const unsigned char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return le32toh(v);
}

static uint64_t u64(const unsigned char *p)
{
	return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static int get_head(struct records *r, struct head *h, struct err *e)
{
	unsigned char raw[40];
	*h = (struct head){0};
	int rc = get(r, &h->type, 1, e);
	size_t len = h->type == 'R' ? 4 : h->type == 'F' ? 14 : h->type == 'K' ? 8 : 40;
	if (rc <= 0)
		return rc;
	if (h->type != 'R' && h->type != 'F' && h->type != 'K' && h->type != 'E')
		return damaged(e, "unknown kind of record");
	rc = get(r, raw, len, e);
	if (rc <= 0)
		return rc < 0 ? -1 : damaged(e, "cut short");
	if (h->type == 'R') {
		h->len = u32(raw);
	} else if (h->type == 'K') {
		h->file = u32(raw);
		h->len = u32(raw + 4);
	} else {
		h->size = u64(raw);
	}
	if (h->type == 'F') {
		h->crc = u32(raw + 8);
		h->len = raw[12] | (uint32_t)raw[13] << 8;
	} else if (h->type == 'E') {
		memcpy(h->sha256, raw + 8, 32);
		return 1;
	}
	if (h->len == 0 || h->len > (h->type == 'F' ? PATH_MAX - 1 : RECIPE_PIECE_MAX))
		return damaged(e, "a record's length");
	return 1;
}

static int need(struct records *r, void *data, size_t len, struct err *e)
{
	int rc = get(r, data, len, e);
	return rc > 0 ? 0 : rc < 0 ? -1 : damaged(e, "cut short");
}

static int by_file(const void *a, const void *b)
{
	const struct piece *pa = a, *pb = b;
	if (pa->file != pb->file)
		return pa->file < pb->file ? -1 : 1;
	return pa->order < pb->order ? -1 : pa->order > pb->order;
}

/* Pieces may stand anywhere behind what they belong to: they are put aside. */
static int keep_piece(struct recipe *r, const struct head *h, off_t *end, struct err *e)
{
	if (h->file >= r->files || r->piece_count == COUNT_MAX)
		return damaged(e, "a piece of no file");
	if (r->spool < 0)
		r->spool = openat(r->layer, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r->spool < 0)
		return err_sys(e, "make a temporary file");
	if (fs_write_all(r->spool, r->buf, h->len, e) < 0)
		return err_wrap(e, "put aside what is in the recipe");
	if ((r->piece_count & (r->piece_count - 1)) == 0)
		r->pieces = xrealloc(r->pieces, (r->piece_count * 2 + 1) * sizeof *r->pieces);
	r->pieces[r->piece_count] =
		(struct piece){.file = h->file, .len = h->len, .at = *end, .order = r->piece_count};
	r->piece_count++;
	*end += h->len;
	return 0;
}

static int add_size(uint64_t *sum, uint64_t n, struct err *e)
{
	if (n > INT64_MAX || *sum > INT64_MAX - n)
		return damaged(e, "its sizes");
	*sum += n;
	return 0;
}

/* Once through: is it whole, how large is the stream, and which files are gone. */
static int scan(struct recipe *r, struct err *e)
{
	struct head h;
	uint64_t sum = 0;
	off_t end = 0;
	int rc;
	while ((rc = get_head(&r->rec, &h, e)) > 0 && h.type != 'E') {
		if (need(&r->rec, r->buf, h.len, e) < 0)
			return -1;
		if (h.type == 'K' && keep_piece(r, &h, &end, e) < 0)
			return -1;
		if (h.type == 'F' && (memchr(r->buf, 0, h.len) || r->files++ == COUNT_MAX))
			return damaged(e, "a file's name");
		if (h.type != 'K' && add_size(&sum, h.type == 'F' ? h.size : h.len, e) < 0)
			return -1;
	}
	if (rc <= 0)
		return rc < 0 ? -1 : damaged(e, "it has no end");
	r->size = h.size;
	memcpy(r->sha256, h.sha256, 32);
	if (sum != h.size)
		return damaged(e, "its size");
	rc = get(&r->rec, &h.type, 1, e);
	if (rc)
		return rc < 0 ? -1 : damaged(e, "more behind its end");
	if (r->piece_count > 0)
		qsort(r->pieces, r->piece_count, sizeof *r->pieces, by_file);
	r->files = 0;
	return records_rewind(&r->rec, e);
}

struct recipe *recipe_open(int layer, void (*bad)(void *arg, const char *path, const char *why),
			   void *arg, struct err *e)
{
	struct recipe *r = xcalloc(1, sizeof *r);
	*r = (struct recipe){.layer = layer,
			     .diff = -1,
			     .rec.fd = -1,
			     .bad = bad,
			     .arg = arg,
			     .spool = -1,
			     .file = -1};
	r->buf = xmalloc(RECIPE_PIECE_MAX);
	if (records_open(&r->rec, layer, e) < 0 || scan(r, e) < 0)
		goto fail;
	r->diff = fs_open_dir(layer, "diff", e);
	if (r->diff < 0)
		goto fail;
	digest_init(&r->hash);
	r->hashing = true;
	return r;
fail:
	recipe_close(r);
	return NULL;
}

uint64_t recipe_size(const struct recipe *r)
{
	return r->size;
}

void recipe_diff_id(const struct recipe *r, char hex[DIGEST_HEX_LEN + 1])
{
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", r->sha256[i]);
}

void recipe_close(struct recipe *r)
{
	if (!r)
		return;
	records_close(&r->rec);
	auto_close(&r->diff);
	auto_close(&r->spool);
	auto_close(&r->file);
	if (r->hashing)
		digest_release(&r->hash);
	free(r->pieces);
	free(r->buf);
	free(r);
}

static int tell(struct recipe *r, const char *path, struct err *e, const char *why)
{
	r->any_bad = true;
	if (!r->bad)
		return err_set(e, ERR_BAD_STATE, "%.400s%s%s", path, *path ? ": " : "", why);
	r->bad(r->arg, path, why);
	return 0;
}

/* The file is not what it was: its bytes are replaced. */
static int faulty(struct recipe *r, struct err *e, const char *why)
{
	r->faulty = true;
	auto_close(&r->file);
	r->file = -1;
	return tell(r, r->path, e, why);
}

const char *recipe_kind_of(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "regular file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symbolic link";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "named pipe";
	default:
		return "socket";
	}
}

/* Looked at before it is opened, as opening a device may do something. */
static int open_file(struct recipe *r, struct err *e)
{
	struct stat st;
	char why[128], proc[40];
	struct err no;
	AUTO_CLOSE int fd = fs_open_beneath(r->diff, r->path, O_PATH | O_NOFOLLOW, 0, &no);
	if (fd < 0 && (no.errnum == ENOENT || no.errnum == ENOTDIR || no.errnum == ELOOP ||
		       no.errnum == EXDEV))
		return faulty(r, e, "missing");
	if (fd < 0) {
		*e = no;
		return -1;
	}
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat %.300s", r->path);
	snprintf(why, sizeof why, "is a %s, not a regular file", recipe_kind_of(st.st_mode));
	if (!S_ISREG(st.st_mode))
		return faulty(r, e, why);
	snprintf(why, sizeof why, "size is %lld, not %llu", (long long)st.st_size,
		 (unsigned long long)r->head.size);
	if ((uint64_t)st.st_size != r->head.size)
		return faulty(r, e, why);
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	r->file = open(proc, O_RDONLY | O_CLOEXEC);
	return r->file < 0 ? err_sys(e, "open %.300s", r->path) : 0;
}

static int start_file(struct recipe *r, struct err *e)
{
	uint32_t n = r->files++;
	r->left = r->head.size;
	r->crc = crc32(0, NULL, 0);
	r->faulty = false;
	if (need(&r->rec, r->path, r->head.len, e) < 0)
		return -1;
	r->path[r->head.len] = '\0';
	uint64_t kept = 0;
	for (size_t i = r->next_piece; i < r->piece_count && r->pieces[i].file == n; i++)
		kept += r->pieces[i].len;
	if (kept > 0 && kept != r->left)
		return damaged(e, "pieces of a file are missing");
	/* An empty one has no content that could be wrong. */
	return kept > 0 || r->left == 0 ? 0 : open_file(r, e);
}

static ssize_t next_kept(struct recipe *r, struct err *e)
{
	const struct piece *p = &r->pieces[r->next_piece++];
	for (size_t done = 0; done < p->len;) {
		ssize_t n = pread(r->spool, r->buf + done, p->len - done, p->at + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "read temporary file")
				     : damaged(e, "temporary file is cut short");
		done += (size_t)n;
	}
	return (ssize_t)p->len;
}

static ssize_t next_of_file(struct recipe *r, struct err *e)
{
	size_t want = r->left < OUT_SIZE ? (size_t)r->left : OUT_SIZE;
	ssize_t n = 0;
	if (!r->faulty) {
		do
			n = read(r->file, r->buf, want);
		while (n < 0 && errno == EINTR);
		/* A disk that cannot read it any more, or somebody who changes it right now. */
		if (n < 0 && faulty(r, e, strerrordesc_np(errno)) < 0)
			return -1;
		if (n == 0 && faulty(r, e, "content differs") < 0)
			return -1;
	}
	if (n > 0)
		return n;
	memset(r->buf, 0, want);
	return (ssize_t)want;
}

/* A piece of what an F record stands for. */
static ssize_t next_piece(struct recipe *r, struct err *e)
{
	bool kept = r->next_piece < r->piece_count && r->pieces[r->next_piece].file == r->files - 1;
	ssize_t n = kept ? next_kept(r, e) : next_of_file(r, e);
	if (n < 0)
		return -1;
	r->crc = crc32(r->crc, (const Bytef *)r->buf, (uInt)n);
	r->left -= (uint64_t)n;
	if (r->left > 0 || r->faulty || r->crc == r->head.crc)
		return n;
	if (kept)
		return damaged(e, "what it keeps of a file");
	return faulty(r, e, "content differs") < 0 ? -1 : n;
}

static int compare_whole(struct recipe *r, struct err *e)
{
	char have[DIGEST_HEX_LEN + 1], want[DIGEST_HEX_LEN + 1], why[200];
	digest_hex(&r->hash, have);
	r->hashing = false;
	r->ended = true;
	recipe_diff_id(r, want);
	snprintf(why, sizeof why, "the whole has SHA-256 %s, not %s", have, want);
	if (r->any_bad || (strcmp(have, want) == 0 && r->given == r->size))
		return 0;
	return tell(r, "", e, why);
}

ssize_t recipe_next(struct recipe *r, const void **data, struct err *e)
{
	ssize_t n = 0;
	if (r->ended)
		return 0;
	while (r->left == 0) {
		auto_close(&r->file);
		r->file = -1;
		int rc = get_head(&r->rec, &r->head, e);
		if (rc <= 0)
			return rc < 0 ? -1 : damaged(e, "it has no end");
		if (r->head.type == 'E')
			return compare_whole(r, e);
		if (r->head.type == 'F' && start_file(r, e) < 0)
			return -1;
		if (r->head.type != 'F' && need(&r->rec, r->buf, r->head.len, e) < 0)
			return -1;
		if (r->head.type == 'R') {
			n = (ssize_t)r->head.len;
			break;
		}
	}
	if (n == 0)
		n = next_piece(r, e);
	if (n < 0)
		return -1;
	digest_update(&r->hash, r->buf, (size_t)n);
	r->given += (uint64_t)n;
	*data = r->buf;
	return n;
}
