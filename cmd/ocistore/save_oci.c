/* SPDX-License-Identifier: Apache-2.0 */
/* An OCI image layout, as a directory or in an archive. The configurations are the bytes that the
 * store keeps, so the image ids stay; the manifests are new ones, since the layers are compressed
 * otherwise than where they came from. */
#include "auto.h"
#include "jsonx.h"
#include "save.h"

#include <stdio.h>
#include <string.h>

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"

enum { MANIFEST_MAX = 4 << 20 };

static int put_blob(struct save *s, const void *data, size_t len, char hex[DIGEST_HEX_LEN + 1],
		    struct err *e)
{
	char name[100];
	digest_of(data, len, hex);
	snprintf(name, sizeof name, "blobs/sha256/%s", hex);
	return save_out_member(&s->out, name, data, len, e);
}

static json_t *make_manifest(const struct save *s, const struct save_image *m)
{
	struct err ignored;
	char path[100];
	static const char *const suffix[] = {"", "+gzip", "+zstd"};
	AUTO_JSON json_t *layers = json_array();
	for (size_t i = 0; i < m->count; i++) {
		const struct save_layer *l = &s->layers[m->layers[i]];
		json_array_append_new(layers, json_pack("{s:s+,s:s+,s:I}", "mediaType", LAYER_TYPE,
							suffix[s->compress], "digest",
							"sha256:", l->blob, "size", l->blob_size));
	}
	json_t *j = json_pack("{s:i,s:s,s:{s:s,s:s,s:I},s:O}", "schemaVersion", 2, "mediaType",
			      MANIFEST_TYPE, "config", "mediaType",
			      "application/vnd.oci.image.config.v1+json", "digest", m->id, "size",
			      (json_int_t)m->config.len, "layers", layers);
	snprintf(path, sizeof path, "images/%.64s/manifest.json", m->id + 7);
	AUTO_JSON json_t *old = jsonx_read_at(s->ctx->st.root, path, MANIFEST_MAX, &ignored);
	json_t *notes = json_object_get(old, "annotations");
	if (j && json_is_object(notes))
		json_object_set(j, "annotations", notes);
	return j;
}

/* One entry a name; full names are what skopeo, podman and we look for, and containerd has a key of
 * its own for them. */
static void add_entries(json_t *index, const struct save_image *m, const char *hex, size_t size)
{
	size_t i;
	json_t *name;
	AUTO_JSON json_t *entry = json_pack("{s:s,s:s+,s:I}", "mediaType", MANIFEST_TYPE, "digest",
					    "sha256:", hex, "size", (json_int_t)size);
	if (json_array_size(m->names) == 0)
		json_array_append(index, entry);
	json_array_foreach (m->names, i, name) {
		json_t *copy = json_copy(entry);
		json_object_set_new(copy, "annotations",
				    json_pack("{s:O,s:O}", "io.containerd.image.name", name,
					      "org.opencontainers.image.ref.name", name));
		json_array_append_new(index, copy);
	}
}

static int put_image(struct save *s, const struct save_image *m, json_t *index, struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1];
	AUTO_JSON json_t *j = make_manifest(s, m);
	AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ERR_FAILED, "image %s: cannot make a manifest", m->id);
	if (put_blob(s, m->config.data, m->config.len, hex, e) < 0 ||
	    put_blob(s, text, strlen(text), hex, e) < 0)
		return -1;
	add_entries(index, m, hex, strlen(text));
	return 0;
}

int save_oci(struct save *s, struct err *e)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	AUTO_JSON json_t *list = json_array();
	if (save_out_member(&s->out, "oci-layout", layout, sizeof layout - 1, e) < 0 ||
	    save_out_mkdir(&s->out, "blobs", e) < 0 ||
	    save_out_mkdir(&s->out, "blobs/sha256", e) < 0)
		return -1;
	for (size_t i = 0; i < s->layer_count; i++)
		if (save_layer_blob(s, &s->layers[i], e) < 0)
			return -1;
	for (size_t i = 0; i < s->image_count; i++)
		if (put_image(s, &s->images[i], list, e) < 0)
			return -1;
	AUTO_JSON json_t *index =
		json_pack("{s:i,s:s,s:O}", "schemaVersion", 2, "mediaType",
			  "application/vnd.oci.image.index.v1+json", "manifests", list);
	AUTO_FREE char *text = json_dumps(index, JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_EXHAUSTED, "no memory for index.json");
	return save_out_member(&s->out, "index.json", text, strlen(text), e);
}
