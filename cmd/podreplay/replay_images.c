/* SPDX-License-Identifier: Apache-2.0 */
/* The images of a replay: in the store already, in the archive, or pulled by digest. */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "image.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <string.h>

static bool is_here(const struct replay *r, const char *id)
{
	struct err ignored;
	AUTO_IMAGE struct image img = {0};
	return image_open(&r->st, id, false, &img, &ignored) == 0;
}

static int load(struct replay *r, struct err *e)
{
	AUTO_FREE char *layout = xasprintf("%s/oci", r->arc.path);
	const char *words[] = {"load", "-i", layout, NULL};
	if (tools_run(&r->tools, "ocistore", words, NULL, -1, e) < 0)
		return -1;
	/* It is in the store now, and need not be there twice. */
	return fs_remove_tree(r->arc.st.root, "oci", e);
}

static int pull(struct replay *r, json_t *row, const char *id, struct err *e)
{
	size_t i;
	json_t *ref;
	json_t *from = json_object_get(row, "pull");
	err_set(e, ERR_NOT_FOUND, "no name is known under which a registry has it");
	json_array_foreach (from, i, ref) {
		char got[IMAGE_ID_SIZE];
		const char *words[] = {"--progress=none", json_string_value(ref), NULL};
		if (tools_line(&r->tools, "ocipull", words, got, sizeof got, -1, e) < 0) {
			if (e->kind == ERR_CANCELLED)
				return -1;
			continue;
		}
		if (strcmp(got, id) == 0)
			return 0;
		err_set(e, ERR_BAD_STATE, "%s is image %s", json_string_value(ref), got);
	}
	return err_wrap(e, "image %.19s is not in the archive (capture --with-images)", id);
}

/* A container may mount an image by its name. */
static int name_it(struct replay *r, json_t *row, const char *id, struct err *e)
{
	size_t i;
	json_t *name;
	json_array_foreach (json_object_get(row, "names"), i, name) {
		const char *words[] = {"tag", id, json_string_value(name), NULL};
		if (!strchr(words[2], '@') &&
		    tools_run(&r->tools, "ocistore", words, NULL, -1, e) < 0)
			return -1;
	}
	return 0;
}

int replay_images(struct replay *r, struct err *e)
{
	size_t i;
	json_t *row;
	bool loaded = false;
	json_array_foreach (json_object_get(r->arc.index, "images"), i, row) {
		const char *id = jsonx_opt_string(row, "id", "");
		if (is_here(r, id))
			continue;
		if (jsonx_opt_bool(row, "layers", false) && !loaded && load(r, e) < 0)
			return err_wrap(e, "images of the archive");
		loaded = loaded || jsonx_opt_bool(row, "layers", false);
		if (!is_here(r, id) && pull(r, row, id, e) < 0)
			return -1;
		if (name_it(r, row, id, e) < 0)
			return -1;
	}
	return 0;
}
