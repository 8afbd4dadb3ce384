/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged layer gives its place to a good one. Overlay mounts hold the directories that they were
 * made of, not their names, so whoever uses the old one goes on with it: it gets another name and
 * stays until no container and no mount has an image with that layer. */
#include "auto.h"
#include "fs.h"
#include "imgstore.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { LOCK_MS = 30000, RECORD_MAX = 4 << 20 };

int imgstore_layer_replace(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			   struct err *e)
{
	char path[80], aside[100];
	unsigned long long rnd = 0;
	while (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		;
	snprintf(path, sizeof path, "layers/%.64s", hex);
	snprintf(aside, sizeof aside, "layers/.%.64s-%016llx", hex, rnd);
	AUTO_CLOSE int lock = image_store_lock(s, LOCK_MS, e);
	AUTO_CLOSE int layers = lock < 0 ? -1 : fs_open_dir(s->root, "layers", e);
	if (layers < 0)
		return -1;
	/* Beside its place first: cut off at any moment, the name leads to a whole layer, the old or
	 * the new. */
	if (renameat(t->dir, "new", s->root, aside) < 0)
		return err_sys(e, "commit %s", path);
	if (renameat2(s->root, aside, s->root, path, RENAME_EXCHANGE) < 0 &&
	    (errno != ENOENT || renameat2(s->root, aside, s->root, path, RENAME_NOREPLACE) < 0))
		return err_sys(e, "commit %s", path);
	return fsync(layers) < 0 ? err_sys(e, "sync layers") : 0;
}

static bool image_has(const struct state *s, const char *id, const char *hex)
{
	size_t i;
	json_t *layer;
	char path[100];
	struct err ignored;
	/* It may be removed already, but for its list of layers. */
	for (int hidden = 0; hidden < 2; hidden++) {
		snprintf(path, sizeof path, "images/%s%.64s/image.json", hidden ? "." : "", id + 7);
		AUTO_JSON json_t *meta = jsonx_read_at(s->root, path, RECORD_MAX, &ignored);
		if (!meta && ignored.kind != ERR_NOT_FOUND)
			return true;
		json_array_foreach (json_object_get(meta, "layers"), i, layer)
			if (strcmp(jsonx_opt_string(layer, "id", ""), hex) == 0)
				return true;
	}
	return false;
}

bool imgstore_is_replaced(const char *entry, char hex[DIGEST_HEX_LEN + 1])
{
	if (entry[0] != '.' || strlen(entry) != 1 + DIGEST_HEX_LEN + 1 + 16 ||
	    entry[1 + DIGEST_HEX_LEN] != '-')
		return false;
	snprintf(hex, DIGEST_HEX_LEN + 1, "%.64s", entry + 1);
	return digest_is_hex(hex);
}

const char *imgstore_replaced_user(const struct state *s, const struct imgstore_users *u,
				   const char *hex)
{
	const char *id;
	json_t *list;
	if (*u->all)
		return u->all;
	json_object_foreach (u->by_image, id, list)
		if (strncmp(id, "sha256:", 7) == 0 && image_has(s, id, hex))
			return json_string_value(json_array_get(list, 0));
	return NULL;
}
