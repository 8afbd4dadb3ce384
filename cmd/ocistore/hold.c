/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"
#include "auto.h"
#include "image.h"
#include "jsonx.h"

#include <errno.h>

static json_t *layers_of(const struct tool_ctx *c, const json_t *images)
{
	size_t i, k;
	const json_t *id;
	json_t *layer, *hex;
	struct err ignored;
	json_t *list = json_array();
	AUTO_JSON json_t *once = json_object();
	json_array_foreach (images, i, id) {
		AUTO_IMAGE struct image img = {.meta = NULL};
		/* Damaged ones say nothing of their layers; then the collection keeps all. */
		if (image_open(&c->st, json_string_value(id), false, &img, &ignored) < 0)
			continue;
		json_array_foreach (json_object_get(img.meta, "layers"), k, layer) {
			hex = json_object_get(layer, "id");
			if (!json_is_string(hex) || json_object_get(once, json_string_value(hex)))
				continue;
			json_object_set_new(once, json_string_value(hex), json_true());
			json_array_append(list, hex);
		}
	}
	return list;
}

int hold_layers(const struct tool_ctx *c, const json_t *images, struct imgstore_tmp *t,
		struct err *e)
{
	AUTO_JSON json_t *layers = layers_of(c, images);
	if (imgstore_tmp_new(&c->st, "read", t, e) < 0)
		return e->errnum == EROFS ? 0 : -1;
	return imgstore_want_layers(&c->st, t, layers, e);
}
