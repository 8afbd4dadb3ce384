/* SPDX-License-Identifier: Apache-2.0 */
/* The images of a pod: their records, where they can be pulled from, and their layers if asked. */
#include "capture.h"

#include "auto.h"
#include "fs.h"
#include "image.h"
#include "jsonx.h"
#include "log.h"
#include "ref.h"
#include "tools.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES = 16 << 20, IMAGES_MAX = 64 };

/* As it is, byte by byte: its digest is what it is known by. */
static int add_verbatim(struct capture *k, int dir, const char *hex, const char *name,
			struct buf *b, struct err *e)
{
	AUTO_FREE char *path = xasprintf("images/%s/%s", hex, name);
	buf_clear(b);
	return fs_read_at(dir, name, b, e) < 0
		       ? -1
		       : arc_add(k->out, path, b->data ? b->data : "", b->len, e);
}

/* The environment that an image brings is no secret of the pod's. */
static void spare_env(struct capture *k, const struct buf *config)
{
	struct err ignored;
	size_t i;
	json_t *v;
	AUTO_JSON json_t *j =
		jsonx_parse(config->data ? config->data : "", config->len, "config.json", &ignored);
	json_array_foreach (json_object_get(json_object_get(j, "config"), "Env"), i, v) {
		const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
		if (eq)
			capture_public(k, eq + 1);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The image's names, sorted, and the references by digest that would bring it. */
static void names_of(struct capture *k, const char *id, const char *manifest, json_t *all,
		     json_t *names, json_t *pull)
{
	const char *name;
	json_t *target;
	size_t n = 0;
	AUTO_FREE const char **v = xcalloc(json_object_size(all) + 1, sizeof *v);
	json_object_foreach (all, name, target)
		if (json_is_string(target) && strcmp(json_string_value(target), id) == 0)
			v[n++] = name;
	qsort(v, n, sizeof *v, by_text);
	for (size_t i = 0; i < n; i++) {
		char full[REF_STR_SIZE];
		struct ref r;
		struct err ignored;
		json_array_append_new(names, json_string(v[i]));
		capture_public(k, v[i]);
		if (!*manifest || ref_parse(&r, v[i], &ignored) < 0)
			continue;
		ref_with_digest(&r, manifest, full);
		if (!jsonx_has_string(pull, full))
			json_array_append_new(pull, json_string(full));
	}
}

static int add_image(struct capture *k, const char *id, json_t *all, struct err *e)
{
	struct err why;
	const char *hex = digest_parse(id, &why);
	AUTO_BUF struct buf b = BUF_INIT(FILE_BYTES);
	AUTO_FREE char *place = xasprintf("images/%s", hex ? hex : "");
	AUTO_CLOSE int dir =
		hex ? fs_open_beneath(k->c->st.root, place, O_RDONLY | O_DIRECTORY, 0, &why) : -1;
	json_t *names = json_array(), *pull = json_array();
	AUTO_JSON json_t *row = json_pack("{s:s, s:o, s:o, s:b}", "id", id, "names", names, "pull",
					  pull, "layers", k->opt->images);
	if (dir < 0) {
		log_warn("image %s is not in the store any more", id);
		json_object_set_new(row, "layers", json_false());
		return json_array_append(json_object_get(k->index, "images"), row);
	}
	if (add_verbatim(k, dir, hex, "manifest.json", &b, e) < 0 ||
	    add_verbatim(k, dir, hex, "config.json", &b, e) < 0)
		return err_wrap(e, "image %s", id);
	spare_env(k, &b);
	if (add_verbatim(k, dir, hex, "image.json", &b, e) < 0)
		return err_wrap(e, "image %s", id);
	AUTO_JSON json_t *meta = jsonx_parse(b.data ? b.data : "", b.len, "image.json", e);
	if (!meta)
		return err_wrap(e, "image %s", id);
	names_of(k, id, jsonx_opt_string(meta, "manifest_digest", ""), all, names, pull);
	return json_array_append(json_object_get(k->index, "images"), row);
}

/* ---- their layers: an OCI layout, made by ocistore */

static int add_layout_dir(struct capture *k, int dir, const char *at, struct err *e)
{
	struct dirent **names = NULL;
	int n = scandirat(dir, ".", &names, NULL, fs_by_bytes), r = 0;
	for (int i = 0; i < n; i++) {
		struct stat st;
		const char *name = names[i]->d_name;
		AUTO_FREE char *path = xasprintf("%s/%s", at, name);
		if (r == 0 && name[0] != '.' && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			AUTO_CLOSE int sub = S_ISDIR(st.st_mode) ? fs_open_dir(dir, name, e) : -1;
			r = !S_ISDIR(st.st_mode) ? arc_add_file(k->out, path, dir, name, e)
			    : sub < 0            ? -1
						 : add_layout_dir(k, sub, path, e);
		}
		free(names[i]);
	}
	free(names);
	return n < 0 ? err_sys(e, "read %s", at) : r;
}

static int make_tmp(struct capture *k, struct err *e)
{
	const char *dir = getenv("TMPDIR");
	char *path = xasprintf("%s/podreplay.XXXXXX", dir && *dir == '/' ? dir : "/var/tmp");
	if (!mkdtemp(path)) {
		err_sys(e, "make %s", path);
		free(path);
		return -1;
	}
	k->tmp = path;
	return 0;
}

static int add_layers(struct capture *k, struct err *e)
{
	const char *words[IMAGES_MAX + 8] = {"save", "--format", "oci", "-o"};
	size_t n = 4, i;
	json_t *row;
	struct tools t = {.cfg = &k->c->cfg,
			  .config_file = k->c->config_file,
			  .root = k->c->cfg.root,
			  .runroot = k->c->cfg.runroot,
			  .cancel = -1};
	if (make_tmp(k, e) < 0)
		return -1;
	AUTO_FREE char *layout = xasprintf("%s/oci", k->tmp);
	words[n++] = layout;
	json_array_foreach (json_object_get(k->index, "images"), i, row)
		if (jsonx_opt_bool(row, "layers", false) && n < ARRAY_LEN(words) - 1)
			words[n++] = jsonx_opt_string(row, "id", "");
	words[n] = NULL;
	if (n == 5)
		return 0;
	if (tools_run(&t, "ocistore", words, NULL, -1, e) < 0)
		return -1;
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, layout, e);
	return dir < 0 ? -1 : add_layout_dir(k, dir, "oci", e);
}

int capture_images(struct capture *k, struct err *e)
{
	size_t n = 0;
	const char *id;
	json_t *v;
	AUTO_FREE const char **ids = xcalloc(json_object_size(k->images) + 1, sizeof *ids);
	AUTO_JSON json_t *all = image_names(&k->c->st, e);
	if (!all)
		return -1;
	json_object_foreach (k->images, id, v)
		ids[n++] = id;
	qsort(ids, n, sizeof *ids, by_text);
	for (size_t i = 0; i < n; i++)
		if (add_image(k, ids[i], all, e) < 0)
			return -1;
	return k->opt->images ? add_layers(k, e) : 0;
}
