/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "imgpin.h"
#include "jsonx.h"
#include "ocistore.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* What takes the space, from the records alone: no tree is walked, however large the store is. */

enum { RECORD_MAX = 4 << 20 };

struct amount {
	json_int_t count, bytes, inodes;
};

struct df {
	struct tool_ctx *c;
	struct store_view v;
	json_t *layers; /* id -> {"bytes","inodes","images","kept"} */
	json_t *images; /* one object each, for the output */
	struct amount all, reclaimable, removed, tmp, writable;
	json_int_t tmp_unknown, writable_unknown;
	struct statvfs fs;
};

static void amount_add(struct amount *a, json_int_t bytes, json_int_t inodes)
{
	a->count++;
	a->bytes += bytes;
	a->inodes += inodes;
}

static DIR *open_dir(int at, const char *name, struct err *e)
{
	int fd = fs_open_dir(at, name, e);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d) {
		err_sys(e, "read %s", name);
		close(fd);
	}
	return d;
}

static int read_layers(struct df *d, struct err *e)
{
	const struct dirent *de;
	json_int_t bytes, inodes;
	AUTO_CLOSEDIR DIR *dir = open_dir(d->c->st.root, "layers", e);
	if (!dir)
		return -1;
	while ((de = readdir(dir))) {
		if (!digest_is_hex(de->d_name))
			continue;
		imgstore_layer_usage(&d->c->st, de->d_name, &bytes, &inodes);
		amount_add(&d->all, bytes, inodes);
		json_object_set_new(d->layers, de->d_name,
				    json_pack("{s:I, s:I, s:i, s:b}", "bytes", bytes, "inodes",
					      inodes, "images", 0, "kept", 0));
	}
	return 0;
}

/* The image's layers, each once: id -> the layer's entry. */
static json_t *layers_of(const struct df *d, json_t *meta)
{
	size_t i;
	json_t *l, *out = json_object();
	json_array_foreach (json_object_get(meta, "layers"), i, l) {
		const char *id = jsonx_opt_string(l, "id", "");
		json_t *entry = json_object_get(d->layers, id);
		if (entry)
			json_object_set(out, id, entry);
	}
	return out;
}

static void count_layers(json_t *mine, bool kept)
{
	const char *id;
	json_t *l;
	json_object_foreach (mine, id, l) {
		json_object_set_new(l, "images", json_integer(jsonx_opt_int(l, "images", 0) + 1));
		if (kept)
			json_object_set_new(l, "kept", json_true());
	}
}

static int add_image(void *arg, const char *id, struct err *e)
{
	struct df *d = arg;
	struct err why;
	AUTO_IMAGE struct image img = {.meta = NULL};
	(void)e;
	if (image_open(&d->c->st, id, false, &img, &why) < 0)
		return 0;
	json_t *row = image_summary(d->c, &img, &d->v);
	size_t users = json_array_size(json_object_get(d->v.users.by_image, id));
	json_t *mine = layers_of(d, img.meta);
	count_layers(mine, users || jsonx_opt_bool(row, "pinned", false) || *d->v.users.all);
	json_object_set_new(row, "used_by", json_integer((json_int_t)users));
	json_object_set_new(row, "layers", mine);
	json_array_append_new(d->images, row);
	return 0;
}

/* Removed images whose layers still have users. */
static int add_hidden(struct df *d, struct err *e)
{
	const struct dirent *de;
	struct err why;
	char path[100];
	AUTO_CLOSEDIR DIR *dir = open_dir(d->c->st.root, "images", e);
	if (!dir)
		return -1;
	while ((de = readdir(dir))) {
		if (de->d_name[0] != '.' || !digest_is_hex(de->d_name + 1))
			continue;
		snprintf(path, sizeof path, "%.65s/image.json", de->d_name);
		AUTO_JSON json_t *meta = jsonx_read_at(dirfd(dir), path, RECORD_MAX, &why);
		AUTO_JSON json_t *mine = layers_of(d, meta);
		snprintf(path, sizeof path, "sha256:%.64s", de->d_name + 1);
		count_layers(mine, imgstore_user(&d->v.users, path) || *d->v.users.all);
		d->removed.count++;
	}
	return 0;
}

