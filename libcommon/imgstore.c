/* SPDX-License-Identifier: Apache-2.0 */
#include "imgstore.h"

#include "auto.h"
#include "fs.h"
#include "imgpin.h"
#include "jsonx.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { LOCK_MS = 30000, RECORD_MAX = 1 << 20 };

static int read_layer(const struct state *s, const char *hex, bool *implied,
		      struct imgstore_layer *out)
{
	struct err ignored;
	char path[100];
	snprintf(path, sizeof path, "layers/%.64s/layer.json", hex);
	AUTO_JSON json_t *j = jsonx_read_at(s->root, path, RECORD_MAX, &ignored);
	if (!j || jsonx_opt_int(j, "version", 0) != 1)
		return -1;
	*implied = jsonx_opt_bool(j, "implied", true);
	*out = (struct imgstore_layer){.size = jsonx_opt_int(j, "size", 0),
				       .opaque = jsonx_opt_bool(j, "opaque", false),
				       .root = jsonx_opt_bool(j, "root", false)};
	snprintf(out->id, sizeof out->id, "%.64s", hex);
	return 0;
}

bool imgstore_layer_find(const struct state *s, const char *diff_hex, const char *chain_hex,
			 struct imgstore_layer *out)
{
	bool implied, bottom = strcmp(diff_hex, chain_hex) == 0;
	if (!bottom && read_layer(s, chain_hex, &implied, out) == 0)
		return true;
	return read_layer(s, diff_hex, &implied, out) == 0 && (bottom || !implied);
}

static int sync_dir(const struct state *s, const char *name, struct err *e)
{
	AUTO_CLOSE int fd = fs_open_dir(s->root, name, e);
	if (fd < 0)
		return -1;
	return fsync(fd) < 0 ? err_sys(e, "sync %s", name) : 0;
}

