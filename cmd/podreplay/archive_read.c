/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"

#include "auto.h"
#include "buf.h"
#include "log.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <zstd.h>

/* A frame may ask for no more memory than this; zstd -19 does with half of it. */
enum { WINDOW_LOG_MAX = 24, READ_MAX = 128 << 10 };
/* What ocipull takes for a bomb: so many bytes for each compressed one, beyond a free allowance. */
#define RATIO_MAX 500ULL
#define RATIO_FREE (256ULL << 20)

/* ---- zstd */

struct arc_unzstd {
	int fd;
	const char *mem;
	size_t mem_len;
	ZSTD_DCtx *z;
	char *raw, *plain;
	ZSTD_inBuffer in;
	size_t plain_size;
	size_t hint; /* 0: between two frames */
	bool full;   /* the output was: there may be more without input */
	unsigned long long packed, unpacked;
};

struct arc_unzstd *arc_unzstd_new(int fd, const void *data, size_t len)
{
	struct arc_unzstd *u = xcalloc(1, sizeof *u);
	u->fd = fd;
	u->mem = data;
	u->mem_len = len;
	u->raw = xmalloc(READ_MAX);
	u->plain_size = ZSTD_DStreamOutSize();
	u->plain = xmalloc(u->plain_size);
	u->z = ZSTD_createDCtx();
	u->hint = 1;
	if (u->z)
		ZSTD_DCtx_setParameter(u->z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return u;
}

void arc_unzstd_free(struct arc_unzstd *u)
{
	if (!u)
		return;
	ZSTD_freeDCtx(u->z);
	free(u->raw);
	free(u->plain);
	free(u);
}

/* 1 with more input, 0 at its end. */
static int refill(struct arc_unzstd *u, struct err *e)
{
	ssize_t n;
	if (u->fd < 0) {
		n = (ssize_t)u->mem_len;
		u->in = (ZSTD_inBuffer){u->mem, u->mem_len, 0};
		u->mem_len = 0;
	} else {
		do
			n = read(u->fd, u->raw, READ_MAX);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return err_sys(e, "read");
		u->in = (ZSTD_inBuffer){u->raw, (size_t)n, 0};
	}
	u->packed += (unsigned long long)n;
	return n > 0;
}

static int check_growth(const struct arc_unzstd *u, struct err *e)
{
	if (u->unpacked > ARC_UNPACKED_MAX)
		return err_set(e, ERR_BAD_INPUT, "more than %llu bytes", ARC_UNPACKED_MAX);
	if (u->unpacked > RATIO_FREE && u->unpacked - RATIO_FREE > RATIO_MAX * u->packed)
		return err_set(e, ERR_BAD_INPUT, "more than %llu bytes for each compressed one",
			       RATIO_MAX);
	return 0;
}

long arc_unzstd_next(void *unzstd, const void **data, struct err *e)
{
	struct arc_unzstd *u = unzstd;
	if (!u->z)
		return err_set(e, ERR_EXHAUSTED, "no memory for zstd");
	for (;;) {
		if (u->in.pos == u->in.size && !u->full) {
			int r = refill(u, e);
			if (r < 0)
				return -1;
			if (r == 0)
				return u->hint == 0
					       ? 0
					       : err_set(e, ERR_BAD_INPUT, "cut off, or empty");
		}
		ZSTD_outBuffer out = {u->plain, u->plain_size, 0};
		u->hint = ZSTD_decompressStream(u->z, &out, &u->in);
		if (ZSTD_isError(u->hint))
			return err_set(e, ERR_BAD_INPUT, "not zstd, or damaged: %s",
				       ZSTD_getErrorName(u->hint));
		u->full = u->hint != 0 && out.pos == out.size;
		u->unpacked += out.pos;
		if (check_growth(u, e) < 0)
			return -1;
		if (out.pos > 0) {
			*data = u->plain;
			return (long)out.pos;
		}
	}
}

/* ---- tar */

struct reading {
	const struct arc_input *in;
	const struct arc_sink *out;
	struct err *e;
	struct archive *a;
	bool input_failed;
	char *sums; /* SHA256SUMS; each line is cut at its end as it is used */
	size_t sums_len, at;
	char previous[ARC_PATH_MAX];
	unsigned long long total; /* outside of oci/ */
	/* Of the tar stream: what was handed to libarchive, its last byte that is not zero, and
	 * where the last file ends. */
	long long given, last, end;
};

static void note_block(struct reading *r, const char *data, long n)
{
	for (long i = n; i > 0; i--)
		if (data[i - 1]) {
			r->last = r->given + i;
			break;
		}
	r->given += n;
}

static la_ssize_t next_block(struct archive *a, void *arg, const void **data)
{
	struct reading *r = arg;
	*data = NULL;
	long n = r->in->next(r->in->arg, data, r->e);
	if (n >= 0) {
		note_block(r, *data, n);
		return n;
	}
	r->input_failed = true;
	archive_set_error(a, EIO, "input");
	return ARCHIVE_FATAL;
}

static int tar_failed(struct reading *r)
{
	const char *why = archive_error_string(r->a);
	if (r->input_failed)
		return -1;
	return err_set(r->e, ERR_BAD_INPUT, "damaged tar archive: %s", why ? why : "no reason");
}

static int check_header(struct reading *r, struct archive_entry *ae, const char **path)
{
	const char *name = archive_entry_pathname(ae);
	*path = name;
	if (!name)
		return err_set(r->e, ERR_BAD_INPUT, "an entry without a name");
	if (archive_entry_filetype(ae) != AE_IFREG || archive_entry_hardlink(ae) ||
	    archive_entry_symlink(ae) || archive_entry_sparse_count(ae) > 0)
		return err_set(r->e, ERR_BAD_INPUT, "%.200s: not a regular file", name);
	if (!archive_entry_size_is_set(ae) || archive_entry_size(ae) < 0)
		return err_set(r->e, ERR_BAD_INPUT, "%.200s: no size", name);
	return 0;
}

static int read_sums(struct reading *r, unsigned long long size)
{
	if (size > ARC_SUMS_MAX)
		return err_set(r->e, ERR_BAD_INPUT, "SHA256SUMS: more than %d bytes", ARC_SUMS_MAX);
	r->sums = xmalloc((size_t)size + 1);
	while (r->sums_len < size) {
		la_ssize_t n =
			archive_read_data(r->a, r->sums + r->sums_len, (size_t)size - r->sums_len);
		if (n < 0)
			return tar_failed(r);
		if (n == 0)
			return err_set(r->e, ERR_BAD_INPUT, "SHA256SUMS: cut off");
		r->sums_len += (size_t)n;
	}
	r->sums[r->sums_len] = '\0';
	r->end = archive_filter_bytes(r->a, 0);
	const struct arc_sink *o = r->out;
	if (o->begin(o->arg, "SHA256SUMS", size, r->e) < 0 ||
	    o->data(o->arg, r->sums, r->sums_len, r->e) < 0)
		return -1;
	return o->end(o->arg, r->e);
}

/* The next line: 1, 0 when there is none. Names ascend, so none comes twice. */
static int next_sum(struct reading *r, const char **hex, const char **path)
{
	char *line = r->sums + r->at;
	size_t left = r->sums_len - r->at;
	if (left == 0)
		return 0;
	char *end = memchr(line, '\n', left);
	if (!end || end - line < DIGEST_HEX_LEN + 3 || memcmp(line + DIGEST_HEX_LEN, "  ", 2) != 0)
		return err_set(r->e, ERR_BAD_INPUT, "SHA256SUMS: not lines of 'DIGEST  PATH'");
	*end = line[DIGEST_HEX_LEN] = '\0';
	*hex = line;
	*path = line + DIGEST_HEX_LEN + 2;
	r->at += (size_t)(end + 1 - line);
	if (!digest_is_hex(*hex) || strlen(*path) != (size_t)(end - *path) ||
	    !arc_path_is_valid(*path))
		return err_set(r->e, ERR_BAD_INPUT, "SHA256SUMS: '%.200s' is no file of an archive",
			       *path);
	if (strcmp(r->previous, *path) >= 0)
		return err_set(r->e, ERR_BAD_INPUT, "SHA256SUMS: '%.200s' is out of order", *path);
	memcpy(r->previous, *path, strlen(*path) + 1);
	return 1;
}

static int check_size(struct reading *r, const char *path, unsigned long long size)
{
	if (strncmp(path, "oci/", 4) == 0)
		return 0;
	r->total += size;
	if (size > ARC_FILE_MAX)
		return err_set(r->e, ERR_BAD_INPUT, "%.200s: more than %d bytes", path,
			       ARC_FILE_MAX);
	if (r->total > ARC_TOTAL_MAX)
		return err_set(r->e, ERR_BAD_INPUT, "more than %llu bytes of files", ARC_TOTAL_MAX);
	return 0;
}

static int copy(struct reading *r, const char *path, unsigned long long size, struct digest *d)
{
	AUTO_FREE char *block = xmalloc(READ_MAX);
	unsigned long long got = 0;
	la_ssize_t n;
	while ((n = archive_read_data(r->a, block, READ_MAX)) > 0) {
		got += (unsigned long long)n;
		if (got > size)
			break;
		digest_update(d, block, (size_t)n);
		if (r->out->data(r->out->arg, block, (size_t)n, r->e) < 0)
			return -1;
	}
	if (n < 0)
		return tar_failed(r);
	r->end = archive_filter_bytes(r->a, 0);
	return got == size ? 0
			   : err_set(r->e, ERR_BAD_INPUT, "%.200s: not as long as it says", path);
}

static int read_file(struct reading *r, const char *path, const char *hex, unsigned long long size)
{
	char is[DIGEST_HEX_LEN + 1];
	struct digest d;
	if (check_size(r, path, size) < 0 || r->out->begin(r->out->arg, path, size, r->e) < 0)
		return -1;
	digest_init(&d);
	int rc = copy(r, path, size, &d);
	digest_hex(&d, is);
	if (rc < 0)
		return -1;
	if (strcmp(hex, is) != 0 && !r->in->unsummed)
		return err_set(r->e, ERR_BAD_INPUT, "%.200s: damaged: its SHA-256 is %s", path, is);
	return r->out->end(r->out->arg, r->e);
}

/* 1 with the next entry, 0 at the end. */
static int next_entry(struct reading *r, struct archive_entry **ae, const char **path)
{
	int rc;
	do
		rc = archive_read_next_header(r->a, ae);
	while (rc == ARCHIVE_RETRY);
	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc < ARCHIVE_WARN)
		return tar_failed(r);
	return check_header(r, *ae, path) < 0 ? -1 : 1;
}

