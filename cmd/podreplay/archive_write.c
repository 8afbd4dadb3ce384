/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "utf8.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <zstd.h>

enum { LEVEL = 6, BLOCK = 128 << 10 };

struct entry {
	char *path;
	char *data; /* NULL: dir/name */
	size_t len;
	int dir;
	char *name;
	unsigned long long size;
	char hex[DIGEST_HEX_LEN + 1];
};

struct arc_writer {
	struct entry *v;
	size_t n, room;
};

struct arc_writer *arc_writer_new(void)
{
	return xcalloc(1, sizeof(struct arc_writer));
}

void arc_writer_free(struct arc_writer *w)
{
	for (size_t i = 0; w && i < w->n; i++) {
		free(w->v[i].path);
		free(w->v[i].data);
		free(w->v[i].name);
		auto_close(&w->v[i].dir);
	}
	if (w)
		free(w->v);
	free(w);
}

/* ---- names */

static bool component_is_valid(const char *s, size_t n)
{
	return n > 0 && n <= 255 && !(n == 2 && memcmp(s, "..", 2) == 0);
}

bool arc_path_is_valid(const char *path)
{
	static const char *const dirs[] = {"pods",     "containers", "images",
					   "handlers", "volumes",    "oci"};
	static const char *const files[] = {"podreplay.json", "crisp.json", "versions.json",
					    "redacted.json"};
	size_t len = strlen(path), head = strcspn(path, "/");
	bool known = false;
	if (len >= ARC_PATH_MAX || !utf8_valid(path, len))
		return false;
	for (const char *s = path; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		known = known || strcmp(path, files[i]) == 0;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		known = known ||
			(path[head] && strlen(dirs[i]) == head && memcmp(path, dirs[i], head) == 0);
	if (!known)
		return false;
	for (const char *s = path;;) {
		size_t n = strcspn(s, "/");
		if (!component_is_valid(s, n) || (n == 1 && *s == '.'))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

/* ---- what is added */

static struct entry *new_entry(struct arc_writer *w, const char *path, struct err *e)
{
	if (!arc_path_is_valid(path))
		return err_set_p(e, ERR_BAD_INPUT, "archive: '%.200s' cannot be a file of it",
				 path);
	if (w->n == ARC_ENTRIES_MAX)
		return err_set_p(e, ERR_EXHAUSTED, "archive: more than %d files", ARC_ENTRIES_MAX);
	if (w->n == w->room) {
		w->room = w->room ? 2 * w->room : 64;
		w->v = xrealloc(w->v, w->room * sizeof *w->v);
	}
	struct entry *en = &w->v[w->n++];
	*en = (struct entry){.path = xstrdup(path), .dir = -1};
	return en;
}

int arc_add(struct arc_writer *w, const char *path, const void *data, size_t len, struct err *e)
{
	if (len > ARC_FILE_MAX)
		return err_set(e, ERR_EXHAUSTED, "archive: %.200s: more than %d bytes", path,
			       ARC_FILE_MAX);
	struct entry *en = new_entry(w, path, e);
	if (!en)
		return -1;
	en->data = xmalloc(len + 1);
	if (len)
		memcpy(en->data, data, len);
	en->data[len] = '\0';
	en->size = en->len = len;
	return 0;
}

int arc_add_json(struct arc_writer *w, const char *path, const json_t *j, struct err *e)
{
	AUTO_FREE char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);
	if (!text)
		return err_set(e, ERR_FAILED, "archive: %s cannot be written as JSON", path);
	AUTO_FREE char *line = xasprintf("%s\n", text);
	return arc_add(w, path, line, strlen(line), e);
}

int arc_add_file(struct arc_writer *w, const char *path, int dir, const char *name, struct err *e)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "archive: %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "archive: %s: not a regular file", name);
	struct entry *en = new_entry(w, path, e);
	if (!en)
		return -1;
	en->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	en->name = xstrdup(name);
	en->size = (unsigned long long)st.st_size;
	return en->dir < 0 ? err_sys(e, "archive: %s", name) : 0;
}

static int by_path(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return strcmp(x->path, y->path);
}

static int sort(struct arc_writer *w, struct err *e)
{
	if (w->n)
		qsort(w->v, w->n, sizeof *w->v, by_path);
	for (size_t i = 1; i < w->n; i++)
		if (strcmp(w->v[i - 1].path, w->v[i].path) == 0)
			return err_set(e, ERR_BAD_INPUT, "archive: %s comes twice", w->v[i].path);
	return 0;
}

int arc_each_added(const struct arc_writer *w,
		   int (*fn)(void *arg, const char *path, const char *data, size_t len,
			     struct err *e),
		   void *arg, struct err *e)
{
	for (size_t i = 0; i < w->n; i++) {
		int r = w->v[i].data ? fn(arg, w->v[i].path, w->v[i].data, w->v[i].len, e) : 0;
		if (r)
			return r;
	}
	return 0;
}

/* ---- the output */

struct out {
	int fd;
	ZSTD_CCtx *z;
	char *buf;
	size_t size;
	struct archive *a;
	struct archive_entry *ae;
	struct err *e;
};

static void out_release(struct out *o)
{
	archive_entry_free(o->ae);
	archive_write_free(o->a);
	ZSTD_freeCCtx(o->z);
	free(o->buf);
}

static int compress(struct out *o, const void *data, size_t len, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = {data, len, 0};
	for (;;) {
		ZSTD_outBuffer out = {o->buf, o->size, 0};
		size_t left = ZSTD_compressStream2(o->z, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(o->e, ERR_FAILED, "zstd: %s", ZSTD_getErrorName(left));
		if (fs_write_all(o->fd, out.dst, out.pos, o->e) < 0)
			return -1;
		if (how == ZSTD_e_end ? left == 0 : in.pos == in.size)
			return 0;
	}
}

static la_ssize_t put_block(struct archive *a, void *arg, const void *data, size_t len)
{
	struct out *o = arg;
	if (compress(o, data, len, ZSTD_e_continue) == 0)
		return (la_ssize_t)len;
	archive_set_error(a, EIO, "%s", o->e->msg);
	return -1;
}

static int out_failed(struct out *o)
{
	if (o->e->kind == ERR_OK)
		err_set(o->e, ERR_FAILED, "archive: %s", archive_error_string(o->a));
	return -1;
}

/* A frame whose checksum is there to be checked; one thread, so equal input gives equal bytes. */
static int out_open(struct out *o, int fd, bool ascii, struct err *e)
{
	o->fd = fd;
	o->e = e;
	e->kind = ERR_OK;
	o->size = ZSTD_CStreamOutSize();
	o->buf = xmalloc(o->size);
	o->z = ZSTD_createCCtx();
	o->a = archive_write_new();
	o->ae = archive_entry_new();
	if (!o->z || !o->a || !o->ae)
		return err_set(e, ERR_EXHAUSTED, "no memory for libarchive");
	ZSTD_CCtx_setParameter(o->z, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(o->z, ZSTD_c_checksumFlag, 1);
	/* Without this a name would go through the locale's character set. */
	const char *options = ascii ? NULL : "hdrcharset=BINARY";
	if (archive_write_set_format_pax_restricted(o->a) != ARCHIVE_OK ||
	    archive_write_set_options(o->a, options) != ARCHIVE_OK ||
	    archive_write_open(o->a, o, NULL, put_block, NULL) != ARCHIVE_OK)
		return out_failed(o);
	return 0;
}

static int put_header(struct out *o, const char *path, unsigned long long size)
{
	archive_entry_clear(o->ae);
	archive_entry_set_pathname(o->ae, path);
	archive_entry_set_filetype(o->ae, AE_IFREG);
	archive_entry_set_perm(o->ae, 0600);
	archive_entry_set_size(o->ae, (la_int64_t)size);
	archive_entry_set_mtime(o->ae, 0, 0);
	return archive_write_header(o->a, o->ae) == ARCHIVE_OK ? 0 : out_failed(o);
}

static int put_bytes(struct out *o, const void *data, size_t len)
{
	if (len == 0 || archive_write_data(o->a, data, len) == (la_ssize_t)len)
		return 0;
	return out_failed(o);
}

/* ---- one entry's bytes */

static int each_block(const struct entry *en,
		      int (*fn)(void *arg, const void *data, size_t len, struct err *e), void *arg,
		      struct err *e)
{
	unsigned long long left = en->size;
	if (en->data)
		return fn(arg, en->data, en->len, e);
	AUTO_CLOSE int fd = fs_open_beneath(en->dir, en->name, O_RDONLY | O_NOFOLLOW, 0, e);
	AUTO_FREE char *block = xmalloc(BLOCK);
	if (fd < 0)
		return err_wrap(e, "archive");
	while (left > 0) {
		ssize_t n = read(fd, block, left < BLOCK ? (size_t)left : BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "archive: read %s", en->name)
				     : err_set(e, ERR_FAILED, "archive: %s became shorter",
					       en->name);
		left -= (unsigned long long)n;
		if (fn(arg, block, (size_t)n, e) < 0)
			return -1;
	}
	return 0;
}

static int hash_block(void *arg, const void *data, size_t len, struct err *e)
{
	(void)e;
	digest_update(arg, data, len);
	return 0;
}

static int out_block(void *arg, const void *data, size_t len, struct err *e)
{
	(void)e; /* the output's own */
	return put_bytes(arg, data, len);
}

static int sums_of(struct arc_writer *w, struct buf *sums, struct err *e)
{
	for (size_t i = 0; i < w->n; i++) {
		struct entry *en = &w->v[i];
		struct digest d;
		digest_init(&d);
		int r = each_block(en, hash_block, &d, e);
		digest_hex(&d, en->hex);
		if (r < 0 || buf_addf(sums, e, "%s  %s\n", en->hex, en->path) < 0)
			return -1;
	}
	return 0;
}

static bool is_ascii(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] > 0x7e)
			return false;
	return true;
}

static int write_all(struct arc_writer *w, int fd, struct err *e)
{
	__attribute__((cleanup(out_release))) struct out o = {.fd = -1};
	AUTO_BUF struct buf sums = BUF_INIT(ARC_SUMS_MAX);
	if (sort(w, e) < 0 || sums_of(w, &sums, e) < 0 || out_open(&o, fd, is_ascii(&sums), e) < 0)
		return -1;
	if (put_header(&o, "SHA256SUMS", sums.len) < 0 || put_bytes(&o, sums.data, sums.len) < 0)
		return -1;
	for (size_t i = 0; i < w->n; i++)
		if (put_header(&o, w->v[i].path, w->v[i].size) < 0 ||
		    each_block(&w->v[i], out_block, &o, e) < 0)
			return -1;
	if (archive_write_close(o.a) != ARCHIVE_OK)
		return out_failed(&o);
	return compress(&o, NULL, 0, ZSTD_e_end);
}

static void tmp_name(const char *leaf, char out[NAME_MAX + 1])
{
	unsigned long long rnd = 0;
	while (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		;
	snprintf(out, NAME_MAX + 1, ".%.200s.%016llx", leaf, rnd);
}

int arc_write(struct arc_writer *w, const char *out, struct err *e)
{
	char tmp[NAME_MAX + 1];
	const char *slash = strrchr(out, '/'), *leaf = slash ? slash + 1 : out;
	if (strcmp(out, "-") == 0)
		return write_all(w, STDOUT_FILENO, e);
	if (!*leaf || strcmp(leaf, ".") == 0 || strcmp(leaf, "..") == 0)
		return err_set(e, ERR_USAGE, "'%.300s' is no name for a file", out);
	AUTO_FREE char *parent = slash ? xstrndup(out, (size_t)(slash - out) + 1) : xstrdup(".");
	AUTO_CLOSE int dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "open %.300s", parent);
	tmp_name(leaf, tmp);
	AUTO_CLOSE int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "create %.300s", out);
	int r = write_all(w, fd, e);
	if (r == 0 && renameat(dir, tmp, dir, leaf) < 0)
		r = err_sys(e, "rename to %.300s", out);
	if (r < 0)
		(void)unlinkat(dir, tmp, 0);
	return r < 0 ? err_wrap(e, "%.300s", out) : 0;
}