int imgstore_layer_commit(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			  struct err *e)
{
	char path[80];
	snprintf(path, sizeof path, "layers/%.64s", hex);
	if (renameat2(t->dir, "new", s->root, path, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ? 0 : err_sys(e, "commit %s", path);
	return 0;
}

int imgstore_want_layers(const struct state *s, const struct imgstore_tmp *t, const json_t *ids,
			 struct err *e)
{
	if (jsonx_replace_at(t->dir, "wants.json", 0600, ids, 0, e) < 0)
		return -1;
	/* A collection that read the directories before this file was there ends before we look for
	 * layers. */
	AUTO_CLOSE int lock = image_store_lock(s, LOCK_MS, e);
	return lock < 0 ? -1 : 0;
}

int imgstore_name_set(const struct state *s, const char *name, const char *hex, struct err *e)
{
	char path[6 + NAME_MAX + 1] = "names/", target[80], tmp[64];
	unsigned long long rnd = 0;
	if (image_name_escape(name, path + 6, sizeof path - 6) < 0)
		return err_set(e, ERR_UNSUPPORTED, "image name too long for the store: %.300s",
			       name);
	while (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		;
	snprintf(tmp, sizeof tmp, "names/.%016llx", rnd);
	snprintf(target, sizeof target, "../images/%.64s", hex);
	if (symlinkat(target, s->root, tmp) < 0)
		return err_sys(e, "name %.300s", name);
	if (renameat(s->root, tmp, s->root, path) < 0) {
		err_sys(e, "name %.300s", name);
		unlinkat(s->root, tmp, 0);
		return -1;
	}
	return 0;
}

static int check_layers(const struct state *s, const struct imgstore_tmp *t, struct err *e)
{
	size_t i;
	json_t *layer;
	char path[80];
	AUTO_JSON json_t *meta = jsonx_read_at(t->dir, "image/image.json", 4 << 20, e);
	if (!meta)
		return -1;
	json_array_foreach (json_object_get(meta, "layers"), i, layer) {
		const char *id = jsonx_opt_string(layer, "id", "");
		snprintf(path, sizeof path, "layers/%.64s", id);
		if (!digest_is_hex(id) || faccessat(s->root, path, F_OK, 0) < 0)
			return err_set(e, ERR_UNAVAILABLE, "layer %.64s is gone", id);
	}
	return 0;
}

int imgstore_name_drop(const struct state *s, const char *name, struct err *e)
{
	char path[6 + NAME_MAX + 1] = "names/";
	if (image_name_escape(name, path + 6, sizeof path - 6) == 0 &&
	    unlinkat(s->root, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove %s", path);
	return 0;
}

int imgstore_names_sync(const struct state *s, struct err *e)
{
	return sync_dir(s, "names", e);
}

/* known: image_names, or NULL. */
static int drop_names(const struct state *s, const char *id, json_t *known, struct err *e)
{
	const char *name;
	json_t *target;
	AUTO_JSON json_t *names = known ? json_incref(known) : image_names(s, e);
	if (!names)
		return -1;
	json_object_foreach (names, name, target)
		if (strcmp(json_string_value(target), id) == 0 &&
		    imgstore_name_drop(s, name, e) < 0)
			return -1;
	return 0;
}

int imgstore_image_commit(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			  const json_t *names, struct err *e)
{
	char path[80], id[IMAGE_ID_SIZE];
	size_t i;
	json_t *name;
	snprintf(path, sizeof path, "images/%.64s", hex);
	AUTO_CLOSE int lock = image_store_lock(s, LOCK_MS, e);
	if (lock < 0 || check_layers(s, t, e) < 0)
		return -1;
	/* Names that a removal cut short has left must not come to life again. */
	snprintf(id, sizeof id, "sha256:%.64s", hex);
	if (faccessat(s->root, path, F_OK, 0) < 0 &&
	    (drop_names(s, id, NULL, e) < 0 || sync_dir(s, "names", e) < 0))
		return -1;
	/* Whoever brought the layers: their names, too, are on disk before an image counts on them. */
	if (sync_dir(s, "layers", e) < 0)
		return -1;
	/* A repeated pull may come with another manifest for the same image: the newer one stands,
	 * the older is left in our directory, which goes. */
	if (renameat2(t->dir, "image", s->root, path, RENAME_NOREPLACE) < 0 &&
	    (errno != EEXIST || renameat2(t->dir, "image", s->root, path, RENAME_EXCHANGE) < 0))
		return err_sys(e, "commit %s", path);
	if (sync_dir(s, "images", e) < 0)
		return -1;
	json_array_foreach (names, i, name) {
		if (imgstore_name_set(s, json_string_value(name), hex, e) < 0)
			return -1;
	}
	return sync_dir(s, "names", e);
}

bool imgstore_layer_usage(const struct state *s, const char *hex, json_int_t *bytes,
			  json_int_t *inodes)
{
	struct err ignored;
	char path[100];
	snprintf(path, sizeof path, "layers/%.64s/layer.json", hex);
	AUTO_JSON json_t *j = jsonx_read_at(s->root, path, RECORD_MAX, &ignored);
	/* Layers of an older version have not been measured: their tar's size is close. */
	json_int_t size = jsonx_opt_int(j, "size", 0), n = jsonx_opt_int(j, "inodes", 0);
	json_int_t used = jsonx_opt_int(j, "usage", size);
	*bytes = used > 0 ? used : 0;
	*inodes = n > 0 ? n : 1;
	return j != NULL;
}

static int drop_pins(const struct state *s, const char *id, json_t *known, struct err *e)
{
	const char *what;
	json_t *ignored;
	AUTO_JSON json_t *pins = imgpin_read(s, e);
	if (!pins || json_object_size(pins) == 0)
		return pins ? 0 : -1;
	AUTO_JSON json_t *names = known ? json_incref(known) : image_names(s, e);
	if (!names)
		return -1;
	json_object_foreach (pins, what, ignored) {
		const char *target = json_string_value(json_object_get(names, what));
		if ((strcmp(what, id) == 0 || (target && strcmp(target, id) == 0)) &&
		    imgpin_clear(s, what, e) < 0)
			return -1;
	}
	return 0;
}

/* An earlier removal has left the list of the same layers already: this one is garbage at once. */
static int to_trash(const struct state *s, const char *path, struct err *e)
{
	struct imgstore_tmp t = IMGSTORE_TMP_NONE;
	struct err ignored;
	if (imgstore_tmp_new(s, "trash", &t, e) < 0)
		return -1;
	int rc = renameat(s->root, path, t.dir, "image") < 0 ? err_sys(e, "remove %s", path) : 0;
	if (imgstore_tmp_drop(s, &t, rc == 0 ? e : &ignored) < 0)
		return -1;
	return rc;
}

int imgstore_image_remove(const struct state *s, const char *id, json_t *names, struct err *e)
{
	char path[80], hidden[80];
	if (!digest_parse(id, e))
		return -1;
	snprintf(path, sizeof path, "images/%.64s", id + 7);
	snprintf(hidden, sizeof hidden, "images/.%.64s", id + 7);
	/* Pins while their names still tell of which image. Then the image, so that it is there with
	 * all names or not at all; the names of one that is gone mean nothing. */
	if (drop_pins(s, id, names, e) < 0)
		return -1;
	int rc = renameat2(s->root, path, s->root, hidden, RENAME_NOREPLACE);
	if (rc < 0 && errno == EEXIST)
		rc = to_trash(s, path, e);
	else if (rc < 0 && errno == ENOENT)
		rc = 0;
	else if (rc < 0)
		err_sys(e, "remove %s", path);
	return rc < 0 ? -1 : drop_names(s, id, names, e);
}
