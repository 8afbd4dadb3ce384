/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "auto.h"
#include "fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* LINKS_MAX: as many as the kernel follows. NOTE_COST: what a path takes beside itself, at least in
 * the report; more, as short ones take room in memory, too. */
enum { LINKS_MAX = 40, NOTE_COST = 8 };

int tree_open(struct tree *t, struct err *e)
{
	t->canon[0] = '\0';
	t->depth = 0;
	t->at[0].end = 0;
	t->at[0].fd = fs_open_dir(AT_FDCWD, ".", e);
	t->implied = json_object();
	t->opaque = json_object();
	t->links = json_object();
	t->hiding = json_object();
	return t->at[0].fd < 0 ? -1 : 0;
}

static void pop_to(struct tree *t, size_t depth)
{
	while (t->depth > depth)
		close(t->at[t->depth--].fd);
	t->canon[t->at[t->depth].end] = '\0';
}

void tree_close(struct tree *t)
{
	pop_to(t, 0);
	auto_close(&t->at[0].fd);
	json_decref(t->implied);
	json_decref(t->opaque);
	json_decref(t->links);
	json_decref(t->hiding);
}

static int too_long(const char *name, struct err *e)
{
	return err_set(e, ERR_BAD_INPUT, "entry '%.200s…': name too long or too deep", name);
}

