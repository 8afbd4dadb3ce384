/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include "archive.h"
#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "image.h"
#include "jsonx.h"
#include "utf8.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX = 8 << 20, MANIFEST_MAX = 4 << 20, LINE_MAX_ = 4 * 4 * PATH_MAX };

/* Names come from hostile archives: nothing of them reaches a terminal but letters. */
static void escape(const char *s, char *out, size_t size)
{
	size_t n = 0;
	bool text = utf8_valid(s, strlen(s));
	for (; *s && n + 5 < size; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c == 0x7f || c == '\\' || (c >= 0x80 && !text))
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = *s;
	}
	out[n] = '\0';
}

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
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	escape(raw, why, sizeof why);
	escape(path, file, sizeof file);
	v->faults++;
	verify_progress(v, NULL);
	if (v->silent)
		return;
	if (!v->ctx->json) {
		printf("%s %s: %s%s%s\n", what, id, file, *file ? ": " : "", why);
		return;
	}
	AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:s}", what, id, "path", file, "problem", why);
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

static void image_fault(struct verify *v, const char *id, const char *file, const char *why)
{
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

static const char *diff_id(json_t *config, size_t i)
{
	json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	const char *id = json_string_value(json_array_get(ids, i));
	return id && strncmp(id, "sha256:", 7) == 0 && digest_is_hex(id + 7) ? id + 7 : NULL;
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
		const char *said = jsonx_opt_string(layer, "diff_id", "sha256:") + 7;
		const char *diff = config ? diff_id(config, i) : said;
		if (!digest_is_hex(dir) || !diff) {
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

static int check_image(void *arg, const char *id, struct err *e)
{
	struct verify *v = arg;
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

int verify_images(struct verify *v, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	v->bad_layers = json_object();
	v->bad_images = json_object();
	v->seen = json_object();
	if (argc == 0)
		return image_each(&v->ctx->st, check_image, v, e) < 0 ? -1 : check_names(v, e);
	for (int i = 0; i < argc; i++)
		if (image_resolve(&v->ctx->st, argv[i], id, e) < 0 || check_image(v, id, e) < 0)
			return -1;
	return 0;
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
