/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "event.h"
#include "imgpin.h"
#include "jsonx.h"
#include "ocistore.h"
#include "ref.h"
#include "utf8.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { LOCK_MS = 30000 };

static bool rm_force, rm_in_use, rm_wait;
const struct opt rm_opts[] = {
	{"force", 'f', OPT_FLAG, &rm_force, NULL, "also what is pinned or in use"},
	{"in-use", 0, OPT_FLAG, &rm_in_use, NULL,
	 "also what is in use; its users go on, the layers stay with them"},
	{"wait", 'w', OPT_FLAG, &rm_wait, NULL, "until the bytes are gone, too"},
	{.name = NULL},
};

/* One image or name that is to go. */
struct removal {
	struct tool_ctx *c;
	struct store_view *v; /* as it is now: what has gone is taken out */
	char id[IMAGE_ID_SIZE];
	json_t *untag; /* the names that go; NULL = the image with all of them */
};

static size_t repository_len(const char *name)
{
	const char *at = strchr(name, '@'), *colon = strrchr(name, ':');
	return (size_t)((at ? at : colon ? colon : name + strlen(name)) - name);
}

static bool same_repository(const char *a, const char *b)
{
	size_t len = repository_len(a);
	return len == repository_len(b) && strncmp(a, b, len) == 0;
}

/* The names that go when `name` is removed: with the last tag of a repository its digest names,
 * which the pull of that tag has made. NULL when no name of the image would remain. */
static json_t *names_that_go(json_t *names, const char *name, const char *id)
{
	const char *other;
	json_t *target;
	bool is_tag = !strchr(name, '@'), last_tag = is_tag;
	size_t remain = 0;
	AUTO_JSON json_t *gone = json_array();
	json_object_foreach (names, other, target)
		if (is_tag && strcmp(json_string_value(target), id) == 0 && !strchr(other, '@') &&
		    strcmp(other, name) != 0 && same_repository(other, name))
			last_tag = false;
	json_object_foreach (names, other, target) {
		if (strcmp(json_string_value(target), id) != 0)
			continue;
		if (strcmp(other, name) == 0 ||
		    (last_tag && strchr(other, '@') && same_repository(other, name)))
			json_array_append_new(gone, json_string(other));
		else
			remain++;
	}
	return remain ? TAKE(gone) : NULL;
}

static int check_pins(const struct removal *r, const char *typed, struct err *e)
{
	size_t i;
	const struct store_view *v = r->v;
	json_t *name;
	AUTO_JSON json_t *some = json_object();
	json_array_foreach (r->untag, i, name)
		json_object_set_new(some, json_string_value(name), json_string(r->id));
	AUTO_JSON json_t *why =
		r->untag ? imgpin_reasons(r->c->cfg.pinned_images, NULL, some, r->id)
			 : imgpin_reasons(r->c->cfg.pinned_images, v->pins, v->names, r->id);
	json_array_foreach (r->untag, i, name)
		if (json_object_get(v->pins, json_string_value(name)))
			json_array_append(why, name);
	if (json_array_size(why) == 0 || rm_force)
		return 0;
	return err_set(e, ERR_BAD_STATE, "%.300s: pinned (%.500s)", typed,
		       json_string_value(json_array_get(why, 0)));
}

