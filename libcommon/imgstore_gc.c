/* SPDX-License-Identifier: Apache-2.0 */
#include "imgstore.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { LOCK_MS = 30000, RECORD_MAX = 4 << 20 };

/* What is found while the store's lock is held: who uses which image, and why a layer stays. */
struct gc {
	const struct state *s;
	const struct imgstore_report *r;
	struct imgstore_tmp trash;
	json_t *users; /* image id -> container id */
	json_t *keep;  /* layer -> reason */
	char all[256]; /* a reason to keep all layers, "" = none */
};

static void say(const struct gc *g, const char *noun, const char *id, const char *why, bool removed)
{
	char what[160];
	snprintf(what, sizeof what, "%s %.100s", noun, id);
	if (g->r && g->r->say)
		g->r->say(g->r->arg, what, why, removed);
}

static int note_user(void *arg, const char *id, struct err *e)
{
	struct gc *g = arg;
	struct err why;
	AUTO_CTR_RECORD struct ctr_record r = {.id = NULL};
	size_t i;
	json_t *image;
	(void)e;
	if (ctr_record_read(g->s, id, &r, &why) == 0) {
		json_object_set_new(g->users, r.image_id, json_string(id));
		json_array_foreach (r.mount_images, i, image)
			if (json_is_string(image))
				json_object_set_new(g->users, json_string_value(image),
						    json_string(id));
	} else if (why.kind != ERR_NOT_FOUND)
		snprintf(g->all, sizeof g->all,
			 "the record of container %s cannot be read, it may use any image", id);
	return 0;
}

static void keep_layer(struct gc *g, const char *layer, const char *reason)
{
	if (!json_object_get(g->keep, layer))
		json_object_set_new(g->keep, layer, json_string(reason));
}

/* images/<entry>/image.json's layers are kept for that reason. */
static void keep_layers_of(struct gc *g, const char *entry, const char *reason)
{
	size_t i;
	json_t *layer;
	struct err why;
	char path[100];
	snprintf(path, sizeof path, "images/%.65s/image.json", entry);
	AUTO_JSON json_t *meta = jsonx_read_at(g->s->root, path, RECORD_MAX, &why);
	const json_t *layers = json_object_get(meta, "layers");
	if (!json_is_array(layers))
		snprintf(g->all, sizeof g->all, "%.90s is damaged, it may need any layer", path);
	json_array_foreach (layers, i, layer)
		keep_layer(g, jsonx_opt_string(layer, "id", ""), reason);
}

static int move_to_trash(struct gc *g, const char *dir, const char *entry, struct err *e)
{
	char from[100], to[100];
	if (g->r && g->r->dry_run)
		return 0;
	snprintf(from, sizeof from, "%s/%.65s", dir, entry);
	snprintf(to, sizeof to, "%s-%.64s", dir, *entry == '.' ? entry + 1 : entry);
	if (renameat(g->s->root, from, g->trash.dir, to) < 0 && errno != ENOENT)
		return err_sys(e, "remove %s", from);
	return 0;
}

/* An image that was removed while containers used it: its list of layers counts while they do. */
static int look_at_hidden(struct gc *g, const char *entry, struct err *e)
{
	char id[IMAGE_ID_SIZE], reason[160];
	snprintf(id, sizeof id, "sha256:%.64s", entry + 1);
	const char *user = json_string_value(json_object_get(g->users, id));
	if (!user && !*g->all) {
		say(g, "image", id, "removed, and no container uses it any more", true);
		return move_to_trash(g, "images", entry, e);
	}
	snprintf(reason, sizeof reason, "container %.64s uses it (of a removed image)",
		 user ? user : "");
	keep_layers_of(g, entry, user ? reason : g->all);
	return 0;
}

static int look_at_images(struct gc *g, struct err *e)
{
	const struct dirent *de;
	char reason[128];
	int fd = fs_open_dir(g->s->root, "images", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.' && digest_is_hex(de->d_name + 1)) {
			if (look_at_hidden(g, de->d_name, e) < 0)
				return -1;
		} else if (digest_is_hex(de->d_name)) {
			snprintf(reason, sizeof reason, "image sha256:%.64s has it", de->d_name);
			keep_layers_of(g, de->d_name, reason);
		}
	}
	return 0;
}

/* What a pull under way counts on stays, wherever it came from. */
static int look_at_pulls(struct gc *g, struct err *e)
{
	const struct dirent *de;
	struct err why;
	size_t i;
	json_t *id;
	int fd = fs_open_dir(g->s->root, "tmp", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (strncmp(de->d_name, "pull-", 5) != 0)
			continue;
		AUTO_CLOSE int dir = fs_open_dir(dirfd(d), de->d_name, &why);
		if (dir < 0 || fs_is_locked_at(dir, "lock", &why) != 1)
			continue;
		AUTO_JSON json_t *wants = jsonx_read_at(dir, "wants.json", RECORD_MAX, &why);
		json_array_foreach (wants, i, id)
			keep_layer(g, json_is_string(id) ? json_string_value(id) : "",
				   "a pull under way counts on it");
	}
	return 0;
}

static int look_at_layers(struct gc *g, struct err *e)
{
	const struct dirent *de;
	int fd = fs_open_dir(g->s->root, "layers", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (!digest_is_hex(de->d_name))
			continue;
		const char *why = json_string_value(json_object_get(g->keep, de->d_name));
		if (!why && *g->all)
			why = g->all;
		say(g, "layer", de->d_name, why ? why : "nothing needs it", !why);
		if (!why && move_to_trash(g, "layers", de->d_name, e) < 0)
			return -1;
	}
	return 0;
}

/* What a process that died between making a name and giving it its place has left, and names of
 * images that are gone. Nobody makes names while we hold the lock. */
static int look_at_names(struct gc *g, struct err *e)
{
	const struct dirent *de;
	int fd = fs_open_dir(g->s->root, "names", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		bool unfinished = de->d_name[0] == '.';
		if (!unfinished && faccessat(dirfd(d), de->d_name, F_OK, 0) == 0)
			continue;
		say(g, "name", de->d_name,
		    unfinished ? "left by a process that is gone" : "its image is gone", true);
		if (!(g->r && g->r->dry_run) && unlinkat(dirfd(d), de->d_name, 0) < 0 &&
		    errno != ENOENT)
			return err_sys(e, "remove name %s", de->d_name);
	}
	return 0;
}

static int collect(struct gc *g, struct err *e)
{
	AUTO_CLOSE int lock = image_store_lock(g->s, LOCK_MS, e);
	if (lock < 0 || object_each(g->s, OBJ_CONTAINER, note_user, g, e) < 0)
		return -1;
	if (look_at_names(g, e) < 0 || look_at_images(g, e) < 0 || look_at_pulls(g, e) < 0)
		return -1;
	return look_at_layers(g, e);
}

int imgstore_gc(const struct state *s, const struct imgstore_report *r, struct err *e)
{
	struct gc g = {.s = s, .r = r, .trash = IMGSTORE_TMP_NONE};
	struct err ignored;
	bool dry = r && r->dry_run;
	if (!dry && imgstore_tmp_new(s, "trash", &g.trash, e) < 0)
		return -1;
	g.users = json_object();
	g.keep = json_object();
	int rc = collect(&g, e);
	json_decref(g.users);
	json_decref(g.keep);
	if (imgstore_tmp_drop(s, &g.trash, rc == 0 ? e : &ignored) < 0)
		rc = -1;
	return rc < 0 ? -1 : imgstore_clean_tmp(s, r, e);
}
