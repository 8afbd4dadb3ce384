/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "event.h"
#include "imgpin.h"
#include "jsonx.h"
#include "ocistore.h"
#include "ref.h"

#include <stdio.h>
#include <string.h>

enum { LOCK_MS = 30000 };

static void changed(const struct tool_ctx *c, const char *id)
{
	event_publish(&c->st, "changed", "image", id, "", false);
}

/* The normal form of a name that is to be made. */
static int tag_name(const char *typed, char out[REF_STR_SIZE], struct err *e)
{
	struct ref r;
	if (ref_parse(&r, typed, e) < 0)
		return -1;
	if (*r.digest)
		return err_set(e, ERR_BAD_INPUT, "%.300s: a digest cannot be given as a tag",
			       typed);
	ref_name(&r, out);
	return 0;
}

int store_tag(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE], name[REF_STR_SIZE];
	for (int i = 1; i < argc; i++)
		if (tag_name(argv[i], name, e) < 0)
			return -1;
	AUTO_CLOSE int lock = image_store_lock(&c->st, LOCK_MS, e);
	if (lock < 0 || image_resolve(&c->st, argv[0], id, e) < 0)
		return -1;
	for (int i = 1; i < argc; i++) {
		if (tag_name(argv[i], name, e) < 0)
			return -1;
		if (c->dry_run)
			printf("would name %s %s\n", id, name);
		else if (imgstore_name_set(&c->st, name, id + 7, e) < 0)
			return -1;
	}
	if (c->dry_run)
		return 0;
	if (imgstore_names_sync(&c->st, e) < 0)
		return -1;
	auto_close(&lock);
	lock = -1;
	changed(c, id);
	return 0;
}

/* One name goes, whatever remains. The lock is held. */
static int untag_one(struct tool_ctx *c, const char *typed, json_t *touched, struct err *e)
{
	char id[IMAGE_ID_SIZE], name[REF_STR_SIZE];
	AUTO_VIEW struct store_view v = {.names = NULL};
	if (store_view_read(c, &v, false, e) < 0 || image_resolve(&c->st, typed, id, e) < 0)
		return -1;
	if (!typed_name(typed, id, v.names, name, sizeof name))
		return err_set(e, ERR_BAD_INPUT, "%.300s: not a name", typed);
	const char *pattern = image_name_pinned_by(c->cfg.pinned_images, name);
	if (pattern || json_object_get(v.pins, name))
		return err_set(e, ERR_BAD_STATE, "%.300s: pinned (%s%.500s)", typed,
			       pattern ? "pinned_images: " : "pin: ", pattern ? pattern : name);
	if (c->dry_run) {
		printf("would remove name %s\n", name);
		return 0;
	}
	if (imgstore_name_drop(&c->st, name, e) < 0)
		return -1;
	json_object_set_new(touched, id, json_true());
	return 0;
}

int store_untag(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	const char *id;
	json_t *ignored_value;
	int rc = 0;
	AUTO_JSON json_t *touched = json_object();
	AUTO_CLOSE int lock = image_store_lock(&c->st, LOCK_MS, e);
	if (lock < 0)
		return -1;
	for (int i = 0; i < argc && rc == 0; i++)
		rc = untag_one(c, argv[i], touched, e);
	struct err ignored;
	if (!c->dry_run && imgstore_names_sync(&c->st, rc == 0 ? e : &ignored) < 0)
		rc = -1;
	auto_close(&lock);
	lock = -1;
	json_object_foreach (touched, id, ignored_value)
		changed(c, id);
	return rc;
}

static int print_pin(const struct tool_ctx *c, const char *id, const char *why)
{
	if (!c->json) {
		printf("%.12s %s\n", id + 7, why);
		return 0;
	}
	AUTO_JSON json_t *j = json_pack("{s:s, s:s}", "id", id, "pinned_by", why);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	return 0;
}

struct pins {
	const struct tool_ctx *c;
	struct store_view *v;
};

static int list_pins_of(void *arg, const char *id, struct err *e)
{
	const struct pins *p = arg;
	size_t i;
	json_t *why;
	(void)e;
	AUTO_JSON json_t *list =
		imgpin_reasons(p->c->cfg.pinned_images, p->v->pins, store_view_names(p->v, id), id);
	json_array_foreach (list, i, why)
		print_pin(p->c, id, json_string_value(why));
	return 0;
}

static int pin_one(struct tool_ctx *c, const char *typed, bool pin, struct err *e)
{
	char id[IMAGE_ID_SIZE], what[REF_STR_SIZE];
	AUTO_CLOSE int lock = image_store_lock(&c->st, LOCK_MS, e);
	if (lock < 0 || image_resolve(&c->st, typed, id, e) < 0)
		return -1;
	AUTO_JSON json_t *names = image_names(&c->st, e);
	if (!names)
		return -1;
	if (!typed_name(typed, id, names, what, sizeof what))
		snprintf(what, sizeof what, "%s", id);
	if (c->dry_run) {
		printf("would %s %s\n", pin ? "pin" : "unpin", what);
		return 0;
	}
	if ((pin ? imgpin_set(&c->st, what, e) : imgpin_clear(&c->st, what, e)) < 0)
		return -1;
	auto_close(&lock);
	lock = -1;
	changed(c, id);
	return 0;
}

int store_pin(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_VIEW struct store_view v = {.names = NULL};
	struct pins p = {c, &v};
	if (argc == 0)
		return store_view_read(c, &v, false, e) < 0
			       ? -1
			       : image_each(&c->st, list_pins_of, &p, e);
	for (int i = 0; i < argc; i++)
		if (pin_one(c, argv[i], true, e) < 0)
			return -1;
	return 0;
}

/* Also what the configuration pins: then it stays pinned, and that is told. */
static int unpin_one(struct tool_ctx *c, const char *typed, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	if (pin_one(c, typed, false, e) < 0)
		return -1;
	if (c->dry_run || image_resolve(&c->st, typed, id, e) < 0)
		return c->dry_run ? 0 : -1;
	AUTO_VIEW struct store_view v = {.names = NULL};
	if (store_view_read(c, &v, false, e) < 0)
		return -1;
	AUTO_JSON json_t *why = imgpin_reasons(c->cfg.pinned_images, v.pins, v.names, id);
	if (json_array_size(why) == 0)
		return 0;
	return err_set(e, ERR_BAD_STATE, "%.300s: still pinned (%.500s)", typed,
		       json_string_value(json_array_get(why, 0)));
}

int store_unpin(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	for (int i = 0; i < argc; i++)
		if (unpin_one(c, argv[i], e) < 0)
			return -1;
	return 0;
}
