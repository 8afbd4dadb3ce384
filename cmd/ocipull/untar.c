/* SPDX-License-Identifier: Apache-2.0 */
#include "untar.h"

#include "auto.h"
#include "fs.h"
#include "layerattr.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* What the directories' times, which are set last, may take of our memory. */
enum { DIR_BYTES_MAX = 64 << 20 };

struct entry {
	const char *path, *leaf; /* path: cleaned */
	int dir;
	mode_t perm;
	uid_t uid;
	gid_t gid;
	struct timespec times[2];
	struct archive_entry *ae;
};

static int sys_entry(const struct entry *en, const char *verb, struct err *e)
{
	return err_sys(e, "%s %.300s", verb, en->path);
}

static int set_xattrs(const struct entry *en, int fd, struct err *e)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(en->ae);
	while (archive_entry_xattr_next(en->ae, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !layer_xattr_allowed(name))
			continue;
		if (fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP)
			return err_sys(e, "set %.100s of %.300s", name, en->path);
	}
	return 0;
}

/* Owner, then mode (a change of owner clears set-id bits), then attributes (it clears capabilities
 * too). fresh: just made by us with the plain permission bits. */
static int set_meta(const struct untar *u, const struct entry *en, int fd, bool fresh,
		    struct err *e)
{
	if (u->layer && (!fresh || en->uid || en->gid) && fchown(fd, en->uid, en->gid) < 0)
		return sys_entry(en, "chown", e);
	if ((!fresh || en->perm & 07000) && fchmod(fd, en->perm) < 0)
		return sys_entry(en, "chmod", e);
	if (u->layer && archive_entry_xattr_count(en->ae) > 0)
		return set_xattrs(en, fd, e);
	return 0;
}

