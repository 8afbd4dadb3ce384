/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "auto.h"
#include "fixup.h"
#include "fs.h"
#include "jsonx.h"
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *image_record(const struct pull *p, const char *hex)
{
	json_int_t total = (json_int_t)p->config_text.len;
	AUTO_JSON json_t *layers = json_array();
	for (size_t i = 0; i < p->manifest.count; i++) {
		const struct imgstore_layer *l = &p->jobs[i].layer;
		total += l->size;
		json_array_append_new(layers, json_pack("{s:s,s:s+,s:s,s:I,s:b}", "id", l->id,
							"diff_id", "sha256:", p->diff[i], "digest",
							p->manifest.layers[i].digest, "size",
							l->size, "opaque", (int)l->opaque));
	}
	return json_pack("{s:i,s:s+,s:s,s:I,s:I,s:O}", "version", 1, "id", "sha256:", hex,
			 "manifest_digest", p->manifest_digest, "size", total, "created_at",
			 (json_int_t)record_now_ns(), "layers", layers);
}

/* Under which names the image will be found. */
static int image_names_of(struct pull *p, json_t **names, struct err *e)
{
	struct ref r = {.host = ""};
	char name[REF_STR_SIZE];
	if (p->name) {
		if (ref_parse(&r, p->name, e) < 0)
			return err_wrap(e, "--name");
	} else if (p->src.kind == SOURCE_REGISTRY) {
		r = p->src.ref;
	} else {
		*names = json_incref(p->src.names);
		return 0;
	}
	*names = json_array();
	/* A digest decides what is pulled; a tag beside it proves nothing. */
	if (*r.tag && !*r.digest) {
		ref_name(&r, name);
		json_array_append_new(*names, json_string(name));
	}
	if (p->src.kind == SOURCE_REGISTRY || *r.digest) {
		ref_with_digest(&r, p->served_digest, name);
		json_array_append_new(*names, json_string(name));
	}
	return 0;
}

static int open_diff(const struct pull *p, size_t i, struct err *e)
{
	char path[100];
	snprintf(path, sizeof path, "layers/%.64s/diff", p->jobs[i].layer.id);
	return fs_open_dir(p->ctx->st.root, path, e);
}

/* Does "/" need a directory of its own (image.h)? Then it is made: 1. */
static int make_root(const struct pull *p, int dir, struct err *e)
{
	size_t top = p->manifest.count ? p->manifest.count - 1 : 0, named = top;
	while (named > 0 && !p->jobs[named].layer.root)
		named--;
	if (named == top || !p->jobs[named].layer.root)
		return 0;
	AUTO_CLOSE int from = open_diff(p, named, e);
	AUTO_CLOSE int shown = from < 0 ? -1 : open_diff(p, top, e);
	if (shown < 0)
		return -1;
	if (fixup_same_meta(from, shown))
		return 0;
	if (mkdirat(dir, "root", 0700) < 0)
		return err_sys(e, "mkdir image/root");
	AUTO_CLOSE int root = fs_open_dir(dir, "root", e);
	if (root < 0 || fixup_meta(from, root, e) < 0)
		return -1;
	return fsync(root) < 0 ? err_sys(e, "sync image/root") : 1;
}

/* A file of a directory that nobody reads yet. */
static int put(int dir, const char *name, const char *data, size_t len, struct err *e)
{
	AUTO_CLOSE int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "create %s", name);
	if (fs_write_all(fd, data, len, e) < 0)
		return -1;
	return fsync(fd) < 0 ? err_sys(e, "sync %s", name) : 0;
}

int pull_commit(struct pull *p, const char *config_hex, struct err *e)
{
	AUTO_JSON json_t *names = NULL;
	if (image_names_of(p, &names, e) < 0)
		return -1;
	if (pull_changes_nothing(p, config_hex, names))
		return 0;
	if (mkdirat(p->tmp.dir, "image", 0700) < 0)
		return err_sys(e, "mkdir image");
	AUTO_CLOSE int dir = fs_open_dir(p->tmp.dir, "image", e);
	if (dir < 0)
		return -1;
	int root = make_root(p, dir, e);
	if (root < 0)
		return -1;
	AUTO_JSON json_t *record = image_record(p, config_hex);
	if (root)
		json_object_set_new(record, "root", json_true());
	if (put(dir, "manifest.json", p->manifest_text.data, p->manifest_text.len, e) < 0 ||
	    put(dir, "config.json", p->config_text.data, p->config_text.len, e) < 0)
		return -1;
	AUTO_FREE char *text = json_dumps(record, JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_BAD_INPUT, "image.json: cannot be written as JSON");
	if (put(dir, "image.json", text, strlen(text), e) < 0)
		return -1;
	if (fsync(dir) < 0)
		return err_sys(e, "sync image");
	return imgstore_image_commit(&p->ctx->st, &p->tmp, config_hex, names, e);
}
