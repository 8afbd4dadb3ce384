/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "jsonx.h"
#include "ref.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { META_MAX = 4 << 20, CONFIG_MAX = 8 << 20, PREFIX_MIN = 4, TARGET_LEN = 10 + 64 };

int image_name_escape(const char *name, char *out, size_t size)
{
	size_t n = 0;
	for (; *name; name++) {
		const char *sub = *name == '/' ? "%2f" : *name == '%' ? "%25" : NULL;
		size_t len = sub ? 3 : 1;
		if (n + len >= size || n + len > NAME_MAX)
			return -1;
		memcpy(out + n, sub ? sub : name, len);
		n += len;
	}
	out[n] = '\0';
	return 0;
}

int image_name_unescape(const char *file, char *out, size_t size)
{
	size_t n = 0;
	for (; *file; file++) {
		if (n + 1 >= size)
			return -1;
		if (*file != '%') {
			out[n++] = *file;
			continue;
		}
		if (strncmp(file, "%2f", 3) != 0 && strncmp(file, "%25", 3) != 0)
			return -1;
		out[n++] = file[2] == 'f' ? '/' : '%';
		file += 2;
	}
	out[n] = '\0';
	return 0;
}

/* The image that names/<file> points at; -1 when it is no link of that form. */
static int read_name(int dir, const char *file, char id[IMAGE_ID_SIZE])
{
	char target[TARGET_LEN + 2];
	ssize_t n = readlinkat(dir, file, target, sizeof target - 1);
	if (n != TARGET_LEN)
		return -1;
	target[n] = '\0';
	if (strncmp(target, "../images/", 10) != 0 || !digest_is_hex(target + 10))
		return -1;
	snprintf(id, IMAGE_ID_SIZE, "sha256:%.64s", target + 10);
	return 0;
}

static DIR *open_dir(const struct state *s, const char *name, struct err *e)
{
	int fd = fs_open_dir(s->root, name, e);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d) {
		err_sys(e, "read %s", name);
		close(fd);
	}
	return d;
}

json_t *image_names(const struct state *s, struct err *e)
{
	char name[REF_STR_SIZE], id[IMAGE_ID_SIZE];
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *d = open_dir(s, "names", e);
	if (!d)
		return NULL;
	json_t *names = json_object();
	while ((de = readdir(d)))
		if (de->d_name[0] != '.' && read_name(dirfd(d), de->d_name, id) == 0 &&
		    image_name_unescape(de->d_name, name, sizeof name) == 0)
			json_object_set_new(names, name, json_string(id));
	return names;
}

int image_each(const struct state *s, int (*fn)(void *arg, const char *id, struct err *e),
	       void *arg, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *d = open_dir(s, "images", e);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (!digest_is_hex(de->d_name))
			continue;
		snprintf(id, sizeof id, "sha256:%.64s", de->d_name);
		int r = fn(arg, id, e);
		if (r)
			return r;
	}
	return 0;
}