/* The same for what cannot be opened: links, devices, pipes. */
static int set_node_meta(const struct untar *u, const struct entry *en, struct err *e)
{
	if (u->layer && (en->uid || en->gid) &&
	    fchownat(en->dir, en->leaf, en->uid, en->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return sys_entry(en, "chown", e);
	if (archive_entry_filetype(en->ae) != AE_IFLNK && en->perm & 07000 &&
	    fchmodat(en->dir, en->leaf, en->perm, 0) < 0)
		return sys_entry(en, "chmod", e);
	if (utimensat(en->dir, en->leaf, en->times, AT_SYMLINK_NOFOLLOW) < 0)
		return sys_entry(en, "set time of", e);
	return 0;
}

static int archive_failed(const struct untar *u, struct archive *a, struct err *e)
{
	if (u->read_error->kind != ERR_OK) {
		*e = *u->read_error;
		return *u->last ? err_wrap(e, "%s", u->last) : -1;
	}
	const char *why = archive_error_string(a);
	return err_set(e, ERR_BAD_INPUT, "damaged tar archive%s%s: %s", *u->last ? " after " : "",
		       u->last, why ? why : "unknown error");
}

static int write_piece(const struct entry *en, int fd, const char *data, size_t len, off_t at,
		       struct err *e)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sys_entry(en, "write", e);
		data += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* path: the file's own, from the root. */
static int copy_data(struct untar *u, struct archive *a, const struct entry *en, int fd,
		     const char *path, struct err *e)
{
	const void *data;
	size_t len;
	la_int64_t at, end = 0;
	int rc;
	stream_file_begin(&u->stream, fd, path, (uint64_t)archive_entry_size(en->ae));
	while ((rc = archive_read_data_block(a, &data, &len, &at)) == ARCHIVE_OK) {
		if (len > 0 && stream_file_data(&u->stream, data, len, (uint64_t)at, e) < 0)
			return err_wrap(e, "%.300s", en->path);
		if (write_piece(en, fd, data, len, at, e) < 0)
			return -1;
		end = at + (la_int64_t)len;
	}
	if (rc != ARCHIVE_EOF)
		return archive_failed(u, a, e);
	/* A hole at the end. */
	if (end < archive_entry_size(en->ae) && ftruncate(fd, archive_entry_size(en->ae)) < 0)
		return sys_entry(en, "write", e);
	return 0;
}

/* The file is whole: what it takes. */
static int account(struct untar *u, const struct entry *en, int fd, struct err *e)
{
	struct stat st;
	if (!u->layer)
		return 0;
	if (fstat(fd, &st) < 0)
		return sys_entry(en, "stat", e);
	u->tree.usage += (uint64_t)st.st_blocks * 512;
	return stream_file_end(&u->stream, &st, e) < 0 ? -1 : tree_count(&u->tree, e);
}

static int put_file(struct untar *u, struct archive *a, const struct entry *en, struct err *e)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char path[PATH_MAX];
	AUTO_CLOSE int fd = openat(en->dir, en->leaf, flags | O_CLOEXEC, en->perm & 0777);
	if (fd < 0 && errno == EEXIST) {
		if (tree_make_room(&u->tree, en->dir, en->leaf, false, e) < 0)
			return -1;
		fd = openat(en->dir, en->leaf, flags | O_CLOEXEC, en->perm & 0777);
	}
	if (fd < 0)
		return sys_entry(en, "create", e);
	if (tree_path(&u->tree, en->leaf, path, e) < 0 || copy_data(u, a, en, fd, path, e) < 0 ||
	    account(u, en, fd, e) < 0 || set_meta(u, en, fd, true, e) < 0)
		return -1;
	return futimens(fd, en->times) < 0 ? sys_entry(en, "set time of", e) : 0;
}

static int remember_time(struct untar *u, const struct entry *en, struct err *e)
{
	char path[PATH_MAX] = "";
	if (*en->leaf && tree_path(&u->tree, en->leaf, path, e) < 0)
		return -1;
	size_t len = strlen(path) + 1, last = u->last_dir;
	/* The same once more: the last one counts. */
	if (u->dirs.len > 0 && strcmp(u->dirs.data + last + sizeof en->times[1], path) == 0) {
		memcpy(u->dirs.data + last, &en->times[1], sizeof en->times[1]);
		return 0;
	}
	u->dirs.limit = DIR_BYTES_MAX;
	u->last_dir = u->dirs.len;
	if (buf_add(&u->dirs, &en->times[1], sizeof en->times[1], e) < 0 ||
	    buf_add(&u->dirs, path, len, e) < 0)
		return err_set(e, ERR_BAD_INPUT, "%.300s: too many directories", path);
	return 0;
}

/* Returns 1 when it is newly made, 0 when one stays. */
static int make_dir(struct untar *u, const struct entry *en, struct err *e)
{
	if (!*en->leaf)
		return 0;
	if (mkdirat(en->dir, en->leaf, en->perm & 0777) < 0) {
		if (errno != EEXIST)
			return sys_entry(en, "mkdir", e);
		int stays = tree_make_room(&u->tree, en->dir, en->leaf, true, e);
		if (stays)
			return stays < 0 ? -1 : 0;
		if (mkdirat(en->dir, en->leaf, en->perm & 0777) < 0)
			return sys_entry(en, "mkdir", e);
	}
	u->tree.usage += TREE_DIR_USAGE;
	return tree_count(&u->tree, e) < 0 ? -1 : 1;
}

static int put_dir(struct untar *u, const struct entry *en, struct err *e)
{
	int fresh = make_dir(u, en, e);
	if (fresh < 0 || remember_time(u, en, e) < 0)
		return -1;
	if (*en->leaf)
		tree_explicit(&u->tree, en->leaf);
	else
		u->tree.root_named = true;
	if (fresh && !en->uid && !en->gid && !(en->perm & 07000) &&
	    archive_entry_xattr_count(en->ae) == 0)
		return 0;
	AUTO_CLOSE int fd = openat(en->dir, *en->leaf ? en->leaf : ".",
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? sys_entry(en, "open", e) : set_meta(u, en, fd, fresh, e);
}

static int make_node(const struct entry *en)
{
	mode_t type = archive_entry_filetype(en->ae);
	const char *target = archive_entry_symlink(en->ae);
	if (type == AE_IFLNK)
		return symlinkat(target ? target : "", en->dir, en->leaf);
	dev_t dev = makedev(archive_entry_rdevmajor(en->ae), archive_entry_rdevminor(en->ae));
	return mknodat(en->dir, en->leaf, type | (en->perm & 0777), dev);
}

static int put_node(struct untar *u, const struct entry *en, struct err *e)
{
	int rc = make_node(en);
	if (rc < 0 && errno == EEXIST) {
		if (tree_make_room(&u->tree, en->dir, en->leaf, false, e) < 0)
			return -1;
		rc = make_node(en);
	}
	if (rc < 0)
		return sys_entry(en, "create", e);
	/* What overlay takes for one, whoever made it. */
	bool whiteout = archive_entry_filetype(en->ae) == AE_IFCHR &&
			!archive_entry_rdevmajor(en->ae) && !archive_entry_rdevminor(en->ae);
	if (whiteout && tree_hides(&u->tree, e) < 0)
		return -1;
	return tree_count(&u->tree, e) < 0 ? -1 : set_node_meta(u, en, e);
}

/* The file to link to: 0, or 1 when it waits for the layers below. */
static int link_source(struct untar *u, const struct entry *en, int dir, const char *name,
		       const char *target, struct stat *st, struct err *e)
{
	char path[PATH_MAX];
	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev == 0))
			return err_set(e, ERR_BAD_INPUT, "%.300s: hard link to '%.300s', which %s",
				       en->path, target,
				       S_ISDIR(st->st_mode) ? "is a directory" : "is removed");
		if (json_object_size(u->tree.links) == 0)
			return 0;
		return tree_path(&u->tree, name, path, e) < 0
			       ? -1
			       : json_object_get(u->tree.links, path) != NULL;
	}
	if (errno != ENOENT)
		return sys_entry(en, "link", e);
	if (!u->layer)
		return err_set(e, ERR_BAD_INPUT,
			       "%.300s: hard link to '%.300s', which is not in the archive",
			       en->path, target);
	AUTO_CLOSE int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, st) < 0)
		return sys_entry(en, "link", e);
	if (tree_count(&u->tree, e) < 0 || tree_path(&u->tree, name, path, e) < 0)
		return -1;
	return tree_note_link(&u->tree, name, path, e) < 0 ? -1 : 1;
}

