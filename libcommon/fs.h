/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FS_H
#define CRISP_FS_H
/* Files: read whole, replace atomically, open inside a root that is not trusted, lock, remove a
 * tree. Paths are relative to a directory descriptor (AT_FDCWD allowed); every descriptor returned
 * is O_CLOEXEC. */
#include "buf.h"
#include "err.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

/* Resolve `path` as a process chrooted at rootfd would, and open it. Symlinks in the root may point
 * anywhere; they cannot leave rootfd. No fallback: a kernel without openat2 (before 5.6) is
 * refused. */
int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode, struct err *e);
/* The same with a stricter rule: no symlink at all is followed and the path must stay beneath
 * dirfd. */
int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode, struct err *e);

/* Read a whole regular file into b (whose limit holds). Refuses anything that is not a regular
 * file. */
int fs_read_at(int dirfd, const char *name, struct buf *b, struct err *e);
/* What a command line names as FILE|-: a file of any kind (pipes are fine), or standard input. */
int fs_read_operand(const char *operand, struct buf *b, struct err *e);
int fs_write_all(int fd, const void *data, size_t len, struct err *e);

/* Replace dirfd/name atomically: readers see the old content or the new. FS_DURABLE adds the fsyncs
 * of file and directory that make it survive a power cut (image store only; DESIGN section 2). FS_NEW: there is none
 * of the name, and nobody looks for it yet: it is made in its place. */
enum fs_flags { FS_DURABLE = 1, FS_NEW = 2 };
int fs_replace_file_at(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
		       int flags, struct err *e);

/* Which file has this name, as it is now: another one, and one that was written, has another stamp, but for what is
 * written within FS_STAMP_MS of the last change. So has a name without a file. */
enum { FS_STAMP_MS = 20 };
struct fs_stamp {
	dev_t dev;
	ino_t ino; /* 0 = there is none */
	off_t size;
	struct timespec changed;
};
struct fs_stamp fs_stamp(const char *path);
bool fs_stamp_same(const struct fs_stamp *a, const struct fs_stamp *b);

/* mkdir -p below dirfd for a relative or absolute path; existing directories are left as they are.
 */
int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e);
/* Open a directory (O_DIRECTORY|O_NOFOLLOW on the last component). */
int fs_open_dir(int dirfd, const char *path, struct err *e);

/* For scandir over a directory of configuration: files named *.json that are not hidden, and the order of
 * their bytes, whatever the locale. */
int fs_is_json_file(const struct dirent *de);
int fs_by_bytes(const struct dirent **a, const struct dirent **b);

/* Remove dirfd/name and all below it, never following a symlink and never crossing into another
 * mount. What is gone already is success. */
int fs_remove_tree(int dirfd, const char *name, struct err *e);

/* The exclusive lock dirfd/name (an open file description lock: owned by the returned descriptor,
 * gone when it is closed or its process dies). timeout_ms 0 tries once, < 0 waits without limit.
 * ERR_UNAVAILABLE when another holds it. Lock files are never unlinked except with their directory.
 */
int fs_lock_at(int dirfd, const char *name, int timeout_ms, struct err *e);
/* For a process that has blocked SIGTERM, SIGINT and SIGHUP to take them from a descriptor: while this
 * is set, one that is pending ends a wait for a lock with ERR_CANCELLED. */
extern bool fs_lock_heeds_signals;
/* 1 if somebody holds dirfd/name, 0 if it is free or absent, -1 on error. Never blocks. */
int fs_is_locked_at(int dirfd, const char *name, struct err *e);
#endif
