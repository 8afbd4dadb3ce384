/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "save.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#define TMP_HEAD ".ocistore-save-"
enum { BLOCK = 512, TMP_LEN = sizeof TMP_HEAD - 1 + 16, TRIES_MAX = 10 };

static void random_name(char out[64])
{
	unsigned long long rnd = 0;
	while (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		;
	snprintf(out, 64, TMP_HEAD "%016llx", rnd);
}

/* If it is one of ours, with nobody at work on it (a lock on the file or directory itself says so), its
 * descriptor with that lock; else -1. */
static int open_left_over(int parent, const char *name)
{
	struct stat st;
	bool ours = strlen(name) == TMP_LEN && strncmp(name, TMP_HEAD, strlen(TMP_HEAD)) == 0 &&
		    strspn(name + strlen(TMP_HEAD), "0123456789abcdef") == 16;
	if (!ours || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_uid != geteuid() || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
		return -1;
	AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? TAKE_FD(fd) : -1;
}

/* What a `save` that was killed has left where we write now. */
static void sweep(int parent)
{
	struct err ignored;
	const struct dirent *de;
	int fd = fs_open_dir(parent, ".", &ignored);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (de = readdir(d))) {
		AUTO_CLOSE int old = open_left_over(parent, de->d_name);
		if (old >= 0)
			(void)fs_remove_tree(parent, de->d_name, &ignored);
	}
}

/* Lock what was just made as o->tmp. False: another's sweep was faster, and took it away. */
static bool lock_tmp(const struct save_out *o)
{
	struct stat st, named;
	/* Where there are no such locks, nobody sweeps either. */
	if (flock(o->fd, LOCK_EX) < 0)
		return true;
	return fstat(o->fd, &st) == 0 &&
	       fstatat(o->parent, o->tmp, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_ino == named.st_ino && st.st_dev == named.st_dev;
}

static int open_tmp(struct save_out *o)
{
	random_name(o->tmp);
	if (!o->is_dir)
		return openat(o->parent, o->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (mkdirat(o->parent, o->tmp, 0755) < 0)
		return -1;
	return openat(o->parent, o->tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A new file or directory beside the target, locked. */
static int make_tmp(struct save_out *o, const char *target, struct err *e)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		auto_close(&o->fd);
		o->fd = open_tmp(o);
		if (o->fd < 0) {
			err_sys(e, "create %.300s", target);
			o->tmp[0] = '\0';
			return -1;
		}
		if (lock_tmp(o))
			return 0;
	}
	return err_set(e, ERR_UNAVAILABLE, "%.300s: what is written beside it is taken away",
		       target);
}

static int open_parent(struct save_out *o, const char *target, struct err *e)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(target, '/');
	o->name = slash ? slash + 1 : target;
	if (!*o->name || strcmp(o->name, ".") == 0 || strcmp(o->name, "..") == 0)
		return err_set(e, ERR_USAGE, "--output: '%.300s' is no name for a new file",
			       target);
	if (slash && (size_t)(slash - target) + 2 > sizeof dir)
		return err_set(e, ERR_USAGE, "--output: name too long");
	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - target + 1) : 1,
		 slash ? target : ".");
	o->parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return o->parent < 0 ? err_sys(e, "open %.300s", dir) : 0;
}

static bool is_empty_dir(int parent, const char *name)
{
	struct err ignored;
	int n = 0, fd = fs_open_dir(parent, name, &ignored);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && readdir(d))
		n++;
	return d && n <= 2;
}

