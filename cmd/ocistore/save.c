/* SPDX-License-Identifier: Apache-2.0 */
#include "save.h"

#include "archive.h"
#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "ref.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

static const char *save_format = "docker-archive", *save_output = "-", *save_compression;

const struct opt save_opts[] = {
	{"format", 0, OPT_STRING, &save_format, "docker-archive|oci-archive|oci",
	 "what to write (docker-archive)"},
	{"output", 'o', OPT_STRING, &save_output, "FILE|DIR|-",
	 "where to (-: standard output, the default)"},
	{"compress", 0, OPT_STRING, &save_compression, "gzip|zstd[:LEVEL]",
	 "compress the layers (OCI forms)"},
	{.name = NULL},
};

enum { CONFIG_MAX = 8 << 20, GZIP_LEVEL = 6, ZSTD_LEVEL = 3, ZSTD_LEVEL_MAX = 19 };

static int parse_compression(struct save *s, struct err *e)
{
	const char *text = save_compression;
	long level = -1;
	if (!text)
		return 0;
	size_t n = strcspn(text, ":");
	if (n == 4 && strncmp(text, "gzip", 4) == 0)
		s->compress = SAVE_GZIP;
	else if (n == 4 && strncmp(text, "zstd", 4) == 0)
		s->compress = SAVE_ZSTD;
	else
		return err_set(e, ERR_USAGE, "--compress: '%.40s' is not gzip or zstd", text);
	bool gzip = s->compress == SAVE_GZIP;
	if (text[n] && (tool_parse_long(text + n + 1, &level) < 0 || level < 1 ||
			level > (gzip ? 9 : ZSTD_LEVEL_MAX)))
		return err_set(e, ERR_USAGE, "--compress: level '%.40s' is not between 1 and %d",
			       text + n + 1, gzip ? 9 : ZSTD_LEVEL_MAX);
	s->level = level > 0 ? (int)level : gzip ? GZIP_LEVEL : ZSTD_LEVEL;
	if (strcmp(save_format, "docker-archive") == 0)
		return err_set(e, ERR_USAGE, "--compress: a docker-archive has plain layers");
	return 0;
}

/* The layer's place among all, where it comes the first time or not. */
static size_t layer_index(struct save *s, const char *id, const char *diff)
{
	for (size_t i = 0; i < s->layer_count; i++)
		if (strcmp(s->layers[i].diff, diff) == 0)
			return i;
	s->layers = xrealloc(s->layers, (s->layer_count + 1) * sizeof *s->layers);
	struct save_layer *l = &s->layers[s->layer_count];
	*l = (struct save_layer){.blob_size = 0};
	snprintf(l->id, sizeof l->id, "%.64s", id);
	snprintf(l->diff, sizeof l->diff, "%.64s", diff);
	return s->layer_count++;
}

/* The configuration decides what the layers are; the store's record, where. */
static int take_layers(struct save *s, struct save_image *m, json_t *meta, struct err *e)
{
	size_t i;
	json_t *id;
	AUTO_JSON json_t *config = jsonx_parse(m->config.data, m->config.len, "config.json", e);
	json_t *ids =
		config ? jsonx_get(config, "config.json", JSON_ARRAY, e, "rootfs", "diff_ids", NULL)
		       : NULL;
	json_t *layers = json_object_get(meta, "layers");
	if (!ids)
		return -1;
	m->count = json_array_size(ids);
	if (m->count != json_array_size(layers))
		return err_set(e, ERR_BAD_STATE, "image.json: %zu layers, but config.json has %zu",
			       json_array_size(layers), m->count);
	m->layers = xcalloc(m->count + 1, sizeof *m->layers);
	json_array_foreach (ids, i, id) {
		const char *diff = digest_parse(json_is_string(id) ? json_string_value(id) : "", e);
		const char *dir = jsonx_opt_string(json_array_get(layers, i), "id", "");
		if (!diff)
			return err_wrap(e, "config.json: rootfs.diff_ids");
		if (!digest_is_hex(dir))
			return err_set(e, ERR_BAD_STATE, "image.json: layers[%zu]: no id", i);
		m->layers[i] = layer_index(s, dir, diff);
		snprintf(m->last_layer, sizeof m->last_layer, "%.64s", diff);
	}
	return 0;
}

