/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ckpt.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum { DEPTH_MAX = 512, BLOCK = 1 << 16, XATTR_MAX = 1 << 16 };

struct writer {
	struct archive *a;
	json_t *deleted; /* NULL: every file is what it is */
	json_t *links;   /* "dev:ino" of a file with several names -> the first */
};

static int failed(struct archive *a, const char *path, struct err *e)
{
	const char *why = archive_error_string(a);
	return err_set(e, archive_errno(a) == ENOSPC ? ERR_EXHAUSTED : ERR_FAILED,
		       "write archive: %s: %s", path, why ? why : "failed");
}

static void add_xattrs(struct archive_entry *en, int fd, bool overlay)
{
	char names[XATTR_MAX], value[XATTR_MAX];
	ssize_t n = flistxattr(fd, names, sizeof names);
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1) {
		if (overlay && strncmp(names + i, "trusted.overlay.", 16) == 0)
			continue;
		ssize_t len = fgetxattr(fd, names + i, value, sizeof value);
		if (len >= 0)
			archive_entry_xattr_add_entry(en, names + i, value, (size_t)len);
	}
}

static int put_data(struct writer *w, int fd, const char *path, off_t size, struct err *e)
{
	char block[BLOCK];
	while (size > 0) {
		ssize_t n = read(fd, block, size < BLOCK ? (size_t)size : BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read %s", path);
		/* It shrank: the size is promised already. */
		if (n == 0)
			memset(block, 0, (size_t)(n = size < BLOCK ? size : BLOCK));
		if (archive_write_data(w->a, block, (size_t)n) != n)
			return failed(w->a, path, e);
		size -= n;
	}
	return 0;
}

/* Has this inode been written under another name? Then that; else NULL, and it is remembered. */
static const char *first_name(struct writer *w, const struct stat *st, const char *path)
{
	char key[48];
	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return NULL;
	snprintf(key, sizeof key, "%llu:%llu", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino);
	const char *first = json_string_value(json_object_get(w->links, key));
	if (!first)
		json_object_set_new(w->links, key, json_string(path));
	return first;
}

static int put_entry(struct writer *w, int dir, const char *name, const char *path,
		     const struct stat *st, struct err *e)
{
	char target[4097];
	AUTO_CLOSE int fd = -1;
	struct archive_entry *en = archive_entry_new();
	const char *first = first_name(w, st, path);
	bool data = S_ISREG(st->st_mode) && !first;
	archive_entry_copy_stat(en, st);
	archive_entry_set_pathname(en, path);
	if (first) {
		archive_entry_set_hardlink(en, first);
		archive_entry_unset_size(en);
	} else if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		archive_entry_set_symlink(en, target);
	} else if (data || S_ISDIR(st->st_mode)) {
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			add_xattrs(en, fd, w->deleted != NULL);
	}
	int r = 0;
	if (data && fd < 0)
		r = err_sys(e, "open %s", path);
	else if (archive_write_header(w->a, en) < ARCHIVE_WARN)
		r = failed(w->a, path, e);
	else if (data)
		r = put_data(w, fd, path, st->st_size, e);
	archive_entry_free(en);
	return r;
}

static bool is_opaque(int dir)
{
	char v[2];
	return fgetxattr(dir, "trusted.overlay.opaque", v, sizeof v) == 1 && v[0] == 'y';
}

static int put_dir(struct writer *w, int dir, const char *at, int depth, struct err *e);

static int put_any(struct writer *w, int dir, const char *name, const char *path, int depth,
		   struct err *e)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s", path);
	if (w->deleted && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
		json_array_append_new(w->deleted, json_string(path));
		return 0;
	}
	/* A tar has no sockets, and one without its process is of no use. */
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return put_entry(w, dir, name, path, &st, e);
	AUTO_CLOSE int sub = fs_open_dir(dir, name, e);
	if (sub < 0)
		return -1;
	if (w->deleted && is_opaque(sub))
		json_array_append_new(w->deleted, json_string(path));
	return put_entry(w, dir, name, path, &st, e) < 0 ? -1 : put_dir(w, sub, path, depth + 1, e);
}

static int put_dir(struct writer *w, int dir, const char *at, int depth, struct err *e)
{
	int r = 0;
	if (depth > DEPTH_MAX)
		return err_set(e, ERR_EXHAUSTED, "%s: more than %d directories deep", at,
			       DEPTH_MAX);
	int fd = fs_open_dir(dir, ".", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	if (!d)
		return -1;
	while (r == 0 && (de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		AUTO_FREE char *path = xasprintf("%s%s%s", at, *at ? "/" : "", de->d_name);
		r = put_any(w, dir, de->d_name, path, depth, e);
	}
	return r;
}

int ckpt_tar(int src, int fd, json_t *deleted, struct err *e)
{
	AUTO_JSON json_t *links = json_object();
	struct writer w = {.a = archive_write_new(), .deleted = deleted, .links = links};
	archive_write_set_format_pax_restricted(w.a);
	archive_write_add_filter_none(w.a);
	int r = archive_write_open_fd(w.a, fd) == ARCHIVE_OK ? 0 : failed(w.a, "open", e);
	if (r == 0)
		r = put_dir(&w, src, "", 0, e);
	if (archive_write_close(w.a) != ARCHIVE_OK && r == 0)
		r = failed(w.a, "end", e);
	archive_write_free(w.a);
	return r;
}