static int open_dir_target(struct save_out *o, const char *target, struct err *e)
{
	struct stat st;
	/* rename() replaces an empty directory; what it will refuse is refused before the work. */
	if (fstatat(o->parent, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !is_empty_dir(o->parent, o->name))
		return err_set(e, ERR_EXISTS, "%.300s exists already", target);
	return make_tmp(o, target, e);
}

static int open_file_target(struct save_out *o, const char *target, struct err *e)
{
	struct stat st;
	if (fstatat(o->parent, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return err_set(e, ERR_EXISTS, "%.300s exists and is not a regular file", target);
	/* Without a name, so that not even a kill leaves it behind, where the file system can. */
	o->fd = openat(o->parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
	if (o->fd < 0 && make_tmp(o, target, e) < 0)
		return -1;
	o->member = o->fd;
	return 0;
}

int save_out_open(struct save_out *o, const char *target, bool is_dir, struct err *e)
{
	*o = SAVE_OUT_NONE;
	o->is_dir = is_dir;
	if (strcmp(target, "-") != 0) {
		if (open_parent(o, target, e) < 0)
			return -1;
		sweep(o->parent);
		return is_dir ? open_dir_target(o, target, e) : open_file_target(o, target, e);
	}
	if (is_dir)
		return err_set(e, ERR_USAGE, "--format oci makes a directory: name it with -o DIR");
	if (isatty(STDOUT_FILENO))
		return err_set(e, ERR_USAGE,
			       "an archive is not written to a terminal: use -o FILE, or a pipe");
	o->member = o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return o->fd < 0 ? err_sys(e, "standard output") : 0;
}

static void octal(char *field, size_t size, unsigned long long v)
{
	for (size_t i = size - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
}

/* GNU's way for sizes that 11 octal digits cannot hold; every reader of today knows it. */
static void put_size(char *field, unsigned long long v)
{
	if (v < 1ULL << 33) {
		octal(field, 12, v);
		return;
	}
	memset(field, 0, 12);
	field[0] = (char)0x80;
	for (int i = 11; i > 3; i--, v >>= 8)
		field[i] = (char)(v & 0xff);
}

static int put_header(struct save_out *o, const char *name, char type, unsigned mode,
		      unsigned long long size, struct err *e)
{
	static const char magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
	char h[BLOCK] = {0};
	unsigned sum = 0;
	snprintf(h, 100, "%s", name);
	octal(h + 100, 8, mode);
	octal(h + 108, 8, 0);
	octal(h + 116, 8, 0);
	put_size(h + 124, size);
	octal(h + 136, 12, 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, magic, sizeof magic);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	octal(h + 148, 7, sum);
	return fs_write_all(o->fd, h, BLOCK, e);
}

int save_out_mkdir(struct save_out *o, const char *name, struct err *e)
{
	char slash[80];
	if (o->is_dir)
		return mkdirat(o->fd, name, 0755) < 0 ? err_sys(e, "mkdir %s", name) : 0;
	snprintf(slash, sizeof slash, "%s/", name);
	return put_header(o, slash, '5', 0755, 0, e);
}

int save_out_begin(struct save_out *o, const char *name, unsigned long long size, struct err *e)
{
	o->left = o->size = size;
	if (!o->is_dir)
		return put_header(o, name, '0', 0644, size, e);
	o->member = openat(o->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return o->member < 0 ? err_sys(e, "create %s", name) : 0;
}

int save_out_write(struct save_out *o, const void *data, size_t len, struct err *e)
{
	if (len > o->left)
		return err_set(e, ERR_FAILED, "more bytes than there should be");
	o->left -= len;
	return fs_write_all(o->member, data, len, e);
}

static int pad(struct save_out *o, unsigned long long len, struct err *e)
{
	static const char zeros[2 * BLOCK];
	return fs_write_all(o->fd, zeros, len, e);
}

int save_out_end(struct save_out *o, struct err *e)
{
	if (o->left > 0)
		return err_set(e, ERR_FAILED, "fewer bytes than there should be");
	if (!o->is_dir)
		return pad(o, (BLOCK - o->size % BLOCK) % BLOCK, e);
	auto_close(&o->member);
	o->member = -1;
	return 0;
}

int save_out_member(struct save_out *o, const char *name, const void *data, size_t len,
		    struct err *e)
{
	if (save_out_begin(o, name, len, e) < 0 || save_out_write(o, data, len, e) < 0)
		return -1;
	return save_out_end(o, e);
}

static int name_file(struct save_out *o, struct err *e)
{
	char proc[40];
	if (*o->tmp)
		return 0;
	random_name(o->tmp);
	(void)flock(o->fd, LOCK_EX | LOCK_NB);
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", o->fd);
	if (linkat(AT_FDCWD, proc, o->parent, o->tmp, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	err_sys(e, "name %.300s", o->name);
	o->tmp[0] = '\0';
	return -1;
}

int save_out_commit(struct save_out *o, struct err *e)
{
	if (!o->is_dir && pad(o, 2ULL * BLOCK, e) < 0)
		return -1;
	if (o->parent < 0)
		return 0;
	if (!o->is_dir && name_file(o, e) < 0)
		return -1;
	if (renameat(o->parent, o->tmp, o->parent, o->name) < 0)
		return err_sys(e, "rename to %.300s", o->name);
	o->tmp[0] = '\0';
	return 0;
}

void save_out_close(struct save_out *o)
{
	struct err ignored;
	if (o->member != o->fd)
		auto_close(&o->member);
	auto_close(&o->fd);
	if (*o->tmp)
		(void)fs_remove_tree(o->parent, o->tmp, &ignored);
	auto_close(&o->parent);
	*o = SAVE_OUT_NONE;
}