/* Now that it is known who else has them. */
static void sum_image(json_t *row)
{
	const char *id;
	json_t *l, *mine = json_object_get(row, "layers");
	json_int_t shared = 0, unique = 0, inodes = 0;
	json_object_foreach (mine, id, l) {
		json_int_t bytes = jsonx_opt_int(l, "bytes", 0);
		*(jsonx_opt_int(l, "images", 0) > 1 ? &shared : &unique) += bytes;
		inodes += jsonx_opt_int(l, "inodes", 0);
	}
	json_object_set_new(row, "disk_bytes", json_integer(shared + unique));
	json_object_set_new(row, "shared_bytes", json_integer(shared));
	json_object_set_new(row, "unique_bytes", json_integer(unique));
	json_object_set_new(row, "inodes", json_integer(inodes));
	json_object_del(row, "layers");
}

static void sum_layers(struct df *d)
{
	const char *id;
	json_t *l;
	json_object_foreach (d->layers, id, l)
		if (!jsonx_opt_bool(l, "kept", false) && !*d->v.users.all)
			amount_add(&d->reclaimable, jsonx_opt_int(l, "bytes", 0),
				   jsonx_opt_int(l, "inodes", 0));
}

/* An entry of tmp/ is as large as the layers in it say; one that is being unpacked cannot. */
static void add_tmp_entry(struct df *d, int tmp, const char *name)
{
	struct err why;
	const struct dirent *de;
	char path[NAME_MAX + 16];
	bool known = strncmp(name, "trash-", 6) == 0;
	AUTO_CLOSEDIR DIR *dir = open_dir(tmp, name, &why);
	if (!dir)
		return;
	d->tmp.count++;
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/layer.json", de->d_name);
		AUTO_JSON json_t *j = jsonx_read_at(dirfd(dir), path, RECORD_MAX, &why);
		if (!j)
			continue;
		known = true;
		d->tmp.bytes += jsonx_opt_int(j, "usage", jsonx_opt_int(j, "size", 0));
		d->tmp.inodes += jsonx_opt_int(j, "inodes", 0);
	}
	d->tmp_unknown += !known;
}

static int add_tmp(struct df *d, struct err *e)
{
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *dir = open_dir(d->c->st.root, "tmp", e);
	if (!dir)
		return -1;
	while ((de = readdir(dir)))
		if (de->d_name[0] != '.')
			add_tmp_entry(d, dirfd(dir), de->d_name);
	return 0;
}

/* As `ocibundle du` has last measured it. */
static int add_container(void *arg, const char *id, struct err *e)
{
	struct df *d = arg;
	struct err why;
	(void)e;
	AUTO_CLOSE int dir = object_open_run(&d->c->st, OBJ_CONTAINER, id, false, &why);
	AUTO_JSON json_t *j = dir < 0 ? NULL : jsonx_read_at(dir, "du.json", RECORD_MAX, &why);
	amount_add(&d->writable, jsonx_opt_int(j, "bytes", 0), jsonx_opt_int(j, "inodes", 0));
	d->writable_unknown += !j;
	return 0;
}

static int read_all(struct df *d, struct err *e)
{
	size_t i;
	json_t *row;
	if (store_view_read(d->c, &d->v, true, e) < 0 || read_layers(d, e) < 0 ||
	    image_each(&d->c->st, add_image, d, e) < 0 || add_hidden(d, e) < 0 ||
	    add_tmp(d, e) < 0 || object_each(&d->c->st, OBJ_CONTAINER, add_container, d, e) < 0)
		return -1;
	if (fstatvfs(d->c->st.root, &d->fs) < 0)
		return err_sys(e, "size of the file system of %s", d->c->st.root_path);
	json_array_foreach (d->images, i, row)
		sum_image(row);
	sum_layers(d);
	return sort_summaries(d->images, e);
}