/* The link itself, from dir/name (with the inode number of st) to where the entry says. */
static int make_link(struct untar *u, const struct entry *en, int dir, const char *name,
		     const struct stat *st, struct err *e)
{
	struct stat there;
	int rc = linkat(dir, name, en->dir, en->leaf, 0);
	if (rc < 0 && errno == EEXIST) {
		if (fstatat(en->dir, en->leaf, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    there.st_ino == st->st_ino)
			return 0;
		if (tree_make_room(&u->tree, en->dir, en->leaf, false, e) < 0)
			return -1;
		rc = linkat(dir, name, en->dir, en->leaf, 0);
	}
	if (rc < 0 && (errno == ENOENT || errno == EPERM))
		return err_set(e, ERR_BAD_INPUT, "%.300s: hard link to what cannot be linked to",
			       en->path);
	return rc < 0 ? sys_entry(en, "link", e) : 0;
}

static int put_link(struct untar *u, struct entry *en, const char *target, struct err *e)
{
	char path[PATH_MAX], below[PATH_MAX] = "";
	const char *name;
	struct stat st;
	if (tree_clean(target, path, e) < 0)
		return -1;
	int dir = *path ? tree_parent(&u->tree, path, &name, e) : -1;
	if (dir < 0)
		return *path ? -1
			     : err_set(e, ERR_BAD_INPUT, "%.300s: hard link to the root", en->path);
	int waits = link_source(u, en, dir, name, target, &st, e);
	if (waits < 0 || (waits && tree_path(&u->tree, name, below, e) < 0))
		return -1;
	if (waits) {
		const char *origin = json_string_value(json_object_get(u->tree.links, below));
		snprintf(below, sizeof below, "%s", origin ? origin : "");
	}
	/* Kept by ourselves, as the next walk may close it. */
	AUTO_CLOSE int from = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	en->dir = from < 0 ? -1 : tree_parent(&u->tree, en->path, &en->leaf, e);
	if (en->dir < 0)
		return from < 0 ? sys_entry(en, "link", e) : -1;
	if (make_link(u, en, from, name, &st, e) < 0)
		return -1;
	return waits ? tree_note_link(&u->tree, en->leaf, below, e) : 0;
}

/* Returns 1 if the entry was one of the names that stand for removals. */
static int put_whiteout(struct untar *u, const struct entry *en, struct err *e)
{
	if (strncmp(en->leaf, ".wh.", 4) != 0)
		return 0;
	const char *name = en->leaf + 4;
	if (strcmp(name, ".wh..opq") == 0)
		return tree_opaque(&u->tree, NULL, e) < 0 ? -1 : 1;
	/* AUFS's own bookkeeping (.wh..wh.aufs, .wh..wh.plnk). */
	if (strncmp(name, ".wh.", 4) == 0)
		return 1;
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, ERR_BAD_INPUT, "%.300s: bad whiteout", en->path);
	return tree_whiteout(&u->tree, en->dir, name, e) < 0 ? -1 : 1;
}

