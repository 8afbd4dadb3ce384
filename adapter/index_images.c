/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"

#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "packed.h"
#include "ref.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_MIN = 4, LAYER_META_MAX = 4 << 20 };

struct images {
	const struct crispd *d;
	struct image_entry **all;
	size_t n, cap;
};

static void free_strings(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

static void drop_names(struct image_entry *im)
{
	free_strings(im->tags, im->n_tags);
	free_strings(im->digests, im->n_digests);
	im->tags = im->digests = NULL;
	im->n_tags = im->n_digests = 0;
	im->pinned = false;
	free(TAKE(im->packed));
}

static void image_free(struct image_entry *im)
{
	drop_names(im);
	free(im->user);
	free(im->layers);
	free(im);
}

void images_free(struct images *ims)
{
	if (!ims)
		return;
	for (size_t i = 0; i < ims->n; i++)
		image_free(ims->all[i]);
	free(ims->all);
	free(ims);
}

static void add_string(char ***v, size_t *n, const char *s)
{
	*v = xrealloc(*v, (*n + 1) * sizeof **v);
	(*v)[(*n)++] = xstrdup(s);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct image_entry *find_id(const struct images *ims, const char *id)
{
	for (size_t i = 0; i < ims->n; i++)
		if (strcmp(ims->all[i]->id, id) == 0)
			return ims->all[i];
	return NULL;
}

/* The layer's own record counts its inodes, if it does; nothing is walked here. */
static uint64_t layer_inodes(const struct state *s, const char *id)
{
	char path[96];
	struct err ignored;
	snprintf(path, sizeof path, "layers/%.64s/layer.json", id);
	AUTO_JSON json_t *j = jsonx_read_at(s->root, path, LAYER_META_MAX, &ignored);
	json_int_t n = jsonx_opt_int(j, "inodes", 0);
	return n > 0 ? (uint64_t)n : 1;
}

static void read_layers(const struct state *s, struct image_entry *im, json_t *list)
{
	size_t i;
	json_t *l;
	im->layers = xcalloc(json_array_size(list) + 1, sizeof *im->layers);
	json_array_foreach (list, i, l) {
		const char *id = jsonx_opt_string(l, "id", "");
		json_int_t size = jsonx_opt_int(l, "size", 0);
		if (!digest_is_hex(id))
			continue;
		struct layer_use *u = &im->layers[im->n_layers++];
		memcpy(u->id, id, ID_SIZE);
		u->size = size > 0 ? (uint64_t)size : 0;
		u->inodes = layer_inodes(s, id);
	}
}

static int read_image(void *arg, const char *id, struct err *e)
{
	struct images *ims = arg;
	AUTO_IMAGE struct image img = {.meta = NULL};
	struct err why;
	(void)e;
	if (find_id(ims, id))
		return 0;
	if (image_open(&ims->d->st, id, true, &img, &why) < 0) {
		if (why.kind != ERR_NOT_FOUND)
			log_warn("%s", why.msg);
		return 0;
	}
	struct image_entry *im = xcalloc(1, sizeof *im);
	json_int_t size = jsonx_opt_int(img.meta, "size", 0);
	memcpy(im->id, img.id, sizeof im->id);
	im->size = size > 0 ? (uint64_t)size : 1;
	im->user = xstrdup(jsonx_opt_string(json_object_get(img.config, "config"), "User", ""));
	read_layers(&ims->d->st, im, json_object_get(img.meta, "layers"));
	if (ims->n == ims->cap) {
		ims->cap = ims->cap ? 2 * ims->cap : 16;
		ims->all = xrealloc(ims->all, ims->cap * sizeof(struct image_entry *));
	}
	ims->all[ims->n++] = im;
	return 0;
}

/* "1000:1000" and "app:app": only the user's part, as a number or as a name. */
static void set_user(Runtime__V1__Image *m, Runtime__V1__Int64Value *uid, char name[256],
		     const char *user)
{
	char *end;
	size_t len = strcspn(user, ":");
	snprintf(name, 256, "%.*s", (int)(len < 255 ? len : 255), user);
	errno = 0;
	long long n = strtoll(name, &end, 10);
	if (*name && *end) {
		m->username = name;
		return;
	}
	/* Nobody said: root. */
	uid->value = *name && errno == 0 && n >= 0 ? n : 0;
	m->uid = uid;
}

void image_message(const struct image_entry *im, Runtime__V1__Image *m,
		   Runtime__V1__Int64Value *uid, char name[256])
{
	runtime__v1__image__init(m);
	runtime__v1__int64_value__init(uid);
	m->id = (char *)im->id;
	m->n_repo_tags = im->n_tags;
	m->repo_tags = im->tags;
	m->n_repo_digests = im->n_digests;
	m->repo_digests = im->digests;
	m->size = im->size;
	m->pinned = im->pinned;
	set_user(m, uid, name, im->user);
}

static void finish_image(struct image_entry *im)
{
	Runtime__V1__Image m;
	Runtime__V1__Int64Value uid;
	char name[256];
	if (im->n_tags)
		qsort(im->tags, im->n_tags, sizeof *im->tags, by_text);
	if (im->n_digests)
		qsort(im->digests, im->n_digests, sizeof *im->digests, by_text);
	image_message(im, &m, &uid, name);
	im->packed = packed_element(&m.base, &im->packed_len);
}

static void take_names(struct images *ims, json_t *names)
{
	const char *name;
	json_t *id;
	json_object_foreach (names, name, id) {
		struct image_entry *im = find_id(ims, json_string_value(id));
		if (!im)
			continue;
		if (strchr(name, '@'))
			add_string(&im->digests, &im->n_digests, name);
		else
			add_string(&im->tags, &im->n_tags, name);
		if (image_name_is_pinned(ims->d->cfg.pinned_images, name))
			im->pinned = true;
	}
}

static bool still_there(const struct state *s, const struct image_entry *im)
{
	char path[96];
	snprintf(path, sizeof path, "images/%s", im->id + 7);
	return faccessat(s->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void images_refresh(struct images *ims)
{
	struct err e;
	for (size_t i = ims->n; i-- > 0;) {
		drop_names(ims->all[i]);
		if (still_there(&ims->d->st, ims->all[i]))
			continue;
		image_free(ims->all[i]);
		ims->all[i] = ims->all[--ims->n];
	}
	AUTO_JSON json_t *names = image_names(&ims->d->st, &e);
	if (!names || image_each(&ims->d->st, read_image, ims, &e) < 0)
		log_warn("images: %s", e.msg);
	take_names(ims, names);
	for (size_t i = 0; i < ims->n; i++)
		finish_image(ims->all[i]);
}

struct images *images_new(const struct crispd *d)
{
	struct images *ims = xcalloc(1, sizeof *ims);
	ims->d = d;
	images_refresh(ims);
	return ims;
}

static bool has(char *const *v, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i], s) == 0)
			return true;
	return false;
}

static struct image_entry *find_name(const struct images *ims, const struct ref *r)
{
	char name[REF_STR_SIZE];
	if (*r->digest)
		ref_with_digest(r, r->digest, name);
	else
		ref_name(r, name);
	for (size_t i = 0; i < ims->n; i++) {
		struct image_entry *im = ims->all[i];
		if (*r->digest ? has(im->digests, im->n_digests, name)
			       : has(im->tags, im->n_tags, name))
			return im;
	}
	return NULL;
}

/* Names come before prefixes, as in image_resolve. */
struct image_entry *index_image(const struct index *ix, const char *typed)
{
	const struct images *ims = index_image_store(ix);
	const char *hex = strncmp(typed, "sha256:", 7) == 0 ? typed + 7 : typed;
	struct image_entry *found = NULL;
	struct ref r;
	struct err ignored;
	char id[IMAGE_ID_SIZE];
	if (digest_is_hex(hex)) {
		snprintf(id, sizeof id, "sha256:%.64s", hex);
		return find_id(ims, id);
	}
	if (ref_parse(&r, typed, &ignored) == 0 && (found = find_name(ims, &r)))
		return found;
	size_t len = strlen(hex);
	if (len < PREFIX_MIN || strspn(hex, "0123456789abcdef") != len)
		return NULL;
	for (size_t i = 0; i < ims->n; i++) {
		if (strncmp(ims->all[i]->id + 7, hex, len) != 0)
			continue;
		if (found)
			return NULL;
		found = ims->all[i];
	}
	return found;
}

struct image_entry *const *index_images(const struct index *ix, size_t *n)
{
	const struct images *ims = index_image_store(ix);
	*n = ims->n;
	return ims->all;
}
