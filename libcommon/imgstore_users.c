/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "imgmount.h"
#include "imgstore.h"
#include "record.h"

#include <stdio.h>
#include <string.h>

struct reading {
	const struct state *s;
	struct imgstore_users *u;
};

static void add_user(struct imgstore_users *u, const char *image, const char *kind, const char *who)
{
	char text[512];
	json_t *list = json_object_get(u->by_image, image);
	snprintf(text, sizeof text, "%s %.480s", kind, who);
	if (!list) {
		list = json_array();
		json_object_set_new(u->by_image, image, list);
	}
	json_array_append_new(list, json_string(text));
}

static int note_container(void *arg, const char *id, struct err *e)
{
	const struct reading *q = arg;
	struct err why;
	AUTO_CTR_RECORD struct ctr_record r = {.id = NULL};
	size_t i;
	json_t *image;
	(void)e;
	if (ctr_record_read(q->s, id, &r, &why) == 0) {
		add_user(q->u, r.image_id, "container", id);
		json_array_foreach (r.mount_images, i, image)
			if (json_is_string(image) &&
			    strcmp(json_string_value(image), r.image_id) != 0)
				add_user(q->u, json_string_value(image), "container", id);
	} else if (why.kind != ERR_NOT_FOUND) {
		/* None yet names none. */
		snprintf(q->u->all, sizeof q->u->all,
			 "the record of container %s cannot be read, it may use any image", id);
	}
	return 0;
}

static int note_mount(void *arg, const struct imgmount *m, struct err *e)
{
	const struct reading *q = arg;
	(void)e;
	if (m->live && !*m->image)
		snprintf(q->u->all, sizeof q->u->all,
			 "the mount record %.64s cannot be read, it may be of any image", m->key);
	else if (m->live)
		add_user(q->u, m->image, "mount", m->dir);
	return 0;
}

int imgstore_users_read(const struct state *s, struct imgstore_users *u, struct err *e)
{
	struct reading q = {s, u};
	*u = (struct imgstore_users){.by_image = json_object()};
	if (object_each(s, OBJ_CONTAINER, note_container, &q, e) == 0 &&
	    imgmount_each(s, note_mount, &q, e) == 0)
		return 0;
	imgstore_users_release(u);
	return -1;
}

const char *imgstore_user(const struct imgstore_users *u, const char *id)
{
	const json_t *list = json_object_get(u->by_image, id);
	return list ? json_string_value(json_array_get(list, 0)) : NULL;
}

void imgstore_users_release(struct imgstore_users *u)
{
	json_decref(u->by_image);
	u->by_image = NULL;
}
