/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include "archive.h"
#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "image.h"
#include "imgstore.h"
#include "jsonx.h"
#include "utf8.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX = 8 << 20, MANIFEST_MAX = 4 << 20, LINE_MAX_ = 4 * 4 * PATH_MAX };

void verify_progress(const struct verify *v, const char *layer)
{
	if (!v->progress)
		return;
	fprintf(stderr, "\r\033[K");
	if (layer)
		fprintf(stderr, "layer %zu: %.12s", json_object_size(v->seen), layer);
	fflush(stderr);
}

void verify_fault(struct verify *v, const char *what, const char *id, const char *path,
		  const char *fmt, ...)
{
	static char raw[LINE_MAX_], why[LINE_MAX_], file[LINE_MAX_];
	char who[4 * NAME_MAX + 1];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	/* Names come from hostile archives: nothing of them reaches a terminal but letters. */
	utf8_escape(raw, why, sizeof why);
	utf8_escape(path, file, sizeof file);
	utf8_escape(id, who, sizeof who);
	v->faults++;
	verify_progress(v, NULL);
	if (v->silent)
		return;
	if (!v->ctx->json) {
		printf("%s %s: %s%s%s\n", what, who, file, *file ? ": " : "", why);
		return;
	}
	AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:s}", what, who, "path", file, "problem", why);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

void verify_file_fault(struct verify *v, const char *path, const char *why)
{
	static char key[LINE_MAX_];
	snprintf(key, sizeof key, "%s\n%s", path, why);
	if (json_object_get(v->told, key))
		return;
	json_object_set_new_nocheck(v->told, key, json_true());
	json_object_set_new(v->bad_layers, v->layer, json_true());
	verify_fault(v, "layer", v->layer, path, "%s", why);
}

