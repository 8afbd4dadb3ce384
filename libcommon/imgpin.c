/* SPDX-License-Identifier: Apache-2.0 */
#include "imgpin.h"

#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "ref.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int imgpin_file(const char *what, char *out, size_t size)
{
	if (strncmp(what, "sha256:", 7) == 0 && digest_is_hex(what + 7))
		return snprintf(out, size, "%s", what + 7) < (int)size ? 0 : -1;
	return image_name_escape(what, out, size);
}

json_t *imgpin_read(const struct state *s, struct err *e)
{
	char what[REF_STR_SIZE];
	const struct dirent *de;
	int fd = fs_open_dir(s->root, "pins", e);
	if (fd < 0)
		return e->kind == ERR_NOT_FOUND ? json_object() : NULL;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		err_sys(e, "read pins");
		return NULL;
	}
	json_t *pins = json_object();
	while ((de = readdir(d))) {
		if (digest_is_hex(de->d_name))
			snprintf(what, sizeof what, "sha256:%.64s", de->d_name);
		else if (de->d_name[0] == '.' ||
			 image_name_unescape(de->d_name, what, sizeof what) < 0)
			continue;
		json_object_set_new(pins, what, json_true());
	}
	return pins;
}

static int open_pins(const struct state *s, struct err *e)
{
	if (mkdirat(s->root, "pins", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir pins");
	return fs_open_dir(s->root, "pins", e);
}

static int sync_pins(int dir, struct err *e)
{
	return fsync(dir) < 0 ? err_sys(e, "sync pins") : 0;
}

int imgpin_set(const struct state *s, const char *what, struct err *e)
{
	char file[NAME_MAX + 1];
	if (imgpin_file(what, file, sizeof file) < 0)
		return err_set(e, ERR_UNSUPPORTED, "name too long for the store: %.300s", what);
	AUTO_CLOSE int dir = open_pins(s, e);
	if (dir < 0)
		return -1;
	AUTO_CLOSE int fd = openat(dir, file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "pin %.300s", what);
	return sync_pins(dir, e);
}

int imgpin_clear(const struct state *s, const char *what, struct err *e)
{
	char file[NAME_MAX + 1];
	if (imgpin_file(what, file, sizeof file) < 0)
		return 0;
	AUTO_CLOSE int dir = open_pins(s, e);
	if (dir < 0)
		return -1;
	if (unlinkat(dir, file, 0) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "unpin %.300s", what);
	return sync_pins(dir, e);
}

static void add(json_t *reasons, const char *source, const char *text)
{
	char line[REF_STR_SIZE + 32];
	snprintf(line, sizeof line, "%s: %.*s", source, REF_STR_SIZE, text);
	json_array_append_new(reasons, json_string(line));
}

json_t *imgpin_reasons(const json_t *patterns, const json_t *pins, json_t *names, const char *id)
{
	const char *name;
	json_t *target, *reasons = json_array();
	if (json_object_get(pins, id))
		add(reasons, "pin", id);
	json_object_foreach (names, name, target) {
		if (strcmp(json_string_value(target), id) != 0)
			continue;
		const char *pattern = image_name_pinned_by(patterns, name);
		if (pattern)
			add(reasons, "pinned_images", pattern);
		if (json_object_get(pins, name))
			add(reasons, "pin", name);
	}
	return reasons;
}
