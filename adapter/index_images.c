/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"

#include "auto.h"
#include "digest.h"
#include "imgpin.h"
#include "imgstore.h"
#include "jsonx.h"
#include "log.h"
#include "packed.h"
#include "ref.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	PREFIX_MIN = 4,
	MANIFEST_MAX = 4 << 20,
	/* An image may say what it likes about itself, but a list of all must fit into an answer. */
	ANNOTATIONS_MAX = 16 << 10,
};

/* A change within the same tick of the file system's clock as the last one leaves no trace. */
static const int64_t tick_ns = 50 * 1000000LL;

static const char *const dirs[] = {"images", "names", "pins"};

struct images {
	const struct crispd *d;
	struct image_entry **all; /* by id */
	size_t n, cap;
	int64_t changed[ARRAY_LEN(dirs)]; /* when the directories were, at the last look */
	bool fresh;                       /* … and that was long enough before it */
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

static void free_spec(Runtime__V1__ImageSpec *spec)
{
	for (size_t i = 0; i < spec->n_annotations; i++) {
		free(spec->annotations[i]->key);
		free(spec->annotations[i]->value);
		free(spec->annotations[i]);
	}
	free(spec->annotations);
}

static void image_free(struct image_entry *im)
{
	drop_names(im);
	free_spec(&im->spec);
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

static int by_id(const void *key, const void *member)
{
	return strcmp(key, (*(struct image_entry *const *)member)->id);
}

static int by_ids(const void *a, const void *b)
{
	return by_id((*(struct image_entry *const *)a)->id, b);
}

static struct image_entry *find_id(const struct images *ims, const char *id)
{
	struct image_entry **found =
		ims->n ? bsearch(id, ims->all, ims->n, sizeof(struct image_entry *), by_id) : NULL;
	return found ? *found : NULL;
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
		json_int_t bytes, inodes;
		/* Without a record of its own, the image's has to do. */
		if (!imgstore_layer_usage(s, id, &bytes, &inodes))
			bytes = size > 0 ? size : 0;
		u->size = (uint64_t)bytes;
		u->inodes = (uint64_t)inodes;
	}
}

static void read_spec(const struct state *s, struct image_entry *im)
{
	char path[96];
	const char *key;
	json_t *value;
	struct err ignored;
	size_t bytes = 0;
	runtime__v1__image_spec__init(&im->spec);
	im->spec.image = im->id;
	snprintf(path, sizeof path, "images/%.64s/manifest.json", im->id + 7);
	AUTO_JSON json_t *j = jsonx_read_at(s->root, path, MANIFEST_MAX, &ignored);
	json_t *all = json_object_get(j, "annotations");
	json_object_foreach (all, key, value)
		bytes += strlen(key) + json_string_length(value);
	if (bytes == 0 || bytes > ANNOTATIONS_MAX)
		return;
	im->spec.annotations = xcalloc(json_object_size(all), sizeof(void *));
	json_object_foreach (all, key, value) {
		if (!json_is_string(value))
			continue;
		Runtime__V1__ImageSpec__AnnotationsEntry *a = xmalloc(sizeof *a);
		runtime__v1__image_spec__annotations_entry__init(a);
		a->key = xstrdup(key);
		a->value = xstrdup(json_string_value(value));
		im->spec.annotations[im->spec.n_annotations++] = a;
	}
}

static bool stat_image(const struct state *s, const char *id, uint64_t *ino, uint64_t *changed)
{
	char path[96];
	struct stat st;
	snprintf(path, sizeof path, "images/%.64s", id + 7);
	if (fstatat(s->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*ino = st.st_ino;
	*changed = (uint64_t)st.st_ctim.tv_sec * 1000000000U + (uint64_t)st.st_ctim.tv_nsec;
	return true;
}

struct reading {
	struct images *ims;
	size_t known;
};

/* Appends: what was there before stands sorted in the first `known`. */
static int read_image(void *arg, const char *id, struct err *e)
{
	const struct reading *q = arg;
	struct images *ims = q->ims;
	AUTO_IMAGE struct image img = {.meta = NULL};
	struct err why;
	uint64_t ino, changed;
	const struct images known = {.all = ims->all, .n = q->known};
	(void)e;
	if (find_id(&known, id) || !stat_image(&ims->d->st, id, &ino, &changed))
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
	im->dir = ino;
	im->dir_changed = changed;
	read_spec(&ims->d->st, im);
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
	m->spec = (Runtime__V1__ImageSpec *)&im->spec;
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

static void take_names(struct images *ims, json_t *names, const json_t *pins)
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
		if (json_object_get(pins, name) ||
		    image_name_is_pinned(ims->d->cfg.pinned_images, name))
			im->pinned = true;
	}
	for (size_t i = 0; i < ims->n; i++)
		if (json_object_get(pins, ims->all[i]->id))
			ims->all[i]->pinned = true;
}

static bool still_there(const struct state *s, const struct image_entry *im)
{
	uint64_t ino, changed;
	return stat_image(s, im->id, &ino, &changed) && ino == im->dir &&
	       changed == im->dir_changed;
}

/* When each directory changed last; 0 = it is not there. */
static void look_at_dirs(const struct state *s, int64_t changed[ARRAY_LEN(dirs)])
{
	struct stat st;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		changed[i] = fstatat(s->root, dirs[i], &st, AT_SYMLINK_NOFOLLOW) < 0
				     ? 0
				     : st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
}

static void note_look(struct images *ims)
{
	int64_t now = record_now_ns();
	look_at_dirs(&ims->d->st, ims->changed);
	ims->fresh = true;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (ims->changed[i] > now - tick_ns)
			ims->fresh = false;
}

void index_follow_images(const struct index *ix)
{
	struct images *ims = index_image_store(ix);
	int64_t changed[ARRAY_LEN(dirs)];
	look_at_dirs(&ims->d->st, changed);
	if (!ims->fresh || memcmp(changed, ims->changed, sizeof changed) != 0)
		images_refresh(ims);
}

static void drop_changed(struct images *ims)
{
	size_t kept = 0;
	for (size_t i = 0; i < ims->n; i++) {
		struct image_entry *im = ims->all[i];
		drop_names(im);
		if (still_there(&ims->d->st, im))
			ims->all[kept++] = im;
		else
			image_free(im);
	}
	ims->n = kept;
}

void images_refresh(struct images *ims)
{
	struct err e = {.msg = ""};
	/* Before reading: what changes meanwhile is looked at again. */
	note_look(ims);
	drop_changed(ims);
	struct reading q = {ims, ims->n};
	AUTO_JSON json_t *names = image_names(&ims->d->st, &e);
	AUTO_JSON json_t *pins = imgpin_read(&ims->d->st, &e);
	if (!names || !pins || image_each(&ims->d->st, read_image, &q, &e) < 0) {
		log_warn("images: %s", e.msg);
		/* What is known now is not all: the next question looks again. */
		ims->fresh = false;
	}
	if (ims->n)
		qsort(ims->all, ims->n, sizeof(struct image_entry *), by_ids);
	take_names(ims, names, pins);
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