static json_t *amount_json(const struct amount *a)
{
	return json_pack("{s:I, s:I, s:I}", "count", a->count, "bytes", a->bytes, "inodes",
			 a->inodes);
}

static void print_json(const struct df *d)
{
	json_int_t block = (json_int_t)d->fs.f_frsize;
	json_t *tmp = amount_json(&d->tmp), *writable = amount_json(&d->writable);
	json_object_set_new(tmp, "unmeasured", json_integer(d->tmp_unknown));
	json_object_set_new(writable, "unmeasured", json_integer(d->writable_unknown));
	AUTO_JSON json_t *fs =
		json_pack("{s:s, s:I, s:I, s:I, s:I}", "path", d->c->st.root_path, "bytes",
			  (json_int_t)d->fs.f_blocks * block, "free_bytes",
			  (json_int_t)d->fs.f_bavail * block, "inodes", (json_int_t)d->fs.f_files,
			  "free_inodes", (json_int_t)d->fs.f_favail);
	AUTO_JSON json_t *j = json_pack(
		"{s:O, s:o, s:o, s:I, s:o, s:o, s:O}", "images", d->images, "layers",
		amount_json(&d->all), "reclaimable", amount_json(&d->reclaimable), "removed_images",
		d->removed.count, "tmp", tmp, "containers", writable, "filesystem", fs);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

static void print_image(json_t *row)
{
	char size[16], shared[16], unique[16];
	const char *name = json_string_value(json_array_get(json_object_get(row, "repo_tags"), 0));
	if (!name)
		name = json_string_value(json_array_get(json_object_get(row, "repo_digests"), 0));
	print_size(jsonx_opt_int(row, "disk_bytes", 0), size);
	print_size(jsonx_opt_int(row, "shared_bytes", 0), shared);
	print_size(jsonx_opt_int(row, "unique_bytes", 0), unique);
	printf("%-45s %.12s %7s %7s %7s %8lld %7lld%s\n", name ? name : "<none>",
	       jsonx_opt_string(row, "id", "sha256:") + 7, size, shared, unique,
	       (long long)jsonx_opt_int(row, "inodes", 0),
	       (long long)jsonx_opt_int(row, "used_by", 0),
	       jsonx_opt_bool(row, "pinned", false) ? " pinned" : "");
}

static void print_amount(const char *what, const struct amount *a, json_int_t unknown)
{
	char size[16];
	print_size(a->bytes, size);
	printf("%-45s %12lld %7s %25lld", what, (long long)a->count, size, (long long)a->inodes);
	if (unknown)
		printf("  (%lld not measured)", (long long)unknown);
	putchar('\n');
}

static void print_table(const struct df *d)
{
	char size[16], of[16];
	size_t i;
	json_t *row;
	printf("%-45s %-12s %7s %7s %7s %8s %7s\n", "IMAGE", "ID", "SIZE", "SHARED", "UNIQUE",
	       "INODES", "USED BY");
	json_array_foreach (d->images, i, row)
		print_image(row);
	printf("\n%-45s %12s %7s %25s\n", "", "COUNT", "SIZE", "INODES");
	print_amount("layers", &d->all, 0);
	print_amount("layers that removals of unused images would free", &d->reclaimable, 0);
	print_amount("writable layers of containers", &d->writable, d->writable_unknown);
	print_amount("tmp", &d->tmp, d->tmp_unknown);
	print_size((long long)d->fs.f_bavail * (long long)d->fs.f_frsize, size);
	print_size((long long)d->fs.f_blocks * (long long)d->fs.f_frsize, of);
	printf("free on the file system: %s of %s, %llu of %llu inodes\n", size, of,
	       (unsigned long long)d->fs.f_favail, (unsigned long long)d->fs.f_files);
}

int store_df(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *layers = json_object();
	AUTO_JSON json_t *images = json_array();
	struct df d = {.c = c, .layers = layers, .images = images};
	(void)argc;
	(void)argv;
	int rc = read_all(&d, e);
	if (rc == 0 && c->json)
		print_json(&d);
	else if (rc == 0)
		print_table(&d);
	store_view_release(&d.v);
	return rc;
}
