/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "recipe.h"
#include "save.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK = 256 << 10 };

/* A compressed layer's size is known only at its end: it is put aside first. */
struct squeeze {
	enum save_compress how;
	ZSTD_CCtx *zstd;
	z_stream gzip;
	bool gzip_up;
	int fd;
	struct digest hash;
	json_int_t size;
	char *out;
};

static struct recipe *open_recipe(const struct save *s, const struct save_layer *l, int *dir,
				  struct err *e)
{
	char path[100], hex[DIGEST_HEX_LEN + 1];
	snprintf(path, sizeof path, "layers/%.64s", l->id);
	*dir = fs_open_dir(s->ctx->st.root, path, e);
	struct recipe *r = *dir < 0 ? NULL : recipe_open(*dir, NULL, NULL, e);
	if (!r && *dir >= 0 && e->kind == ERR_NOT_FOUND)
		return err_set_p(e, ERR_UNSUPPORTED,
				 "layer %s: cannot be saved: it was stored without a recipe; pull "
				 "the image again after `ocistore rm`",
				 l->id);
	if (!r)
		return err_wrap(e, "layer %s", l->id), NULL;
	recipe_diff_id(r, hex);
	if (strcmp(hex, l->diff) == 0)
		return r;
	recipe_close(r);
	return err_set_p(e, ERR_BAD_STATE, "layer %s: it is sha256:%s, not sha256:%s", l->id, hex,
			 l->diff);
}

static int each_chunk(struct save *s, const struct save_layer *l, struct recipe *r,
		      int (*fn)(void *arg, const void *data, size_t len, struct err *e), void *arg,
		      struct err *e)
{
	const void *data;
	ssize_t n;
	(void)s;
	while ((n = recipe_next(r, &data, e)) > 0) {
		if (fn(arg, data, (size_t)n, e) < 0)
			return -1;
	}
	return n < 0 ? err_wrap(e, "layer %s", l->id) : 0;
}

static int to_out(void *arg, const void *data, size_t len, struct err *e)
{
	return save_out_write(arg, data, len, e);
}

int save_layer_plain(struct save *s, const struct save_layer *l, const char *name, struct err *e)
{
	AUTO_CLOSE int dir = -1;
	struct recipe *r = open_recipe(s, l, &dir, e);
	if (!r)
		return -1;
	int rc = save_out_begin(&s->out, name, recipe_size(r), e);
	if (rc == 0)
		rc = each_chunk(s, l, r, to_out, &s->out, e);
	if (rc == 0)
		rc = save_out_end(&s->out, e);
	recipe_close(r);
	return rc;
}

static int put(struct squeeze *q, size_t len, struct err *e)
{
	digest_update(&q->hash, q->out, len);
	q->size += (json_int_t)len;
	return fs_write_all(q->fd, q->out, len, e);
}

static int gzip_some(struct squeeze *q, const void *data, size_t len, bool end, struct err *e)
{
	int rc;
	/* zlib's member lacks a const. */
	q->gzip.next_in = (Bytef *)(uintptr_t)data;
	q->gzip.avail_in = (uInt)len;
	do {
		q->gzip.next_out = (Bytef *)q->out;
		q->gzip.avail_out = CHUNK;
		rc = deflate(&q->gzip, end ? Z_FINISH : Z_NO_FLUSH);
		if (put(q, CHUNK - q->gzip.avail_out, e) < 0)
			return -1;
	} while (q->gzip.avail_out == 0 || (end && rc == Z_OK));
	return 0;
}

static int zstd_some(struct squeeze *q, const void *data, size_t len, bool end, struct err *e)
{
	ZSTD_inBuffer in = {.src = data, .size = len};
	size_t left;
	do {
		ZSTD_outBuffer out = {.dst = q->out, .size = CHUNK};
		left = ZSTD_compressStream2(q->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(e, ERR_FAILED, "zstd: %s", ZSTD_getErrorName(left));
		if (put(q, out.pos, e) < 0)
			return -1;
	} while (in.pos < in.size || (end && left > 0));
	return 0;
}

static int squeeze_some(void *arg, const void *data, size_t len, struct err *e)
{
	struct squeeze *q = arg;
	return q->how == SAVE_GZIP ? gzip_some(q, data, len, false, e)
				   : zstd_some(q, data, len, false, e);
}

static int squeeze_open(struct squeeze *q, const struct save *s, struct err *e)
{
	q->how = s->compress;
	q->out = xmalloc(CHUNK);
	digest_init(&q->hash);
	q->fd = openat(s->ctx->st.root, "tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (q->fd < 0)
		return err_sys(e, "make a temporary file");
	if (q->how == SAVE_GZIP) {
		/* 16: a gzip header, without time and name. */
		q->gzip_up = deflateInit2(&q->gzip, s->level, Z_DEFLATED, 15 + 16, 8,
					  Z_DEFAULT_STRATEGY) == Z_OK;
		return q->gzip_up ? 0 : err_set(e, ERR_EXHAUSTED, "no memory for zlib");
	}
	q->zstd = ZSTD_createCCtx();
	if (!q->zstd)
		return err_set(e, ERR_EXHAUSTED, "no memory for zstd");
	ZSTD_CCtx_setParameter(q->zstd, ZSTD_c_compressionLevel, s->level);
	ZSTD_CCtx_setParameter(q->zstd, ZSTD_c_checksumFlag, 1);
	return 0;
}

static void squeeze_close(struct squeeze *q)
{
	if (q->gzip_up)
		deflateEnd(&q->gzip);
	ZSTD_freeCCtx(q->zstd);
	auto_close(&q->fd);
	digest_release(&q->hash);
	free(q->out);
}

static int copy_blob(struct save *s, struct squeeze *q, const char *name, struct err *e)
{
	if (save_out_begin(&s->out, name, (unsigned long long)q->size, e) < 0)
		return -1;
	if (lseek(q->fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seek");
	for (;;) {
		ssize_t n = read(q->fd, q->out, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read temporary file");
		if (n == 0)
			return save_out_end(&s->out, e);
		if (save_out_write(&s->out, q->out, (size_t)n, e) < 0)
			return -1;
	}
}

static int squeeze_layer(struct save *s, struct save_layer *l, struct recipe *r, struct squeeze *q,
			 struct err *e)
{
	char name[100];
	if (squeeze_open(q, s, e) < 0 || each_chunk(s, l, r, squeeze_some, q, e) < 0)
		return -1;
	if ((q->how == SAVE_GZIP ? gzip_some(q, "", 0, true, e) : zstd_some(q, "", 0, true, e)) < 0)
		return -1;
	digest_hex(&q->hash, l->blob);
	l->blob_size = q->size;
	snprintf(name, sizeof name, "blobs/sha256/%s", l->blob);
	return copy_blob(s, q, name, e);
}

int save_layer_blob(struct save *s, struct save_layer *l, struct err *e)
{
	char name[100];
	struct squeeze q = {.fd = -1};
	AUTO_CLOSE int dir = -1;
	struct recipe *r = open_recipe(s, l, &dir, e);
	if (!r)
		return -1;
	if (s->compress == SAVE_PLAIN) {
		snprintf(l->blob, sizeof l->blob, "%s", l->diff);
		l->blob_size = (json_int_t)recipe_size(r);
		recipe_close(r);
		snprintf(name, sizeof name, "blobs/sha256/%s", l->diff);
		return save_layer_plain(s, l, name, e);
	}
	int rc = squeeze_layer(s, l, r, &q, e);
	squeeze_close(&q);
	recipe_close(r);
	return rc;
}