static int put_typed(struct untar *u, struct archive *a, const struct entry *en, struct err *e)
{
	mode_t type = archive_entry_filetype(en->ae);
	bool special = type == AE_IFCHR || type == AE_IFBLK || type == AE_IFIFO;
	if (type == AE_IFDIR)
		return put_dir(u, en, e);
	if (!*en->leaf)
		return err_set(e, ERR_BAD_INPUT, "the root is not a directory");
	if (type == AE_IFREG)
		return put_file(u, a, en, e);
	if (type == AE_IFLNK || (special && u->layer))
		return put_node(u, en, e);
	return special ? 0
		       : err_set(e, ERR_BAD_INPUT, "%.300s: unknown kind of entry (%o)", en->path,
				 (unsigned)type);
}

static int fill_entry(struct entry *en, struct err *e)
{
	la_int64_t uid = archive_entry_uid(en->ae), gid = archive_entry_gid(en->ae);
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return err_set(e, ERR_BAD_INPUT, "%.300s: bad owner %lld:%lld", en->path,
			       (long long)uid, (long long)gid);
	en->uid = (uid_t)uid;
	en->gid = (gid_t)gid;
	en->perm = archive_entry_perm(en->ae) & 07777;
	en->times[0].tv_nsec = UTIME_OMIT;
	en->times[1].tv_sec = archive_entry_mtime(en->ae);
	en->times[1].tv_nsec = archive_entry_mtime_nsec(en->ae);
	return 0;
}

static int put_entry(struct untar *u, struct archive *a, struct archive_entry *ae, struct err *e)
{
	char path[PATH_MAX];
	const char *name = archive_entry_pathname(ae), *target = archive_entry_hardlink(ae);
	struct entry en = {.path = path, .leaf = "", .ae = ae};
	if (!name)
		return err_set(e, ERR_BAD_INPUT, "an entry's name cannot be read");
	if (tree_clean(name, path, e) < 0 || fill_entry(&en, e) < 0)
		return -1;
	if (*path)
		en.dir = tree_parent(&u->tree, path, &en.leaf, e);
	else
		en.dir = u->tree.at[0].fd;
	if (en.dir < 0)
		return -1;
	int whiteout = u->layer ? put_whiteout(u, &en, e) : 0;
	if (whiteout)
		return whiteout < 0 ? -1 : 0;
	if (target && *path)
		return put_link(u, &en, target, e);
	return put_typed(u, a, &en, e);
}

