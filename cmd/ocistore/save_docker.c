/* SPDX-License-Identifier: Apache-2.0 */
/* What `docker load` reads: manifest.json says for each image its names, its configuration and its
 * layers; repositories is for readers from before that file. */
#include "auto.h"
#include "jsonx.h"
#include "save.h"

#include <stdio.h>
#include <string.h>

static json_t *manifest(const struct save *s)
{
	char name[DIGEST_HEX_LEN + 8];
	json_t *all = json_array();
	for (size_t i = 0; i < s->image_count; i++) {
		const struct save_image *m = &s->images[i];
		AUTO_JSON json_t *layers = json_array();
		for (size_t k = 0; k < m->count; k++) {
			snprintf(name, sizeof name, "%s.tar", s->layers[m->layers[k]].diff);
			json_array_append_new(layers, json_string(name));
		}
		snprintf(name, sizeof name, "%s.json", m->id + 7);
		json_array_append_new(all, json_pack("{s:s,s:O,s:O}", "Config", name, "RepoTags",
						     m->names, "Layers", layers));
	}
	return all;
}

static json_t *repositories(const struct save *s)
{
	size_t k;
	json_t *name, *repo, *all = json_object();
	for (size_t i = 0; i < s->image_count; i++) {
		const struct save_image *m = &s->images[i];
		json_array_foreach (m->names, k, name) {
			const char *text = json_string_value(name), *colon = strrchr(text, ':');
			if (!colon || !*m->last_layer)
				continue;
			AUTO_JSON json_t *key = json_stringn(text, (size_t)(colon - text));
			const char *path = json_string_value(key);
			repo = json_object_get(all, path);
			if (!repo)
				json_object_set_new(all, path, repo = json_object());
			json_object_set_new(repo, colon + 1, json_string(m->last_layer));
		}
	}
	return all;
}

static int put_json(struct save *s, const char *name, const json_t *j, struct err *e)
{
	AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_EXHAUSTED, "no memory for %s", name);
	return save_out_member(&s->out, name, text, strlen(text), e);
}

int save_docker(struct save *s, struct err *e)
{
	char name[DIGEST_HEX_LEN + 8];
	AUTO_JSON json_t *m = manifest(s);
	AUTO_JSON json_t *r = repositories(s);
	if (put_json(s, "manifest.json", m, e) < 0 || put_json(s, "repositories", r, e) < 0)
		return -1;
	for (size_t i = 0; i < s->image_count; i++) {
		const struct buf *b = &s->images[i].config;
		snprintf(name, sizeof name, "%s.json", s->images[i].id + 7);
		if (save_out_member(&s->out, name, b->data, b->len, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->layer_count; i++) {
		snprintf(name, sizeof name, "%s.tar", s->layers[i].diff);
		if (save_layer_plain(s, &s->layers[i], name, e) < 0)
			return -1;
	}
	return 0;
}
