/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"
#include "auto.h"
#include "buf.h"
#include "image.h"
#include "imgstore.h"
#include "jsonx.h"
#include "log.h"
#include "ref.h"
#include "verify.h"

#include <stdio.h>
#include <string.h>

enum { OUT_MAX = 4096, AT_ONCE = 60 };

struct repair {
	struct tool_ctx *c;
	struct verify v;
	json_t *names; /* image_names */
	size_t failed;
	struct err first;
};

/* The bad layers of an image. */
static json_t *bad_layers_of(const struct repair *r, const struct image *img)
{
	size_t i;
	json_t *layer, *list = json_array();
	AUTO_JSON json_t *once = json_object();
	json_array_foreach (json_object_get(img->meta, "layers"), i, layer) {
		json_t *id = json_object_get(layer, "id");
		const char *hex = json_is_string(id) ? json_string_value(id) : "";
		if (!json_object_get(r->v.bad_layers, hex) || json_object_get(once, hex))
			continue;
		json_object_set_new(once, hex, json_true());
		json_array_append(list, id);
	}
	return list;
}

/* By which references the very same image can be had: never by a tag, which may have moved on. */
static json_t *references(const struct repair *r, const struct image *img)
{
	struct ref ref;
	struct err ignored;
	const char *name, *digest = jsonx_opt_string(img->meta, "manifest_digest", "");
	json_t *target, *list = json_array(), *guesses = json_array();
	char text[REF_STR_SIZE];
	json_object_foreach (r->names, name, target) {
		if (strcmp(json_string_value(target), img->id) != 0 ||
		    ref_parse(&ref, name, &ignored) < 0)
			continue;
		if (*ref.digest)
			json_array_append_new(list, json_string(name));
		if (*ref.digest || !*digest)
			continue;
		ref_with_digest(&ref, digest, text);
		json_array_append_new(guesses, json_string(text));
	}
	json_array_extend(list, guesses);
	json_decref(guesses);
	return list;
}

static int fetch(const struct repair *r, const char *id, const char *ref, json_t *layers,
		 struct err *e)
{
	const char *args[2 * AT_ONCE + 4];
	size_t done = 0, total = json_array_size(layers);
	do {
		size_t n = 0;
		AUTO_BUF struct buf out = BUF_INIT(OUT_MAX);
		for (; done < total && n < 2UL * AT_ONCE; done++) {
			args[n++] = "--again";
			args[n++] = json_string_value(json_array_get(layers, done));
		}
		args[n++] = "--again";
		args[n++] = id + 7;
		args[n++] = ref;
		args[n] = NULL;
		if (run_ocipull(r->c, args, &out, e) < 0)
			return -1;
		if (strcmp(out.data ? out.data : "", id) != 0)
			return err_set(e, ERR_BAD_INPUT, "%.200s is another image now", ref);
	} while (done < total);
	return 0;
}

static void say(const struct repair *r, const char *what, const char *id, const char *from)
{
	const char *verb = r->c->dry_run ? "would repair" : "repaired";
	if (!r->c->json) {
		printf("%s %s %s from %s\n", verb, what, id, from);
		return;
	}
	AUTO_JSON json_t *j =
		json_pack("{s:s,s:b,s:s}", what, id, "repaired", !r->c->dry_run, "from", from);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

static void repaired(struct repair *r, const char *id, json_t *layers, const char *from)
{
	size_t i;
	json_t *layer;
	json_array_foreach (layers, i, layer) {
		say(r, "layer", json_string_value(layer), from);
		json_object_del(r->v.bad_layers, json_string_value(layer));
	}
	if (json_object_get(r->v.bad_images, id))
		say(r, "image", id, from);
}

static void give_up(struct repair *r, const char *id, const struct err *why)
{
	struct err e = *why;
	err_wrap(&e, "image %s cannot be repaired", id);
	if (r->failed++ == 0)
		r->first = e;
	else
		log_error("%s", e.msg);
}

static int repair_image(void *arg, const char *id, struct err *e)
{
	struct repair *r = arg;
	size_t i;
	json_t *ref;
	struct err why;
	AUTO_IMAGE struct image img = {.meta = NULL};
	(void)e;
	/* One whose record is damaged has its names still, and comes again as a whole. */
	(void)image_open(&r->c->st, id, false, &img, &why);
	snprintf(img.id, sizeof img.id, "%s", id);
	AUTO_JSON json_t *layers = bad_layers_of(r, &img);
	if (json_array_size(layers) == 0 && !json_object_get(r->v.bad_images, id))
		return 0;
	AUTO_JSON json_t *refs = references(r, &img);
	err_set(&why, ERR_NOT_FOUND, "it has no name in a registry");
	json_array_foreach (refs, i, ref) {
		const char *from = json_string_value(ref);
		if (!r->c->dry_run && fetch(r, id, from, layers, &why) < 0)
			continue;
		repaired(r, id, layers, from);
		return 0;
	}
	give_up(r, id, &why);
	return 0;
}

static int repair_all(struct repair *r, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	if (verify_images(&r->v, argc, argv, e) < 0)
		return -1;
	if (r->v.faults == 0)
		return 0;
	r->names = image_names(&r->c->st, e);
	if (!r->names)
		return -1;
	if (argc == 0 && image_each(&r->c->st, repair_image, r, e) < 0)
		return -1;
	for (int i = 0; i < argc; i++)
		if (image_resolve(&r->c->st, argv[i], id, e) < 0 || repair_image(r, id, e) < 0)
			return -1;
	if (r->failed > 0) {
		*e = r->first;
		return -1;
	}
	/* What the repaired have replaced, unless somebody uses it. */
	return r->c->dry_run ? 0 : imgstore_gc(&r->c->st, NULL, e);
}

int store_repair(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct repair r = {.c = c,
			   .v = {.ctx = c, .silent = true, .progress = isatty(STDERR_FILENO)}};
	int rc = repair_all(&r, argc, argv, e);
	bool again = rc == 0 && r.v.faults > 0 && !c->dry_run;
	json_decref(r.names);
	verify_release(&r.v);
	return again ? store_verify(c, argc, argv, e) : rc;
}
