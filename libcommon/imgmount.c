/* SPDX-License-Identifier: Apache-2.0 */
#include "imgmount.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"
#include "overlay.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { RECORD_MAX = 64 << 10, KEY_FILE_LEN = DIGEST_HEX_LEN + 5 };

struct walk {
	const struct state *s;
	int dir;
	json_t *points; /* what is mounted here, read when first asked for */
};

void imgmount_key(const char *dir, char key[DIGEST_HEX_LEN + 1])
{
	AUTO_DIGEST struct digest d;
	digest_init(&d);
	digest_update(&d, dir, strlen(dir));
	digest_hex(&d, key);
}

static json_int_t our_namespace(void)
{
	struct stat st;
	return stat("/proc/self/ns/mnt", &st) == 0 ? (json_int_t)st.st_ino : 0;
}

/* Does a process in that mount namespace see a mount at `dir`? The namespace's number alone may be
 * another's by now. When we cannot tell, it may. */
static bool seen_elsewhere(json_int_t ns, const char *dir)
{
	const struct dirent *de;
	char path[NAME_MAX + 32];
	struct stat st;
	struct err why;
	AUTO_CLOSEDIR DIR *d = opendir("/proc");
	if (!d)
		return true;
	while ((de = readdir(d))) {
		if (de->d_name[0] < '1' || de->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/ns/mnt", de->d_name);
		if (stat(path, &st) < 0 || (json_int_t)st.st_ino != ns)
			continue;
		AUTO_JSON json_t *points = mount_points(de->d_name, &why);
		/* NULL: it has ended meanwhile; another one may be there. */
		if (points)
			return json_object_get(points, dir) != NULL;
	}
	return false;
}

static bool is_mounted(struct walk *w, const char *dir)
{
	struct err why;
	if (!w->points)
		w->points = mount_points("self", &why);
	/* When we cannot tell, it may be. */
	return !w->points || json_object_get(w->points, dir);
}

static void judge(struct walk *w, struct imgmount *m, json_t *j)
{
	json_int_t ns = jsonx_opt_int(j, "namespace", 0);
	if (strcmp(jsonx_opt_string(j, "boot_id", ""), state_boot_id()) != 0)
		return;
	if (ns != our_namespace()) {
		m->live = seen_elsewhere(ns, m->dir);
		return;
	}
	m->live = m->here = is_mounted(w, m->dir);
}

static void load(struct walk *w, const char *file, struct imgmount *m)
{
	struct err why;
	*m = (struct imgmount){.live = true};
	snprintf(m->key, sizeof m->key, "%.64s", file);
	AUTO_JSON json_t *j = jsonx_read_at(w->dir, file, RECORD_MAX, &why);
	if (!j) {
		m->live = why.kind != ERR_NOT_FOUND;
		return;
	}
	const char *image = jsonx_opt_string(j, "image", "");
	if (strncmp(image, "sha256:", 7) != 0 || !digest_is_hex(image + 7))
		return;
	snprintf(m->image, sizeof m->image, "%s", image);
	snprintf(m->dir, sizeof m->dir, "%s", jsonx_opt_string(j, "dir", ""));
	m->own_dir = jsonx_opt_bool(j, "own_dir", false);
	m->live = false;
	judge(w, m, j);
}

int imgmount_each(const struct state *s,
		  int (*fn)(void *arg, const struct imgmount *m, struct err *e), void *arg,
		  struct err *e)
{
	struct walk w = {.s = s};
	struct imgmount m;
	const struct dirent *de;
	int rc = 0, fd = fs_open_dir(s->run, "mounts", e);
	if (fd < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(e, "read mounts");
	}
	w.dir = fd;
	while (rc == 0 && (de = readdir(d))) {
		if (strlen(de->d_name) != KEY_FILE_LEN ||
		    strcmp(de->d_name + DIGEST_HEX_LEN, ".json") != 0)
			continue;
		load(&w, de->d_name, &m);
		rc = fn(arg, &m, e);
	}
	json_decref(w.points);
	return rc;
}

void imgmount_sweep(const struct state *s)
{
	struct err ignored;
	const struct dirent *de;
	int fd = fs_open_dir(s->run, "mounts", &ignored);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (de = readdir(d)))
		if (de->d_name[0] == '.' && strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			(void)unlinkat(fd, de->d_name, 0);
}

static int open_mounts(const struct state *s, struct err *e)
{
	if (mkdirat(s->run, "mounts", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir mounts");
	return fs_open_dir(s->run, "mounts", e);
}

int imgmount_record(const struct state *s, const struct imgmount *m, struct err *e)
{
	char file[KEY_FILE_LEN + 1];
	AUTO_CLOSE int dir = open_mounts(s, e);
	if (dir < 0)
		return -1;
	AUTO_JSON json_t *j = json_pack("{s:i, s:s, s:s, s:s, s:I, s:b}", "version", 1, "image",
					m->image, "dir", m->dir, "boot_id", state_boot_id(),
					"namespace", our_namespace(), "own_dir", (int)m->own_dir);
	if (!j)
		return err_set(e, ERR_BAD_INPUT, "%.200s: not UTF-8", m->dir);
	snprintf(file, sizeof file, "%.64s.json", m->key);
	return jsonx_replace_at(dir, file, 0600, j, 0, e);
}

int imgmount_forget(const struct state *s, const struct imgmount *m, struct err *e)
{
	char file[KEY_FILE_LEN + 1];
	AUTO_CLOSE int dir = open_mounts(s, e);
	if (dir < 0)
		return -1;
	if (m->own_dir && unlinkat(dir, m->image + 7, AT_REMOVEDIR) < 0 && errno != ENOENT &&
	    errno != EBUSY && errno != ENOTEMPTY)
		return err_sys(e, "remove %.300s", m->dir);
	snprintf(file, sizeof file, "%.64s.json", m->key);
	if (unlinkat(dir, file, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove mounts/%s", file);
	return 0;
}
