/* SPDX-License-Identifier: Apache-2.0 */
#include "imgstore.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { GUARD_MS = 10000, NOT_OURS = 2 };

static int guard(const struct state *s, struct err *e)
{
	return fs_lock_at(s->root, "tmp/.lock", GUARD_MS, e);
}

static void random_name(const char *kind, char out[96])
{
	unsigned long long rnd = 0;
	while (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		;
	snprintf(out, 96, "%.32s-%016llx", kind, rnd);
}

static int open_tmp(const struct state *s, const char *name, struct err *e)
{
	char path[110];
	snprintf(path, sizeof path, "tmp/%.96s", name);
	return fs_open_dir(s->root, path, e);
}

/* The guard is held. */
static int make_dir(const struct state *s, struct imgstore_tmp *t, struct err *e)
{
	char path[110];
	snprintf(path, sizeof path, "tmp/%.96s", t->name);
	if (mkdirat(s->root, path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir %s", path);
	t->dir = fs_open_dir(s->root, path, e);
	return t->dir < 0 ? -1 : 0;
}

int imgstore_tmp_new(const struct state *s, const char *kind, struct imgstore_tmp *t, struct err *e)
{
	*t = IMGSTORE_TMP_NONE;
	AUTO_CLOSE int g = guard(s, e);
	if (g < 0)
		return -1;
	random_name(kind, t->name);
	if (make_dir(s, t, e) < 0)
		return -1;
	t->lock = fs_lock_at(t->dir, "lock", 0, e);
	return t->lock < 0 ? -1 : 0;
}

static int try_lock(int dir, bool *held, struct err *e)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTO_CLOSE int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "open lock");
	*held = fcntl(fd, F_OFD_SETLK, &fl) == 0;
	if (!*held && errno != EAGAIN && errno != EACCES)
		return err_sys(e, "lock");
	return TAKE_FD(fd);
}

int imgstore_layer_claim(const struct state *s, const char *diff_hex, struct imgstore_tmp *t,
			 struct err *e)
{
	bool held = false;
	*t = IMGSTORE_TMP_NONE;
	AUTO_CLOSE int g = guard(s, e);
	if (g < 0)
		return -1;
	snprintf(t->name, sizeof t->name, "layer-%.64s", diff_hex);
	if (make_dir(s, t, e) < 0)
		return -1;
	t->lock = try_lock(t->dir, &held, e);
	if (t->lock < 0)
		return err_wrap(e, "tmp/%s", t->name);
	if (held && fs_remove_tree(t->dir, "new", e) < 0)
		return -1;
	return held;
}

/* Rename tmp/<name> to a name of the trash's, so that its old name is free at once. */
static int to_trash(const struct state *s, const char *name, char trash[96], struct err *e)
{
	AUTO_CLOSE int dir = fs_open_dir(s->root, "tmp", e);
	if (dir < 0)
		return -1;
	random_name("trash", trash);
	if (renameat(dir, name, dir, trash) < 0)
		return err_sys(e, "rename tmp/%s", name);
	return 0;
}

static int remove_trash(const struct state *s, const char *name, struct err *e)
{
	char path[110];
	snprintf(path, sizeof path, "tmp/%.96s", name);
	return fs_remove_tree(s->root, path, e);
}

int imgstore_tmp_drop(const struct state *s, struct imgstore_tmp *t, struct err *e)
{
	int rc = 0;
	char trash[96] = "";
	if (t->lock >= 0) {
		AUTO_CLOSE int g = guard(s, e);
		rc = g < 0 ? -1 : to_trash(s, t->name, trash, e);
	}
	if (rc == 0 && *trash)
		rc = remove_trash(s, trash, e);
	auto_close(&t->dir);
	auto_close(&t->lock);
	*t = IMGSTORE_TMP_NONE;
	return rc;
}

static void tell(const struct imgstore_report *r, const char *name, const char *why, bool removed)
{
	char what[110];
	snprintf(what, sizeof what, "tmp/%.96s", name);
	if (r && r->say)
		r->say(r->arg, what, why, removed);
}

/* 1 if nobody works in tmp/<name>, 0 if somebody does, NOT_OURS for what has no lock file and is of no
 * kind of ours: it is let alone. */
static int is_garbage(const struct state *s, const char *name, struct err *e)
{
	static const char *const kinds[] = {"pull-", "layer-", "trash-", "load-", "read-"};
	bool ours = false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		ours = ours || strncmp(name, kinds[i], strlen(kinds[i])) == 0;
	AUTO_CLOSE int dir = open_tmp(s, name, e);
	if (dir < 0)
		return e->kind == ERR_NOT_FOUND || e->errnum == ENOTDIR ? NOT_OURS : -1;
	if (!ours && faccessat(dir, "lock", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return NOT_OURS;
	int held = fs_is_locked_at(dir, "lock", e);
	return held < 0 ? -1 : !held;
}

/* Judge all entries, with the guard held; `doomed` gets the trash's names. */
static int judge(const struct state *s, const struct imgstore_report *r, json_t *doomed,
		 struct err *e)
{
	static const char *const why[] = {"a process works in it", "left by a process that is gone",
					  "it is none of ours"};
	const struct dirent *de;
	char trash[96];
	AUTO_CLOSE int g = guard(s, e);
	int fd = g < 0 ? -1 : fs_open_dir(s->root, "tmp", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.' || strlen(de->d_name) >= sizeof trash)
			continue;
		int garbage = is_garbage(s, de->d_name, e);
		if (garbage < 0)
			return -1;
		tell(r, de->d_name, why[garbage], garbage == 1);
		if (garbage != 1 || (r && r->dry_run))
			continue;
		if (strncmp(de->d_name, "trash-", 6) == 0)
			snprintf(trash, sizeof trash, "%.95s", de->d_name);
		else if (to_trash(s, de->d_name, trash, e) < 0)
			return -1;
		json_object_set_new(doomed, trash, json_true());
	}
	return 0;
}

int imgstore_clean_tmp(const struct state *s, const struct imgstore_report *r, struct err *e)
{
	const char *name;
	json_t *ignored;
	AUTO_JSON json_t *doomed = json_object();
	if (judge(s, r, doomed, e) < 0)
		return -1;
	json_object_foreach (doomed, name, ignored) {
		if (remove_trash(s, name, e) < 0)
			return -1;
	}
	return 0;
}
