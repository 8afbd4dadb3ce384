/* SPDX-License-Identifier: Apache-2.0 */
/* What a container had written, back into a new one: from a tar that is not trusted, by a child that
 * is confined to the root file system. */
#include "auto.h"
#include "ckpt.h"
#include "confine.h"
#include "fs.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { BLOCK = 1 << 16, DESCRIPTORS = 600, ENTRIES_MAX = 4000000 };

/* Relative and without "..": what stays of it, or NULL. "" is the root itself. */
static const char *plain(const char *path)
{
	if (!path)
		return NULL;
	for (const char *p = path; *p; p += strcspn(p, "/"), p += strspn(p, "/"))
		if (strncmp(p, "..", 2) == 0 && (!p[2] || p[2] == '/'))
			return NULL;
	while (*path == '/' || (path[0] == '.' && (path[1] == '/' || !path[1])))
		path++;
	return path;
}

static int parent_of(const char *path, bool make, const char **leaf, struct err *e)
{
	AUTO_FREE char *dir = xstrdup(path);
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		dir[--n] = '\0';
	char *slash = strrchr(dir, '/');
	*leaf = path + (slash ? slash + 1 - dir : 0);
	if (!slash)
		return fs_open_dir(AT_FDCWD, ".", e);
	*slash = '\0';
	int fd = openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make && fs_mkdirs(AT_FDCWD, dir, 0755, e) == 0)
		fd = openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "%s", dir) : fd;
}

static int remove_listed(const json_t *deleted, struct err *e)
{
	size_t i;
	json_t *v;
	json_array_foreach (deleted, i, v) {
		const char *leaf, *path = plain(json_string_value(v));
		if (!path || !*path)
			return err_set(e, ERR_BAD_INPUT, CKPT_DELETED ": '%.200s' is no path in it",
				       json_is_string(v) ? json_string_value(v) : "");
		AUTO_CLOSE int dir = parent_of(path, false, &leaf, e);
		if (dir < 0 && e->kind == ERR_NOT_FOUND)
			continue;
		AUTO_FREE char *name = xstrndup(leaf, strcspn(leaf, "/"));
		if (dir < 0 || (fs_remove_tree(dir, name, e) < 0 && e->kind != ERR_NOT_FOUND))
			return -1;
	}
	return 0;
}

static int put_data(struct archive *a, int fd, const char *path, off_t size, struct err *e)
{
	const void *data;
	size_t len;
	la_int64_t at;
	int rc;
	while ((rc = archive_read_data_block(a, &data, &len, &at)) == ARCHIVE_OK)
		if (pwrite(fd, data, len, at) != (ssize_t)len)
			return err_sys(e, "write %s", path);
	if (rc != ARCHIVE_EOF)
		return err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": %s: %s", path,
			       archive_error_string(a));
	return ftruncate(fd, size) < 0 ? err_sys(e, "write %s", path) : 0;
}

static void put_xattrs(struct archive_entry *en, int fd)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(en);
	/* Whoever reads the tar elsewhere may lack what one of them needs, too. */
	while (archive_entry_xattr_next(en, &name, &value, &size) == ARCHIVE_OK)
		if (strncmp(name, "trusted.", 8) != 0 && fsetxattr(fd, name, value, size, 0) < 0)
			errno = 0;
}

static int make_node(struct archive *a, struct archive_entry *en, int dir, const char *name,
		     const char *path, struct err *e)
{
	mode_t type = archive_entry_filetype(en);
	const char *to = plain(archive_entry_hardlink(en));
	const char *target = archive_entry_symlink(en);
	struct stat st;
	bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (there && !(S_ISDIR(st.st_mode) && type == AE_IFDIR) && fs_remove_tree(dir, name, e) < 0)
		return -1;
	int r;
	if (archive_entry_hardlink(en)) {
		if (!to || !*to)
			return err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": %s: bad link", path);
		return linkat(AT_FDCWD, to, dir, name, 0) < 0 ? err_sys(e, "link %s", path) : 1;
	}
	if (type == AE_IFDIR) {
		r = there && S_ISDIR(st.st_mode) ? 0 : mkdirat(dir, name, 0700);
	} else if (type == AE_IFLNK) {
		r = symlinkat(target ? target : "", dir, name);
	} else if (type == AE_IFREG) {
		AUTO_CLOSE int fd = openat(
			dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_sys(e, "create %s", path);
		return put_data(a, fd, path, archive_entry_size(en), e);
	} else if (type == AE_IFIFO || type == AE_IFCHR || type == AE_IFBLK) {
		r = mknodat(dir, name, type | 0600, archive_entry_rdev(en));
	} else {
		return err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": %s: unknown kind of file", path);
	}
	return r < 0 ? err_sys(e, "create %s", path) : 0;
}

static int put_entry(struct archive *a, struct archive_entry *en, struct err *e)
{
	const char *leaf, *path = plain(archive_entry_pathname(en));
	if (!path)
		return err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": a path leaves the root file system");
	if (!*path)
		return 0;
	AUTO_CLOSE int dir = parent_of(path, true, &leaf, e);
	if (dir < 0)
		return -1;
	AUTO_FREE char *name = xstrndup(leaf, strcspn(leaf, "/"));
	int r = make_node(a, en, dir, name, path, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	mode_t type = archive_entry_filetype(en);
	if (fchownat(dir, name, (uid_t)archive_entry_uid(en), (gid_t)archive_entry_gid(en),
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "chown %s", path);
	if (type != AE_IFLNK && fchmodat(dir, name, archive_entry_perm(en) & 07777, 0) < 0)
		return err_sys(e, "chmod %s", path);
	AUTO_CLOSE int fd = type == AE_IFREG || type == AE_IFDIR
				    ? openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
				    : -1;
	if (fd >= 0)
		put_xattrs(en, fd);
	struct timespec t[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = archive_entry_mtime(en), .tv_nsec = archive_entry_mtime_nsec(en)}};
	return utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? err_sys(e, "utimes %s", path) : 0;
}

static int unpack(int fd, struct err *e)
{
	struct archive_entry *en;
	struct archive *a = archive_read_new();
	int rc, r = 0;
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	if (archive_read_open_fd(a, fd, BLOCK) != ARCHIVE_OK)
		r = err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": %s", archive_error_string(a));
	for (long n = 0; r == 0; n++) {
		rc = archive_read_next_header(a, &en);
		if (rc == ARCHIVE_EOF)
			break;
		if (rc < ARCHIVE_WARN || n > ENTRIES_MAX)
			r = err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": %s",
				    rc < ARCHIVE_WARN ? archive_error_string(a)
						      : "too many entries");
		else
			r = put_entry(a, en, e);
	}
	archive_read_free(a);
	return r;
}

struct restoring {
	int root, fd;
	const json_t *deleted;
};

static int restore(void *arg, struct err *e)
{
	const struct restoring *r = arg;
	if (fchdir(r->root) < 0)
		return err_sys(e, "root file system");
	if (confine(CONFINE_FILES, DESCRIPTORS, e) < 0 || remove_listed(r->deleted, e) < 0)
		return -1;
	return r->fd < 0 ? 0 : unpack(r->fd, e);
}

int ckpt_untar(int root, int fd, const json_t *deleted, struct err *e)
{
	struct restoring r = {root, fd, deleted};
	return confine_child(restore, &r, CKPT_DIFF ": unpacking it failed", e);
}