/* 1: it may go, 0: it is not there. */
static int plan(struct removal *r, const char *typed, struct err *e)
{
	char name[REF_STR_SIZE];
	const struct store_view *v = r->v;
	if (image_resolve(&r->c->st, typed, r->id, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (typed_name(typed, r->id, v->names, name, sizeof name))
		r->untag = names_that_go(v->names, name, r->id);
	if (check_pins(r, typed, e) < 0)
		return -1;
	const char *user = imgstore_user(&v->users, r->id);
	if (!r->untag && user)
		return err_set(e, ERR_BAD_STATE, "%.300s: in use by %.500s", typed, user);
	return 1;
}

static int untag(const struct removal *r, struct err *e)
{
	size_t i;
	json_t *name;
	json_array_foreach (r->untag, i, name) {
		const char *text = json_string_value(name);
		if (imgstore_name_drop(&r->c->st, text, e) < 0)
			return -1;
		json_object_del(r->v->names, text);
		if (json_object_get(r->v->pins, text) && imgpin_clear(&r->c->st, text, e) < 0)
			return -1;
	}
	return 0;
}

static int remove_image(const struct removal *r, struct err *e)
{
	void *next;
	const char *name;
	json_t *target;
	if (imgstore_image_remove(&r->c->st, r->id, r->v->names, e) < 0)
		return -1;
	json_object_foreach_safe (r->v->names, next, name, target)
		if (strcmp(json_string_value(target), r->id) == 0)
			json_object_del(r->v->names, name);
	return 0;
}

static void tell_plan(const struct removal *r)
{
	size_t i;
	json_t *name;
	if (!r->untag)
		printf("would remove image %s\n", r->id);
	json_array_foreach (r->untag, i, name)
		printf("would remove name %s\n", json_string_value(name));
}

/* gone: the ids of what is not as it was. */
static int remove_one(struct tool_ctx *c, struct store_view *v, const char *typed, json_t *gone,
		      struct err *e)
{
	struct removal r = {.c = c, .v = v};
	int go = plan(&r, typed, e);
	if (go > 0 && c->dry_run) {
		tell_plan(&r);
	} else if (go > 0) {
		json_object_set_new(gone, r.id, json_true());
		go = r.untag ? untag(&r, e) : remove_image(&r, e);
	}
	json_decref(r.untag);
	return go < 0 ? -1 : 0;
}

static int remove_all(struct tool_ctx *c, int argc, char **argv, json_t *gone, struct err *e)
{
	struct err why;
	int rc = 0;
	AUTO_VIEW struct store_view v = {.names = NULL};
	AUTO_CLOSE int lock = c->dry_run ? -1 : image_store_lock(&c->st, LOCK_MS, e);
	if ((!c->dry_run && lock < 0) || store_view_read(c, &v, !rm_force && !rm_in_use, e) < 0)
		return -1;
	for (int i = 0; i < argc; i++) {
		/* The others go all the same; the first failure is told. */
		if (remove_one(c, &v, argv[i], gone, &why) < 0 && rc == 0) {
			*e = why;
			rc = -1;
		}
	}
	return rc;
}

int store_rm(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct err why;
	const char *id;
	json_t *ignored;
	AUTO_JSON json_t *gone = json_object();
	int rc = remove_all(c, argc, argv, gone, e);
	json_object_foreach (gone, id, ignored)
		event_publish(&c->st, "changed", "image", id, "", false);
	/* Also when there was nothing: an earlier removal may have been cut short. */
	if (!c->dry_run && (rm_wait ? imgstore_gc(&c->st, NULL, rc == 0 ? e : &why)
				    : imgstore_gc_later(&c->st, rc == 0 ? e : &why)) < 0)
		return -1;
	return rc;
}

/* Under the store's locks nothing is printed: whoever reads our output may take his time. */
struct account {
	const struct tool_ctx *c;
	FILE *text;
};

static void say(void *arg, const char *what, const char *why, bool removed)
{
	const struct account *a = arg;
	char safe[4 * NAME_MAX + 64];
	const char *verb = !removed ? "keep" : a->c->dry_run ? "would remove" : "remove";
	utf8_escape(what, safe, sizeof safe);
	if (!a->c->json) {
		fprintf(a->text, "%s %s: %s\n", verb, safe, why);
		return;
	}
	AUTO_JSON json_t *j =
		json_pack("{s:s,s:b,s:s}", "what", safe, "removed", (int)removed, "why", why);
	json_dumpf(j, a->text, JSON_COMPACT);
	putc('\n', a->text);
}

int store_gc(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	struct account a = {.c = c, .text = open_memstream(&text, &len)};
	const struct imgstore_report r = {.dry_run = c->dry_run, .say = say, .arg = &a};
	(void)argc;
	(void)argv;
	if (!a.text)
		return err_sys(e, "make room for the report");
	int rc = imgstore_gc(&c->st, &r, e);
	if (fclose(a.text) != 0)
		return rc < 0 ? -1 : err_sys(e, "make room for the report");
	fwrite(text, 1, len, stdout);
	return rc;
}