/* Saved under the name that was given; under all of its tags when an id or digest was. */
static void take_names(struct save_image *m, const char *typed, json_t *names)
{
	const char *name;
	json_t *target;
	struct ref r;
	char normal[REF_STR_SIZE];
	struct err ignored;
	if (ref_parse(&r, typed, &ignored) == 0 && *r.tag && !*r.digest) {
		ref_name(&r, normal);
		target = json_object_get(names, normal);
		if (json_is_string(target) && strcmp(json_string_value(target), m->id) == 0) {
			json_array_append_new(m->names, json_string(normal));
			return;
		}
	}
	json_object_foreach (names, name, target)
		if (!strchr(name, '@') && strcmp(json_string_value(target), m->id) == 0)
			json_array_append_new(m->names, json_string(name));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *)a),
		      json_string_value(*(json_t *const *)b));
}

/* In the order of their bytes and each once, whatever order the directory has. */
static void sort_names(struct save_image *m)
{
	size_t n = json_array_size(m->names);
	AUTO_FREE json_t **list = xcalloc(n + 1, sizeof(json_t *));
	json_t *sorted = json_array();
	for (size_t i = 0; i < n; i++)
		list[i] = json_array_get(m->names, i);
	qsort(list, n, sizeof(json_t *), by_name);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !json_equal(list[i], list[i - 1]))
			json_array_append(sorted, list[i]);
	json_decref(m->names);
	m->names = sorted;
}

static int read_config(struct save *s, struct save_image *m, struct err *e)
{
	char path[100], hex[DIGEST_HEX_LEN + 1];
	m->config = BUF_INIT(CONFIG_MAX);
	snprintf(path, sizeof path, "images/%.64s/config.json", m->id + 7);
	if (fs_read_at(s->ctx->st.root, path, &m->config, e) < 0)
		return -1;
	digest_of(m->config.data ? m->config.data : "", m->config.len, hex);
	if (strcmp(hex, m->id + 7) != 0)
		return err_set(e, ERR_BAD_STATE, "config.json: content differs");
	return 0;
}

static int add_image(struct save *s, const char *typed, json_t *names, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	AUTO_IMAGE struct image img = {.meta = NULL};
	if (image_resolve(&s->ctx->st, typed, id, e) < 0)
		return -1;
	for (size_t i = 0; i < s->image_count; i++)
		if (strcmp(s->images[i].id, id) == 0) {
			take_names(&s->images[i], typed, names);
			return 0;
		}
	struct save_image *m = &s->images[s->image_count++];
	snprintf(m->id, sizeof m->id, "%s", id);
	m->names = json_array();
	if (image_open(&s->ctx->st, id, false, &img, e) < 0)
		return -1;
	if (read_config(s, m, e) < 0 || take_layers(s, m, img.meta, e) < 0)
		return err_wrap(e, "image %s", id);
	take_names(m, typed, names);
	return 0;
}

static int hold(struct save *s, struct err *e)
{
	AUTO_JSON json_t *ids = json_array();
	for (size_t i = 0; i < s->image_count; i++)
		json_array_append_new(ids, json_string(s->images[i].id));
	return hold_layers(s->ctx, ids, &s->hold, e);
}

static int run(struct save *s, int argc, char **argv, struct err *e)
{
	bool oci = strcmp(save_format, "oci-archive") == 0, dir = strcmp(save_format, "oci") == 0;
	if (!oci && !dir && strcmp(save_format, "docker-archive") != 0)
		return err_set(e, ERR_USAGE,
			       "--format: '%.40s' is not docker-archive, oci-archive or oci",
			       save_format);
	AUTO_JSON json_t *names = image_names(&s->ctx->st, e);
	if (!names || parse_compression(s, e) < 0)
		return -1;
	for (int i = 0; i < argc; i++)
		if (add_image(s, argv[i], names, e) < 0)
			return -1;
	for (size_t i = 0; i < s->image_count; i++)
		sort_names(&s->images[i]);
	if (save_out_open(&s->out, save_output, dir, e) < 0 || hold(s, e) < 0)
		return -1;
	if ((oci || dir ? save_oci(s, e) : save_docker(s, e)) < 0)
		return -1;
	return save_out_commit(&s->out, e);
}

int store_save(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct save s = {.ctx = c, .out = SAVE_OUT_NONE, .hold = IMGSTORE_TMP_NONE};
	struct err ignored;
	s.images = xcalloc((size_t)argc, sizeof *s.images);
	int rc = run(&s, argc, argv, e);
	save_out_close(&s.out);
	(void)imgstore_tmp_drop(&c->st, &s.hold, &ignored);
	for (size_t i = 0; i < s.image_count; i++) {
		json_decref(s.images[i].names);
		buf_release(&s.images[i].config);
		free(s.images[i].layers);
	}
	free(s.images);
	free(s.layers);
	return rc;
}