/* Behind the last file are zeros, and the compressed stream must be whole. */
static int read_rest(struct reading *r)
{
	const void *data;
	long n;
	while ((n = r->in->next(r->in->arg, &data, r->e)) > 0)
		note_block(r, data, n);
	if (n < 0)
		return -1;
	return r->last <= r->end ? 0 : err_set(r->e, ERR_BAD_INPUT, "something follows its end");
}

static int read_all(struct reading *r)
{
	struct archive_entry *ae;
	const char *name = "", *path = "", *hex = "";
	size_t count = 0;
	int more = next_entry(r, &ae, &name), listed;
	if (more < 0)
		return -1;
	if (more == 0 || strcmp(name, "SHA256SUMS") != 0)
		return err_set(r->e, ERR_BAD_INPUT,
			       "not an archive of podreplay: no SHA256SUMS first");
	if (read_sums(r, (unsigned long long)archive_entry_size(ae)) < 0)
		return -1;
	while ((more = next_entry(r, &ae, &name)) > 0) {
		listed = next_sum(r, &hex, &path);
		if (listed < 0)
			return -1;
		if (listed == 0 || strcmp(name, path) != 0)
			return err_set(r->e, ERR_BAD_INPUT,
				       "%.200s: not the entry that SHA256SUMS has", name);
		if (++count > ARC_ENTRIES_MAX)
			return err_set(r->e, ERR_BAD_INPUT, "more than %d files", ARC_ENTRIES_MAX);
		if (read_file(r, path, hex, (unsigned long long)archive_entry_size(ae)) < 0)
			return -1;
	}
	if (more < 0 || (listed = next_sum(r, &hex, &path)) < 0)
		return -1;
	if (listed > 0)
		return err_set(r->e, ERR_BAD_INPUT, "cut off: %.200s is missing", path);
	return read_rest(r);
}

int arc_parse(const struct arc_input *in, const struct arc_sink *out, struct err *e)
{
	struct reading r = {.in = in, .out = out, .e = e, .a = archive_read_new()};
	if (!r.a)
		return err_set(e, ERR_EXHAUSTED, "no memory for libarchive");
	archive_read_support_format_tar(r.a);
	int rc = archive_read_open(r.a, &r, NULL, next_block, NULL) == ARCHIVE_OK ? read_all(&r)
										  : tar_failed(&r);
	archive_read_free(r.a);
	free(r.sums);
	return rc;
}