int tree_clean(const char *name, char out[PATH_MAX], struct err *e)
{
	size_t n = 0;
	for (const char *p = name; *p;) {
		size_t len = strcspn(p, "/");
		if (len == 2 && memcmp(p, "..", 2) == 0) {
			while (n > 0 && out[--n] != '/')
				;
		} else if (len > 0 && !(len == 1 && *p == '.')) {
			if (len > NAME_MAX || n + len + 2 > PATH_MAX)
				return too_long(name, e);
			if (n > 0)
				out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len + (p[len] == '/');
	}
	out[n] = '\0';
	return 0;
}

/* canon and a name in it; false when too long. */
static bool join(const struct tree *t, const char *leaf, char out[PATH_MAX])
{
	size_t n = t->at[t->depth].end, len = strlen(leaf);
	if (n + len + 2 > PATH_MAX)
		return false;
	memcpy(out, t->canon, n);
	if (n > 0)
		out[n++] = '/';
	memcpy(out + n, leaf, len + 1);
	return true;
}

int tree_path(const struct tree *t, const char *leaf, char out[PATH_MAX], struct err *e)
{
	return join(t, leaf, out) ? 0 : too_long(leaf, e);
}

static int note(struct tree *t, json_t *set, const char *path, json_t *value, struct err *e)
{
	const char *text = json_string_value(value);
	const json_t *old = json_object_get(set, path);
	/* Said again, it takes no more room. */
	if (old && !text)
		return 0;
	if (old)
		t->noted -= strlen(path) + json_string_length(old) + 2 * NOTE_COST;
	t->noted += strlen(path) + NOTE_COST + (text ? strlen(text) + NOTE_COST : 0);
	if (t->noted > TREE_NOTED_MAX) {
		json_decref(value);
		return err_set(e, ERR_BAD_INPUT,
			       "%.300s: too many directories without an entry, opaque directories, "
			       "directories with whiteouts and links to lower layers",
			       path);
	}
	json_object_set_new_nocheck(set, path, value);
	return 0;
}

int tree_count(struct tree *t, struct err *e)
{
	t->inodes++;
	return t->max_inodes == 0 || t->inodes <= t->max_inodes
		       ? 0
		       : err_set(e, ERR_BAD_INPUT,
				 "more than %llu files and directories (unpack_max_entries)",
				 (unsigned long long)t->max_inodes);
}

int tree_note_link(struct tree *t, const char *leaf, const char *target, struct err *e)
{
	char path[PATH_MAX];
	if (!join(t, leaf, path))
		return too_long(leaf, e);
	return note(t, t->links, path, json_stringn_nocheck(target, strlen(target)), e);
}

void tree_explicit(struct tree *t, const char *leaf)
{
	char path[PATH_MAX];
	if (json_object_size(t->implied) > 0 && join(t, leaf, path) &&
	    json_object_del(t->implied, path) == 0)
		t->noted -= strlen(path) + NOTE_COST;
}

int tree_opaque(struct tree *t, const char *leaf, struct err *e)
{
	char path[PATH_MAX];
	if (!leaf)
		return note(t, t->opaque, t->canon, json_true(), e);
	return join(t, leaf, path) ? note(t, t->opaque, path, json_true(), e) : too_long(leaf, e);
}

int tree_hides(struct tree *t, struct err *e)
{
	/* Overlay looks for whiteouts in its root always. */
	return t->depth == 0 ? 0 : note(t, t->hiding, t->canon, json_true(), e);
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int enter(struct tree *t, const char *name, int fd, struct err *e)
{
	size_t n = t->at[t->depth].end, len = strlen(name);
	if (n + len + 2 > PATH_MAX || t->depth == TREE_DEPTH_MAX) {
		close(fd);
		return too_long(name, e);
	}
	if (n > 0)
		t->canon[n++] = '/';
	memcpy(t->canon + n, name, len + 1);
	t->at[++t->depth].fd = fd;
	t->at[t->depth].end = n + len;
	return 0;
}

static int make_parent(struct tree *t, const char *name, struct err *e)
{
	char path[PATH_MAX];
	if (!join(t, name, path))
		return too_long(name, e);
	if (mkdirat(t->at[t->depth].fd, name, 0755) < 0)
		return err_sys(e, "mkdir %.300s", path);
	t->usage += TREE_DIR_USAGE;
	return note(t, t->implied, path, json_true(), e) < 0 ? -1 : tree_count(t, e);
}

/* The link's text goes before what is still to do. */
static int follow(struct tree *t, const char *name, char todo[PATH_MAX], const char *rest,
		  struct err *e)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(t->at[t->depth].fd, name, text, sizeof text);
	size_t len = strlen(rest);
	if (n < 0)
		return err_sys(e, "readlink %.300s", name);
	if ((size_t)n + 1 + len + 1 > PATH_MAX)
		return too_long(name, e);
	if (text[0] == '/')
		pop_to(t, 0);
	memmove(todo + n + 1, rest, len + 1);
	memcpy(todo, text, (size_t)n);
	todo[n] = '/';
	return 0;
}

/* name in the current directory is no directory: follow it (1), replace it (0), or give up. */
static int unblock(struct tree *t, const char *name, char todo[PATH_MAX], const char *rest,
		   struct err *e)
{
	struct stat st;
	int fd = t->at[t->depth].fd;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat %.300s", name);
	if (S_ISLNK(st.st_mode))
		return follow(t, name, todo, rest, e) < 0 ? -1 : 1;
	if (!is_whiteout(&st))
		return err_set(e, ERR_BAD_INPUT, "'%.300s' in '%.300s' is not a directory", name,
			       t->canon);
	/* The layer removes what was there and puts a directory of its own in its place. */
	if (unlinkat(fd, name, 0) < 0 || mkdirat(fd, name, 0755) < 0)
		return err_sys(e, "replace %.300s", name);
	t->usage += TREE_DIR_USAGE;
	return tree_opaque(t, name, e);
}

/* One component down. todo holds all that is to do, rest what comes after this component. Returns 1
 * if todo was written anew (a link). */
static int step(struct tree *t, const char *name, char todo[PATH_MAX], const char *rest,
		struct err *e)
{
	for (int tries = 0;; tries++) {
		int fd = openat(t->at[t->depth].fd, name,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			return enter(t, name, fd, e);
		if (tries > 1 || (errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
			return err_sys(e, "open %.300s", name);
		int rc =
			errno == ENOENT ? make_parent(t, name, e) : unblock(t, name, todo, rest, e);
		if (rc)
			return rc;
	}
}

/* How much of `dir` is where we are already. */
static const char *keep_common(struct tree *t, const char *dir)
{
	size_t depth = 0;
	while (depth < t->depth) {
		size_t end = t->at[depth + 1].end;
		if (strncmp(t->canon, dir, end) != 0 || (dir[end] != '/' && dir[end] != '\0'))
			break;
		depth++;
	}
	pop_to(t, depth);
	size_t done = t->at[depth].end;
	return dir + done + (done > 0 && dir[done] == '/');
}

static int change_dir(struct tree *t, const char *dir, struct err *e)
{
	char todo[PATH_MAX], name[NAME_MAX + 1];
	const char *p = todo;
	int links = 0;
	if (t->asked_valid && strcmp(t->asked, dir) == 0)
		return 0;
	t->asked_valid = false;
	const char *left = keep_common(t, dir);
	memcpy(todo, left, strlen(left) + 1);
	while (*p) {
		size_t len = strcspn(p, "/");
		const char *rest = p + len + (p[len] == '/');
		if (len > NAME_MAX)
			return too_long(p, e);
		memcpy(name, p, len);
		name[len] = '\0';
		p = rest;
		if (len == 0 || strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			pop_to(t, t->depth > 0 ? t->depth - 1 : 0);
			continue;
		}
		int rc = step(t, name, todo, rest, e);
		if (rc < 0)
			return -1;
		if (rc == 1 && ++links > LINKS_MAX)
			return err_set(e, ERR_BAD_INPUT, "'%.300s': too many symbolic links", dir);
		if (rc == 1)
			p = todo;
	}
	memcpy(t->asked, dir, strlen(dir) + 1);
	t->asked_valid = true;
	return 0;
}

int tree_parent(struct tree *t, const char *path, const char **leaf, struct err *e)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	memcpy(dir, path, len);
	dir[len] = '\0';
	*leaf = slash ? slash + 1 : path;
	if (change_dir(t, dir, e) < 0)
		return -1;
	return t->at[t->depth].fd;
}

static int remove_one(struct tree *t, int dirfd, const char *leaf, const struct stat *st,
		      struct err *e)
{
	/* It may have been on the way to where we are. */
	t->asked_valid = t->asked_valid && !S_ISLNK(st->st_mode) && !S_ISDIR(st->st_mode);
	if (S_ISREG(st->st_mode) && t->removing && t->removing(t->arg, dirfd, leaf, st, e) < 0)
		return -1;
	if (unlinkat(dirfd, leaf, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0) < 0)
		return err_sys(e, "remove %.300s", leaf);
	if (S_ISDIR(st->st_mode) || st->st_nlink == 1) {
		t->inodes -= t->inodes > 0;
		uint64_t size = S_ISREG(st->st_mode)   ? (uint64_t)st->st_blocks * 512
				: S_ISDIR(st->st_mode) ? TREE_DIR_USAGE
						       : 0;
		t->usage -= t->usage < size ? t->usage : size;
	}
	return 0;
}

/* Call fn for all that is in the directory. Nobody else changes it: we are alone in our root. */
static int each_in(struct tree *t, int parent, const char *leaf, int depth,
		   int (*fn)(struct tree *t, int dir, const char *leaf, const struct stat *st,
			     int depth, struct err *e),
		   struct err *e)
{
	int rc = 0;
	AUTO_CLOSE int fd = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %.300s", leaf);
	DIR *d = depth > TREE_DEPTH_MAX ? NULL : fdopendir(fd);
	if (!d)
		return depth > TREE_DEPTH_MAX ? too_long(leaf, e) : err_sys(e, "read %.300s", leaf);
	(void)TAKE_FD(fd);
	for (struct dirent *de; rc == 0 && (de = readdir(d));) {
		struct stat st;
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			rc = err_sys(e, "stat %.300s", de->d_name);
		else
			rc = fn(t, dirfd(d), de->d_name, &st, depth, e);
	}
	closedir(d);
	return rc;
}

static int remove_all(struct tree *t, int dir, const char *leaf, const struct stat *st, int depth,
		      struct err *e)
{
	if (S_ISDIR(st->st_mode) && each_in(t, dir, leaf, depth + 1, remove_all, e) < 0)
		return -1;
	return remove_one(t, dir, leaf, st, e);
}

int tree_make_room(struct tree *t, int dirfd, const char *leaf, bool for_dir, struct err *e)
{
	struct stat st;
	if (fstatat(dirfd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "stat %.300s", leaf);
	if (S_ISDIR(st.st_mode)) {
		if (for_dir)
			return 1;
		t->replaced = true;
		return remove_all(t, dirfd, leaf, &st, 0, e);
	}
	if (remove_one(t, dirfd, leaf, &st, e) < 0)
		return -1;
	/* Whatever it was, it hid a directory below. */
	return for_dir ? tree_opaque(t, leaf, e) : 0;
}

int tree_whiteout(struct tree *t, int dirfd, const char *leaf, struct err *e)
{
	struct stat st;
	if (mknodat(dirfd, leaf, S_IFCHR, makedev(0, 0)) == 0)
		return tree_count(t, e) < 0 ? -1 : tree_hides(t, e);
	if (errno != EEXIST || fstatat(dirfd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "whiteout %.300s", leaf);
	/* A whiteout hides only what is below its layer; an entry of the layer itself does that on
	 * its own, unless it is a directory, which would be merged. */
	if (!S_ISDIR(st.st_mode))
		return 0;
	tree_explicit(t, leaf);
	return tree_opaque(t, leaf, e);
}