/* One that was removed while we looked has no faults. */
static bool is_gone(const struct verify *v, const char *id)
{
	char path[100];
	snprintf(path, sizeof path, "images/%.64s", id + 7);
	return faccessat(v->ctx->st.root, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static void image_fault(struct verify *v, const char *id, const char *file, const char *why)
{
	if (is_gone(v, id))
		return;
	json_object_set_new(v->bad_images, id, json_true());
	verify_fault(v, "image", id, file, "%s", why);
}

/* A file of the image, its SHA-256 compared; NULL when it is bad, which is told. */
static json_t *read_hashed(struct verify *v, const char *id, const char *file, size_t limit,
			   const char *digest)
{
	char path[120], hex[DIGEST_HEX_LEN + 1];
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(limit);
	snprintf(path, sizeof path, "images/%.64s/%s", id + 7, file);
	if (fs_read_at(v->ctx->st.root, path, &b, &e) < 0) {
		image_fault(v, id, file, e.kind == ERR_NOT_FOUND ? "missing" : e.msg);
		return NULL;
	}
	digest_of(b.data ? b.data : "", b.len, hex);
	if (strncmp(digest, "sha256:", 7) != 0 || strcmp(digest + 7, hex) != 0) {
		image_fault(v, id, file, "content differs");
		return NULL;
	}
	json_t *j = jsonx_parse(b.data ? b.data : "", b.len, file, &e);
	if (!j)
		image_fault(v, id, file, e.msg);
	return j;
}

/* The hex digits of a digest in a record; NULL when it is none. */
static const char *hex_of(const json_t *digest)
{
	const char *text = json_string_value(digest);
	return text && strncmp(text, "sha256:", 7) == 0 && digest_is_hex(text + 7) ? text + 7
										   : NULL;
}

/* The chain ID of the layers up to i, from that of the one below. */
static void chain(const char *diff, char hex[DIGEST_HEX_LEN + 1], bool first)
{
	char text[200];
	if (first) {
		snprintf(hex, DIGEST_HEX_LEN + 1, "%.64s", diff);
		return;
	}
	int n = snprintf(text, sizeof text, "sha256:%s sha256:%s", hex, diff);
	digest_of(text, (size_t)n, hex);
}

static int check_layers(struct verify *v, const char *id, json_t *meta, json_t *config,
			struct err *e)
{
	size_t i;
	json_t *layer, *layers = json_object_get(meta, "layers");
	char hex[DIGEST_HEX_LEN + 1] = "";
	json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	if (config && json_array_size(ids) != json_array_size(layers))
		image_fault(v, id, "image.json",
			    "it has another number of layers than config.json");
	json_array_foreach (layers, i, layer) {
		const char *dir = jsonx_opt_string(layer, "id", "");
		const char *said = hex_of(json_object_get(layer, "diff_id"));
		const char *diff = config ? hex_of(json_array_get(ids, i)) : said;
		if (!digest_is_hex(dir) || !said || !diff) {
			image_fault(v, id, "image.json", "its layers");
			continue;
		}
		chain(diff, hex, i == 0);
		if (strcmp(said, diff) != 0 || (strcmp(dir, diff) != 0 && strcmp(dir, hex) != 0))
			image_fault(v, id, "image.json", "a layer is not what config.json says");
		if (verify_layer(v, dir, diff, e) < 0)
			return -1;
	}
	return 0;
}

static int check_image(struct verify *v, const char *id, struct err *e)
{
	struct err why;
	AUTO_IMAGE struct image img = {.meta = NULL};
	if (image_open(&v->ctx->st, id, false, &img, &why) < 0) {
		if (why.kind == ERR_NOT_FOUND) /* removed meanwhile */
			return 0;
		image_fault(v, id, "image.json", why.msg);
	}
	AUTO_JSON json_t *config = read_hashed(v, id, "config.json", CONFIG_MAX, id);
	AUTO_JSON json_t *manifest =
		!img.meta ? NULL
			  : read_hashed(v, id, "manifest.json", MANIFEST_MAX,
					jsonx_opt_string(img.meta, "manifest_digest", ""));
	const char *of = jsonx_opt_string(json_object_get(manifest, "config"), "digest", id);
	if (strcmp(of, id) != 0)
		image_fault(v, id, "manifest.json", "it is another image's");
	if (img.meta && strcmp(jsonx_opt_string(img.meta, "id", id), id) != 0)
		image_fault(v, id, "image.json", "it is another image's");
	return check_layers(v, id, img.meta, config, e);
}

/* Names that lead nowhere. */
static int check_names(struct verify *v, struct err *e)
{
	const struct dirent *de;
	AUTO_JSON json_t *names = image_names(&v->ctx->st, e);
	int fd = names ? fs_open_dir(v->ctx->st.root, "names", e) : -1;
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char name[NAME_MAX + 1];
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		if (image_name_unescape(de->d_name, name, sizeof name) < 0 ||
		    !json_object_get(names, name))
			verify_fault(v, "name", de->d_name, "", "it is no link to an image");
		else if (faccessat(fd, de->d_name, F_OK, 0) < 0)
			verify_fault(v, "name", name, "", "its image is missing");
	}
	return 0;
}

static int note_image(void *arg, const char *id, struct err *e)
{
	(void)e;
	json_array_append_new(arg, json_string(id));
	return 0;
}

int verify_images(struct verify *v, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	size_t k;
	json_t *image;
	struct err ignored;
	struct imgstore_tmp hold = IMGSTORE_TMP_NONE;
	AUTO_JSON json_t *ids = json_array();
	v->bad_layers = json_object();
	v->bad_images = json_object();
	v->seen = json_object();
	if (argc == 0 && image_each(&v->ctx->st, note_image, ids, e) < 0)
		return -1;
	for (int i = 0; i < argc; i++) {
		if (image_resolve(&v->ctx->st, argv[i], id, e) < 0)
			return -1;
		json_array_append_new(ids, json_string(id));
	}
	/* A removal must not take what we read. */
	int rc = hold_layers(v->ctx, ids, &hold, e);
	json_array_foreach (ids, k, image)
		rc = rc < 0 ? rc : check_image(v, json_string_value(image), e);
	if (imgstore_tmp_drop(&v->ctx->st, &hold, rc < 0 ? &ignored : e) < 0)
		rc = -1;
	return rc < 0 || argc > 0 ? rc : check_names(v, e);
}

void verify_release(struct verify *v)
{
	json_decref(v->bad_layers);
	json_decref(v->bad_images);
	json_decref(v->seen);
}

int store_verify(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct verify v = {.ctx = c, .progress = isatty(STDERR_FILENO)};
	int rc = verify_images(&v, argc, argv, e);
	if (rc == 0 && v.faults > 0)
		rc = err_set(e, ERR_BAD_STATE, "%zu fault%s in %zu layer%s and %zu image record%s",
			     v.faults, v.faults == 1 ? "" : "s", json_object_size(v.bad_layers),
			     json_object_size(v.bad_layers) == 1 ? "" : "s",
			     json_object_size(v.bad_images),
			     json_object_size(v.bad_images) == 1 ? "" : "s");
	verify_release(&v);
	return rc;
}
