/* SPDX-License-Identifier: Apache-2.0 */
#include "fixup.h"

#include "auto.h"
#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define OPAQUE "trusted.overlay.opaque"
#define ORIGIN "trusted.overlay.origin"
/* PIECE: what is copied between two looks for a signal that ends us. */
enum { LIST_MAX = 65536, VALUE_MAX = 65536, PIECE = 64 << 20 };

static bool is_gone(const struct err *e)
{
	return e->errnum == ENOENT || e->errnum == ENOTDIR || e->errnum == ELOOP;
}

static int open_dir(int root, const char *path, struct err *e)
{
	return fs_open_beneath(root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0, e);
}

static int mark(int diff, const char *path, const char *name, const char *value, struct err *e)
{
	AUTO_CLOSE int fd = open_dir(diff, path, e);
	/* Another entry of the layer may have taken its place. */
	if (fd < 0)
		return is_gone(e) ? 0 : -1;
	return fsetxattr(fd, name, value, strlen(value), 0) < 0 ? err_sys(e, "set %s", name) : 0;
}

int fixup_opaque(int diff, const char *path, struct err *e)
{
	return mark(diff, path, OPAQUE, "y", e);
}

int fixup_hiding(int diff, const char *path, struct err *e)
{
	return mark(diff, path, ORIGIN, "", e);
}

static bool is_opaque(int fd)
{
	char v;
	return fgetxattr(fd, OPAQUE, &v, 1) == 1 && v == 'y';
}

/* The directory `path` in one layer: a descriptor, or -1. *end: layers further down do not show
 * through. */
static int look(int root, const char *path, bool *end)
{
	char name[NAME_MAX + 1];
	struct stat st;
	AUTO_CLOSE int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (const char *p = path; fd >= 0 && *p;) {
		size_t len = strcspn(p, "/");
		if (len > NAME_MAX)
			return -1;
		memcpy(name, p, len);
		name[len] = '\0';
		p += len + (p[len] == '/');
		/* What an opaque directory hides is what is in it, not itself. */
		*end = *end || is_opaque(fd);
		int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0) {
			/* A file, a link or a whiteout hides the directory of that name below. */
			*end = *end || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
			return -1;
		}
		close(fd);
		fd = next;
	}
	return TAKE_FD(fd);
}

static int copy_xattrs(int from, int to, struct err *e)
{
	static char names[LIST_MAX], value[VALUE_MAX];
	ssize_t n = flistxattr(from, names, sizeof names);
	for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
		if (strncmp(p, "trusted.", 8) == 0)
			continue;
		ssize_t len = fgetxattr(from, p, value, sizeof value);
		if (len >= 0 && fsetxattr(to, p, value, (size_t)len, 0) < 0 && errno != ENOTSUP)
			return err_sys(e, "set %s", p);
	}
	return 0;
}

int fixup_meta(int from, int to, struct err *e)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return err_sys(e, "stat");
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return err_sys(e, "set owner and mode");
	if (copy_xattrs(from, to, e) < 0)
		return -1;
	return futimens(to, times) < 0 ? err_sys(e, "set time") : 0;
}

static bool has_xattrs(int fd)
{
	static char names[LIST_MAX];
	ssize_t n = flistxattr(fd, names, sizeof names);
	for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
		/* Neither overlay's marks nor a security module's labels are a layer's. */
		if (strncmp(p, "trusted.", 8) != 0 && strcmp(p, "security.selinux") != 0)
			return true;
	return false;
}

bool fixup_same_meta(int a, int b)
{
	struct stat x, y;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_mode == y.st_mode &&
	       x.st_uid == y.st_uid && x.st_gid == y.st_gid && !has_xattrs(a) && !has_xattrs(b);
}

int fixup_implied(int diff, const char *path, const int *lower, int count, struct err *e)
{
	bool end = false;
	AUTO_CLOSE int to = look(diff, path, &end);
	if (to < 0)
		return 0;
	for (int i = 0; i < count && !end; i++) {
		AUTO_CLOSE int from = look(lower[i], path, &end);
		if (from >= 0)
			return fixup_meta(from, to, e) < 0 ? err_wrap(e, "%.300s", path) : 0;
	}
	return 0;
}

/* The file `path` in the layers below, or -1. */
static int find_below(int diff, const char *path, const int *lower, int count)
{
	const char *slash = strrchr(path, '/'), *leaf = slash ? slash + 1 : path;
	char dir[PATH_MAX];
	bool end = false;
	snprintf(dir, sizeof dir, "%.*s", (int)(slash ? slash - path : 0), path);
	/* An opaque directory of the layer itself hides them. */
	AUTO_CLOSE int own = look(diff, dir, &end);
	end = end || own < 0 || is_opaque(own);
	for (int i = 0; i < count && !end; i++) {
		struct stat st;
		AUTO_CLOSE int in = look(lower[i], dir, &end);
		if (in < 0)
			continue;
		if (fstatat(in, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return S_ISREG(st.st_mode)
				       ? openat(in, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
				       : -1;
		end = end || is_opaque(in);
	}
	return -1;
}

static int copy_range(int from, int to, off_t at, off_t end, struct err *e)
{
	ssize_t n = 1;
	for (off_t in = at, out = at; n > 0 && at < end; at += n) {
		size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
		n = copy_file_range(from, &in, to, &out, len, 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
			n = lseek(to, at, SEEK_SET) < 0 ? -1 : sendfile(to, from, &in, len);
	}
	return n < 0 ? err_sys(e, "copy") : 0;
}

/* Shared where the file system can do that; else with its holes. */
static int copy_content(int from, int to, struct err *e)
{
	struct stat st;
	off_t at = 0;
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0)
		return err_sys(e, "copy");
	while (at < st.st_size && (at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || copy_range(from, to, at, end, e) < 0)
			return end < 0 ? err_sys(e, "copy") : -1;
		at = end;
	}
	if (at < 0 && errno != ENXIO)
		return err_sys(e, "copy");
	return ftruncate(to, st.st_size) < 0 ? err_sys(e, "copy") : 0;
}

int fixup_link(int diff, const char *path, const char *target, const int *lower, int count,
	       unsigned long long *usage, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int to = fs_open_beneath(diff, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0, e);
	if (to < 0 || fstat(to, &st) < 0)
		return 0;
	if (!S_ISREG(st.st_mode) || st.st_size > 0 || (st.st_mode & 07777) != 0)
		return 0;
	AUTO_CLOSE int from = find_below(diff, target, lower, count);
	if (from < 0)
		return err_set(
			e, ERR_BAD_INPUT,
			"%.300s: hard link to '%.300s', which is no file in the layer or below "
			"it",
			path, target);
	if (copy_content(from, to, e) < 0 || fixup_meta(from, to, e) < 0)
		return err_wrap(e, "%.300s", path);
	if (fstat(to, &st) == 0)
		*usage += (unsigned long long)st.st_blocks * 512;
	return 0;
}
