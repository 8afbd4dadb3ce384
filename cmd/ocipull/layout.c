/* SPDX-License-Identifier: Apache-2.0 */
/* OCI layouts and docker archives: which of their images is meant, and what it is called. */
#include "source.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define REF_NAME "org.opencontainers.image.ref.name"
#define CONTAINERD_NAME "io.containerd.image.name"

enum { INDEX_MAX = 4 << 20 };

static json_t *read_json(const struct source *s, const char *name, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(INDEX_MAX);
	AUTO_CLOSE int fd = source_file(s, name, e);
	if (fd < 0 || read_regular(fd, name, &b, e) < 0)
		return NULL;
	return jsonx_parse(b.data, b.len, name, e);
}

static void add_name(struct source *s, const char *text)
{
	struct ref r;
	struct err ignored;
	char name[REF_STR_SIZE];
	if (ref_parse(&r, text, &ignored) < 0 || !*r.tag)
		return;
	r.digest[0] = '\0';
	ref_name(&r, name);
	json_array_append_new(s->names, json_string(name));
}

static bool same_ref(const char *a, const char *b)
{
	struct ref ra, rb;
	struct err ignored;
	char na[REF_STR_SIZE], nb[REF_STR_SIZE];
	if (strcmp(a, b) == 0)
		return true;
	if (ref_parse(&ra, a, &ignored) < 0 || ref_parse(&rb, b, &ignored) < 0)
		return false;
	ref_name(&ra, na);
	ref_name(&rb, nb);
	return strcmp(na, nb) == 0;
}

static const char *annotation(json_t *entry, const char *key)
{
	return jsonx_opt_string(json_object_get(entry, "annotations"), key, "");
}

/* A full reference names the image by itself; a bare tag is completed with the layout's name. */
static void name_layout_image(struct source *s, json_t *entry)
{
	char text[600];
	const char *full = annotation(entry, CONTAINERD_NAME), *tag = annotation(entry, REF_NAME);
	if (strchr(tag, '/'))
		full = tag;
	if (*full) {
		add_name(s, full);
	} else if (*tag) {
		snprintf(text, sizeof text, "localhost/%s:%s", s->base, tag);
		add_name(s, text);
	}
}

/* "@N": the N-th image, from 0, as skopeo writes it. NULL: not of that form, or there is none. */
static json_t *by_number(json_t *all, const char *wanted)
{
	char *end;
	if (wanted[0] != '@' || wanted[1] < '0' || wanted[1] > '9' || strlen(wanted) > 7)
		return NULL;
	long n = strtol(wanted + 1, &end, 10);
	return *end ? NULL : json_array_get(all, (size_t)n);
}

int layout_open(struct source *s, const char *tag, struct err *e)
{
	size_t i;
	json_t *entry;
	char list[400] = "";
	AUTO_JSON json_t *index = read_json(s, "index.json", e);
	json_t *all =
		index ? jsonx_get(index, "index.json", JSON_ARRAY, e, "manifests", NULL) : NULL;
	if (!all)
		return -1;
	json_t *found = by_number(all, tag);
	json_array_foreach (all, i, entry) {
		const char *name = annotation(entry, REF_NAME);
		size_t n = strlen(list);
		if (*name && n + 2 + strlen(name) < sizeof list)
			snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", name);
		if (*tag && (strcmp(name, tag) == 0 || same_ref(name, tag) ||
			     same_ref(annotation(entry, CONTAINERD_NAME), tag)))
			found = entry;
	}
	if (!*tag && json_array_size(all) == 1)
		found = json_array_get(all, 0);
	if (!found && *tag)
		return err_set(e, ERR_NOT_FOUND, "no image '%.128s', only: %s", tag,
			       *list ? list : "images without a name");
	if (!found)
		return err_set(e, json_array_size(all) ? ERR_BAD_INPUT : ERR_NOT_FOUND,
			       json_array_size(all) ? "which image is meant? there are: %s"
						    : "no image in it%s",
			       list);
	name_layout_image(s, found);
	return descriptor_parse(found, "index.json: manifests", &s->top, e);
}