static bool image_exists(const struct state *s, const char *hex)
{
	char path[80];
	snprintf(path, sizeof path, "images/%s", hex);
	return faccessat(s->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct search {
	const char *prefix;
	char *id;
	int count;
};

static int try_prefix(void *arg, const char *id, struct err *e)
{
	struct search *q = arg;
	(void)e;
	if (strncmp(id + 7, q->prefix, strlen(q->prefix)) == 0) {
		memcpy(q->id, id, IMAGE_ID_SIZE);
		q->count++;
	}
	return 0;
}

/* 1 found, 0 not, -1 error. */
static int find_prefix(const struct state *s, const char *typed, char id[IMAGE_ID_SIZE],
		       struct err *e)
{
	struct search q = {.id = id};
	q.prefix = strncmp(typed, "sha256:", 7) == 0 ? typed + 7 : typed;
	size_t len = strlen(q.prefix);
	if (len < PREFIX_MIN || strspn(q.prefix, "0123456789abcdef") != len)
		return 0;
	if (image_each(s, try_prefix, &q, e) < 0)
		return -1;
	if (q.count > 1)
		return err_set(e, ERR_BAD_INPUT, "'%.64s' names %d images: give more of the id",
			       typed, q.count);
	return q.count;
}

/* 1 found, 0 not. */
static int find_ref(const struct state *s, const struct ref *r, char id[IMAGE_ID_SIZE])
{
	char name[REF_STR_SIZE], path[6 + NAME_MAX + 1] = "names/";
	if (*r->digest)
		ref_with_digest(r, r->digest, name);
	else
		ref_name(r, name);
	return image_name_escape(name, path + 6, sizeof path - 6) == 0 &&
	       read_name(s->root, path, id) == 0 && image_exists(s, id + 7);
}

static int not_found(const char *typed, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "no such image: %.300s", typed);
}

int image_resolve(const struct state *s, const char *typed, char id[IMAGE_ID_SIZE], struct err *e)
{
	struct ref r;
	const char *hex = strncmp(typed, "sha256:", 7) == 0 ? typed + 7 : typed;
	if (digest_is_hex(hex)) {
		snprintf(id, IMAGE_ID_SIZE, "sha256:%.64s", hex);
		return image_exists(s, hex) ? 0 : not_found(typed, e);
	}
	struct err why;
	int parsed = ref_parse(&r, typed, &why);
	if (parsed == 0 && find_ref(s, &r, id))
		return 0;
	int found = find_prefix(s, typed, id, e);
	if (found < 0)
		return -1;
	if (found == 1)
		return 0;
	if (parsed < 0) {
		*e = why;
		return -1;
	}
	return not_found(typed, e);
}

static int check_record(json_t *meta, const char *id, struct err *e)
{
	if (jsonx_opt_int(meta, "version", 0) != 1)
		return err_set(e, ERR_BAD_STATE, "image %s: image.json is of another version", id);
	if (!json_is_array(json_object_get(meta, "layers")))
		return err_set(e, ERR_BAD_STATE, "image %s: image.json has no layers", id);
	return 0;
}

int image_open(const struct state *s, const char *id, bool with_config, struct image *img,
	       struct err *e)
{
	char path[80];
	*img = (struct image){.meta = NULL};
	const char *hex = digest_parse(id, e);
	if (!hex)
		return -1;
	snprintf(img->id, sizeof img->id, "sha256:%s", hex);
	snprintf(path, sizeof path, "images/%s", hex);
	AUTO_CLOSE int dir = openat(s->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? not_found(id, e) : err_sys(e, "open %s", path);
	img->meta = jsonx_read_at(dir, "image.json", META_MAX, e);
	if (img->meta && with_config)
		img->config = jsonx_read_at(dir, "config.json", CONFIG_MAX, e);
	if (img->meta && (img->config || !with_config) && check_record(img->meta, id, e) == 0)
		return 0;
	image_release(img);
	/* Removed between two opens: the directory that we hold has been emptied. */
	if (!image_exists(s, hex))
		return not_found(id, e);
	e->kind = ERR_BAD_STATE;
	return err_wrap(e, "image %s", id);
}

void image_release(struct image *img)
{
	json_decref(img->meta);
	json_decref(img->config);
	img->meta = img->config = NULL;
}

static bool seen(const json_t *layers, size_t from, const char *id)
{
	for (size_t i = from; i < json_array_size(layers); i++)
		if (strcmp(jsonx_opt_string(json_array_get(layers, i), "id", ""), id) == 0)
			return true;
	return false;
}

/* An image that was removed just now is still there for who began to use it (image.h). */
static bool add_root(const struct state *s, const struct image *img, json_t *dirs)
{
	static const char *const where[] = {"", "."};
	char path[PATH_MAX];
	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		int n = snprintf(path, sizeof path, "%s/images/%s%s/root", s->root_path, where[i],
				 img->id + 7);
		if (n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0) {
			json_array_append_new(dirs, json_string(path));
			return true;
		}
	}
	return false;
}

json_t *image_lowerdirs(const struct state *s, const struct image *img, struct err *e)
{
	char path[PATH_MAX];
	const json_t *layers = json_object_get(img->meta, "layers");
	AUTO_JSON json_t *dirs = json_array();
	if (jsonx_opt_bool(img->meta, "root", false) && !add_root(s, img, dirs))
		return err_set_p(e, ERR_BAD_STATE, "image %s: its root directory is missing",
				 img->id);
	for (size_t i = json_array_size(layers); i-- > 0;) {
		const char *id = jsonx_opt_string(json_array_get(layers, i), "id", "");
		if (!digest_is_hex(id))
			return err_set_p(e, ERR_BAD_STATE, "image %s: damaged list of layers",
					 img->id);
		if (seen(layers, i + 1, id))
			continue;
		int n = snprintf(path, sizeof path, "%s/layers/%s/diff", s->root_path, id);
		if (n < 0 || (size_t)n >= sizeof path)
			return err_set_p(e, ERR_BAD_INPUT, "path too long: %s", s->root_path);
		json_array_append_new(dirs, json_string(path));
		if (jsonx_opt_bool(json_array_get(layers, i), "opaque", false))
			break;
	}
	return TAKE(dirs);
}

int image_store_lock(const struct state *s, int timeout_ms, struct err *e)
{
	int fd = fs_lock_at(s->root, "images/.lock", timeout_ms, e);
	return fd < 0 ? err_wrap(e, "image store") : fd;
}

const char *image_name_pinned_by(const json_t *patterns, const char *name)
{
	size_t i;
	json_t *p;
	struct ref r;
	struct err ignored;
	char full[REF_STR_SIZE];
	json_array_foreach (patterns, i, p) {
		const char *pattern = json_string_value(p);
		if (!pattern)
			continue;
		if (fnmatch(pattern, name, 0) == 0)
			return pattern;
		if (ref_parse(&r, pattern, &ignored) < 0)
			continue;
		if (*r.digest)
			ref_with_digest(&r, r.digest, full);
		else
			ref_name(&r, full);
		if (strcmp(full, name) == 0)
			return pattern;
	}
	return NULL;
}

bool image_name_is_pinned(const json_t *patterns, const char *name)
{
	return image_name_pinned_by(patterns, name) != NULL;
}