/* When something has been replaced, a path may lead elsewhere now, or nowhere. */
static int set_time_of(const struct untar *u, const char *path, const struct timespec times[2],
		       struct err *e)
{
	struct err why;
	int root = u->tree.at[0].fd;
	if (!u->tree.replaced)
		return utimensat(root, path, times, AT_SYMLINK_NOFOLLOW) < 0
			       ? err_sys(e, "set time of %.300s", path)
			       : 0;
	AUTO_CLOSE int fd = fs_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, &why);
	return fd >= 0 && futimens(fd, times) < 0 ? err_sys(e, "set time of %.300s", path) : 0;
}

static int set_dir_times(struct untar *u, struct err *e)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
	for (size_t at = 0; at < u->dirs.len;) {
		memcpy(&times[1], u->dirs.data + at, sizeof times[1]);
		const char *path = u->dirs.data + at + sizeof times[1];
		at += sizeof times[1] + strlen(path) + 1;
		if (set_time_of(u, *path ? path : ".", times, e) < 0)
			return -1;
	}
	return 0;
}

static la_ssize_t next_block(struct archive *a, void *arg, const void **data)
{
	struct untar *u = arg;
	ssize_t n = stream_next(&u->stream, data, u->read_error);
	if (n >= 0)
		return n;
	archive_set_error(a, EIO, "%s", u->read_error->msg);
	return ARCHIVE_FATAL;
}

static int count_entry(struct untar *u, struct archive_entry *ae, struct err *e)
{
	const char *name = archive_entry_pathname(ae);
	snprintf(u->last, sizeof u->last, "%s", name ? name : "?");
	u->entries++;
	return u->tree.max_inodes == 0 || u->entries <= u->tree.max_inodes
		       ? 0
		       : err_set(e, ERR_BAD_INPUT,
				 "%s: more than %llu entries (unpack_max_entries)", u->last,
				 (unsigned long long)u->tree.max_inodes);
}

static int removing(void *arg, int dirfd, const char *leaf, const struct stat *st, struct err *e)
{
	return stream_removing(arg, dirfd, leaf, st, e);
}

static int read_all(struct untar *u, struct archive *a, struct err *e)
{
	struct archive_entry *ae;
	const void *rest;
	la_ssize_t n;
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, u, NULL, next_block, NULL) != ARCHIVE_OK)
		return archive_failed(u, a, e);
	for (;;) {
		int rc = archive_read_next_header(a, &ae);
		if (rc == ARCHIVE_EOF)
			break;
		if (rc == ARCHIVE_RETRY)
			continue;
		/* A warning: a name that is not UTF-8, which we want as it is. */
		if (rc < ARCHIVE_WARN)
			return archive_failed(u, a, e);
		if (count_entry(u, ae, e) < 0 || put_entry(u, a, ae, e) < 0)
			return -1;
	}
	/* The hash is over everything, also what follows the archive's end mark. */
	while ((n = next_block(a, u, &rest)) > 0)
		;
	if (n < 0)
		return archive_failed(u, a, e);
	return set_dir_times(u, e);
}

int untar(struct untar *u, struct err *e)
{
	struct archive *a = archive_read_new();
	u->tree.removing = removing;
	u->tree.arg = &u->stream;
	if (!a)
		return err_set(e, ERR_EXHAUSTED, "no memory for libarchive");
	int rc = read_all(u, a, e);
	archive_read_free(a);
	return rc;
}

void untar_release(struct untar *u)
{
	buf_release(&u->dirs);
	stream_release(&u->stream);
	tree_close(&u->tree);
}
