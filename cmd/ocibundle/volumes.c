/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that a container gets beside its root file system: the volumes that its image
 * declares, and read-only mounts of other images. */
#include "bundle.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "overlay.h"
#include "owners.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { DEPTH_MAX = 512, ATTR_LIST_BYTES = 64 << 10, ATTR_BYTES = 64 << 10 };

static int copy_xattrs(int from, int to, const char *what, struct err *e)
{
	AUTO_FREE char *names = xmalloc(ATTR_LIST_BYTES);
	AUTO_FREE char *value = xmalloc(ATTR_BYTES);
	ssize_t n = flistxattr(from, names, ATTR_LIST_BYTES);
	if (n < 0)
		return errno == ENOTSUP ? 0 : err_sys(e, "attributes of %s", what);
	for (const char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t len = fgetxattr(from, name, value, ATTR_BYTES);
		if (len < 0 && errno == ENODATA)
			continue;
		if (len < 0 || (fsetxattr(to, name, value, (size_t)len, 0) < 0 && errno != ENOTSUP))
			return err_sys(e, "attribute %s of %s", name, what);
	}
	return 0;
}

/* Owner first: changing it takes set-user-id bits and file capabilities away. */
static int copy_meta(int from, int to, const struct stat *st, const char *what, struct err *e)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return err_sys(e, "owner and mode of %s", what);
	if (copy_xattrs(from, to, what, e) < 0)
		return -1;
	return futimens(to, times) < 0 ? err_sys(e, "times of %s", what) : 0;
}

static int copy_bytes(int from, int to, const char *what, struct err *e)
{
	char block[64 << 10];
	ssize_t n;
	do
		n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
	while (n > 0);
	if (n == 0)
		return 0;
	/* Not between these file systems; whatever it copied has moved both offsets. */
	while ((n = read(from, block, sizeof block)) > 0)
		if (fs_write_all(to, block, (size_t)n, e) < 0)
			return err_wrap(e, "%s", what);
	return n < 0 ? err_sys(e, "read %s", what) : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_sys(e, "open %s", name);
	AUTO_CLOSE int to =
		openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, "create %s", name);
	if (copy_bytes(from, to, name, e) < 0)
		return -1;
	return copy_meta(from, to, &st, name, e);
}

/* A link, fifo, socket or device. */
static int copy_special(int from_dir, int to_dir, const char *name, const struct stat *st,
			struct err *e)
{
	char target[PATH_MAX];
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
		if (n < 0)
			return err_sys(e, "read link %s", name);
		target[n] = '\0';
		if (symlinkat(target, to_dir, name) < 0)
			return err_sys(e, "link %s", name);
	} else if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0) {
		return err_sys(e, "make %s", name);
	}
	if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "owner of %s", name);
	if (!S_ISLNK(st->st_mode) && fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
		return err_sys(e, "mode of %s", name);
	return 0;
}

static int copy_dir(int from, int to, int depth, struct err *e);

static int copy_entry(int from, int to, const char *name, int depth, struct err *e)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat %s", name);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, e);
	if (!S_ISDIR(st.st_mode))
		return copy_special(from, to, name, &st, e);
	if (depth >= DEPTH_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: directories nested too deep", name);
	if (mkdirat(to, name, 0700) < 0)
		return err_sys(e, "mkdir %s", name);
	AUTO_CLOSE int sub_from = fs_open_dir(from, name, e);
	AUTO_CLOSE int sub_to = sub_from < 0 ? -1 : fs_open_dir(to, name, e);
	return sub_to < 0 ? -1 : copy_dir(sub_from, sub_to, depth + 1, e);
}

/* What is in `from` into `to`, then its own owner, mode and attributes. Hard links between files
 * become copies. */
static int copy_dir(int from, int to, int depth, struct err *e)
{
	struct stat st;
	const struct dirent *de;
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d || fstat(from, &st) < 0) {
		err_sys(e, "read directory");
		if (!d && fd >= 0)
			close(fd);
		return -1;
	}
	while ((errno = 0, de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    copy_entry(from, to, de->d_name, depth, e) < 0)
			return -1;
	if (errno)
		return err_sys(e, "read directory");
	return copy_meta(from, to, &st, "directory", e);
}

static int give_to_root(const struct bundle *b, const char *dir, struct err *e)
{
	uint32_t uid = 0, gid = 0;
	owners_outside(b, &uid, &gid);
	return chown(dir, uid, gid) < 0 ? err_sys(e, "chown %s", dir) : 0;
}

char *volume_make(struct bundle *b, unsigned number, const char *path, struct err *e)
{
	AUTO_FREE char *dir = xasprintf("%s/volumes/%u", b->dir, number);
	if (b->dry_run)
		return TAKE(dir);
	if (fs_mkdirs(AT_FDCWD, dir, 0755, e) < 0)
		return NULL;
	AUTO_CLOSE int from =
		fs_open_in_root(b->rootfs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, e);
	if (from < 0)
		return e->errnum == ENOENT && give_to_root(b, dir, e) == 0 ? TAKE(dir) : NULL;
	AUTO_CLOSE int to = fs_open_dir(AT_FDCWD, dir, e);
	return to < 0 || copy_dir(from, to, 0, e) < 0 ? NULL : TAKE(dir);
}

static int failed(struct err *e, unsigned number)
{
	e->kind = ERR_IMAGE_VOLUME;
	return err_wrap(e, "mounts[%u].image", number);
}

/* The path of a directory in the mounted image; links in the image cannot leave it. */
static char *sub_path(int mount, const char *base, const char *sub, struct err *e)
{
	char link[32], path[PATH_MAX];
	if (!*sub)
		return xstrdup(base);
	if (sub[0] == '/' || !path_is_plain(sub))
		return err_set_p(e, ERR_BAD_INPUT,
				 "image_sub_path: '%.200s' must be relative, without \"..\"", sub);
	AUTO_CLOSE int fd = fs_open_in_root(mount, sub, O_PATH, 0, e);
	if (fd < 0)
		return err_wrap(e, "image_sub_path"), NULL;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return err_sys(e, "image_sub_path: %s", sub), NULL;
	path[n] = '\0';
	return xstrdup(path);
}

/* The layers stay in the store while the container's record lists the image (mount_images). */
char *image_mount_make(struct bundle *b, unsigned number, const Runtime__V1__Mount *m,
		       struct err *e)
{
	const char *id = json_string_value(json_array_get(b->mount_images, number));
	AUTO_IMAGE struct image img = {0};
	AUTO_FREE char *top = xasprintf("%s/images", b->run);
	AUTO_FREE char *dir = xasprintf("%s/%u", top, number);
	if (image_open(b->st, id ? id : "", false, &img, e) < 0)
		return failed(e, number), NULL;
	AUTO_JSON json_t *lower = image_lowerdirs(b->st, &img, e);
	if (!lower)
		return failed(e, number), NULL;
	if (!b->dry_run &&
	    (fs_mkdirs(AT_FDCWD, dir, 0755, e) < 0 || owners_let_through(b, AT_FDCWD, top, e) < 0))
		return failed(e, number), NULL;
	AUTO_CLOSE int mount = owners_overlay(b, lower, NULL, NULL, b->dry_run ? NULL : dir, e);
	char *path = mount < 0 ? NULL : sub_path(mount, dir, m->image_sub_path, e);
	if (!path)
		failed(e, number);
	return path;
}