static json_t *choose_entry(json_t *all, const char *wanted, struct err *e)
{
	size_t i, k;
	json_t *entry, *tag;
	if (!json_is_array(all) || json_array_size(all) == 0)
		return err_set_p(e, ERR_BAD_INPUT, "manifest.json: no image in it");
	if (!*wanted && json_array_size(all) == 1)
		return json_array_get(all, 0);
	if (!*wanted)
		return err_set_p(e, ERR_BAD_INPUT, "which of its %zu images is meant?",
				 json_array_size(all));
	entry = by_number(all, wanted);
	if (entry)
		return entry;
	json_array_foreach (all, i, entry) {
		json_array_foreach (json_object_get(entry, "RepoTags"), k, tag) {
			if (json_is_string(tag) && same_ref(json_string_value(tag), wanted))
				return entry;
		}
	}
	return err_set_p(e, ERR_NOT_FOUND, "no image '%.200s' in it", wanted);
}

/* The archive has no manifest of the kind that the store keeps: one is made of its uncompressed
 * layers, whose digests are the diff IDs. */
static int make_manifest(struct source *s, json_t *config, json_t *layers, struct err *e)
{
	size_t i;
	json_t *path;
	char hex[DIGEST_HEX_LEN + 1];
	AUTO_JSON json_t *list = json_array();
	json_t *ids = jsonx_get(config, "config", JSON_ARRAY, e, "rootfs", "diff_ids", NULL);
	if (!ids)
		return -1;
	if (json_array_size(ids) != json_array_size(layers))
		return err_set(e, ERR_BAD_INPUT, "%zu layers, but the config has %zu diff_ids",
			       json_array_size(layers), json_array_size(ids));
	json_array_foreach (layers, i, path) {
		struct stat st;
		const char *name = json_string_value(path);
		const char *id = json_string_value(json_array_get(ids, i));
		if (!name || !id)
			return err_set(e, ERR_BAD_INPUT, "manifest.json: Layers: expected strings");
		AUTO_CLOSE int fd = source_file(s, name, e);
		if (fd < 0)
			return -1;
		if (fstat(fd, &st) < 0)
			return err_sys(e, "stat %.200s", name);
		json_array_append_new(list,
				      json_pack("{s:s,s:s,s:I}", "mediaType",
						"application/vnd.oci.image.layer.v1.tar", "digest",
						id, "size", (json_int_t)st.st_size));
	}
	s->layer_paths = json_incref(layers);
	digest_of(s->config_text.data, s->config_text.len, hex);
	AUTO_JSON json_t *m =
		json_pack("{s:i,s:s,s:{s:s,s:s+,s:I},s:O}", "schemaVersion", 2, "mediaType",
			  "application/vnd.oci.image.manifest.v1+json", "config", "mediaType",
			  "application/vnd.oci.image.config.v1+json", "digest", "sha256:", hex,
			  "size", (json_int_t)s->config_text.len, "layers", list);
	AUTO_FREE char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ERR_BAD_INPUT, "manifest.json: cannot make a manifest of it");
	return buf_addstr(&s->manifest_text, text, e);
}

int docker_archive_open(struct source *s, const char *wanted, struct err *e)
{
	size_t i;
	json_t *tag;
	AUTO_JSON json_t *all = read_json(s, "manifest.json", e);
	json_t *entry = all ? choose_entry(all, wanted, e) : NULL;
	const char *path = entry ? jsonx_string(entry, "manifest.json", "Config", e) : NULL;
	json_t *layers =
		path ? jsonx_get(entry, "manifest.json", JSON_ARRAY, e, "Layers", NULL) : NULL;
	AUTO_CLOSE int fd = layers ? source_file(s, path, e) : -1;
	if (fd < 0 || read_regular(fd, path, &s->config_text, e) < 0)
		return -1;
	AUTO_JSON json_t *config =
		jsonx_parse(s->config_text.data, s->config_text.len, "config", e);
	if (!config || make_manifest(s, config, layers, e) < 0)
		return -1;
	json_array_foreach (json_object_get(entry, "RepoTags"), i, tag) {
		if (json_is_string(tag))
			add_name(s, json_string_value(tag));
	}
	return 0;
}
