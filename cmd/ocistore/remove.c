/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "event.h"
#include "imgstore.h"
#include "jsonx.h"
#include "ocistore.h"

#include <stdio.h>

bool rm_force;

/* 1: it may go, 0: it is not there. */
static int may_go(struct tool_ctx *c, const char *typed, char id[IMAGE_ID_SIZE], struct err *e)
{
	AUTO_IMAGE struct image img = {.meta = NULL};
	if (image_resolve(&c->st, typed, id, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	AUTO_JSON json_t *names = image_names(&c->st, e);
	if (!names)
		return -1;
	/* A damaged image can be removed all the same. */
	snprintf(img.id, sizeof img.id, "%s", id);
	AUTO_JSON json_t *summary = image_summary(c, &img, names);
	if (jsonx_opt_bool(summary, "pinned", false) && !rm_force)
		return err_set(e, ERR_BAD_STATE,
			       "%.300s: pinned by the configuration (pinned_images)", typed);
	return 1;
}

int store_rm(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	struct err why;
	int rc = 0;
	for (int i = 0; i < argc; i++) {
		int go = may_go(c, argv[i], id, &why);
		if (go > 0 && c->dry_run) {
			printf("would remove image %s\n", id);
			continue;
		}
		if (go > 0 && imgstore_image_remove(&c->st, id, &why) < 0)
			go = -1;
		/* The others go all the same; the first failure is told. */
		if (go < 0 && rc == 0)
			*e = why;
		rc = go < 0 ? -1 : rc;
		if (go > 0)
			event_publish(&c->st, "changed", "image", id, "", false);
	}
	/* Also when there was nothing: an earlier removal may have been cut short. */
	if (!c->dry_run && imgstore_gc(&c->st, NULL, rc == 0 ? e : &why) < 0)
		return -1;
	return rc;
}

static void say(void *arg, const char *what, const char *why, bool removed)
{
	const struct tool_ctx *c = arg;
	const char *verb = !removed ? "keep" : c->dry_run ? "would remove" : "remove";
	if (!c->json) {
		printf("%s %s: %s\n", verb, what, why);
		return;
	}
	AUTO_JSON json_t *j =
		json_pack("{s:s,s:b,s:s}", "what", what, "removed", (int)removed, "why", why);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

int store_gc(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	const struct imgstore_report r = {.dry_run = c->dry_run, .say = say, .arg = c};
	(void)argc;
	(void)argv;
	return imgstore_gc(&c->st, &r, e);
}
