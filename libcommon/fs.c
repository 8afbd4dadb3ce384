/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include "auto.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static int open_resolved(int dirfd, const char *path, int flags, mode_t mode, unsigned resolve,
			 struct err *e)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOCTTY),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	/* openat2 refuses bits that mean nothing with O_PATH instead of ignoring them. */
	if (flags & O_PATH)
		how.flags &= ~(unsigned)O_NOCTTY;
	long fd;
	/* EAGAIN: a rename raced with ".." resolution; the kernel asks for another try. */
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? err_sys(e, "open %s", path) : (int)fd;
}

int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode, struct err *e)
{
	return open_resolved(rootfd, path, flags, mode, RESOLVE_IN_ROOT, e);
}

int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode, struct err *e)
{
	return open_resolved(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, e);
}

int fs_read_at(int dirfd, const char *name, struct buf *b, struct err *e)
{
	/* O_NONBLOCK: opening a fifo that somebody planted must not hang; the type is checked next.
	 */
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "%s: not a regular file", name);
	/* One byte more than the file is said to have finds its end without another round. */
	size_t want = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096, before = b->len;
	for (;;) {
		size_t room = b->limit - b->len;
		char probe;
		if (room && buf_reserve(b, want < room ? want : room, e) < 0)
			return -1;
		size_t asked = room ? b->cap - 1 - b->len : 1;
		ssize_t n = read(fd, room ? b->data + b->len : &probe, asked);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read %s", name);
		if (n == 0)
			break;
		if ((size_t)n > room)
			return err_set(e, ERR_EXHAUSTED, "read %s: more than %zu bytes", name,
				       b->limit);
		bool cut = (size_t)n < asked;
		buf_grew(b, (size_t)n);
		/* All that was said to be there, and less than was asked for: that is the end. */
		if (cut && b->len - before == (size_t)st.st_size)
			break;
		want = 4096;
	}
	if (b->data)
		buf_grew(b, 0);
	return 0;
}

int fs_read_operand(const char *operand, struct buf *b, struct err *e)
{
	bool is_stdin = strcmp(operand, "-") == 0;
	const char *what = is_stdin ? "standard input" : operand;
	AUTO_CLOSE int fd = is_stdin ? -1 : open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (!is_stdin && fd < 0)
		return err_sys(e, "open %s", operand);
	for (;;) {
		if (buf_reserve(b, 1, e) < 0)
			return err_wrap(e, "%s", what);
		ssize_t n =
			read(is_stdin ? STDIN_FILENO : fd, b->data + b->len, b->cap - 1 - b->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read %s", what);
		if (n == 0)
			return 0;
		buf_grew(b, (size_t)n);
	}
}

int fs_write_all(int fd, const void *data, size_t len, struct err *e)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ext4 writes a file out that is renamed over another, and to remove one that was just written, or had
 * its blocks allocated, waits for the disk: milliseconds, where a container's record is replaced five
 * times until it runs. Two names exchanged and the old file removed by the other one cost neither. */
static int put_in_place(int dirfd, const char *tmp, const char *name, bool durable)
{
	if (durable || renameat2(dirfd, tmp, dirfd, name, RENAME_EXCHANGE) < 0)
		return renameat(dirfd, tmp, dirfd, name);
	if (unlinkat(dirfd, tmp, 0) == 0)
		return 0;
	/* A directory, which no file replaces. */
	renameat2(dirfd, tmp, dirfd, name, RENAME_EXCHANGE);
	errno = EISDIR;
	return -1;
}

/* Beside the target, for rename to be atomic; hidden, for readers of directories to pass it over. */
static int name_beside(char tmp[PATH_MAX], const char *name, struct err *e)
{
	unsigned long long rnd;
	if (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		return err_sys(e, "getrandom");
	const char *base = strrchr(name, '/');
	base = base ? base + 1 : name;
	int n = snprintf(tmp, PATH_MAX, "%.*s.%s.%016llx", (int)(base - name), name, base, rnd);
	return n < 0 || n >= PATH_MAX ? err_set(e, ERR_BAD_INPUT, "name too long: %s", name) : 0;
}

int fs_replace_file_at(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
		       int flags, struct err *e)
{
	char tmp[PATH_MAX];
	const char *at = flags & FS_NEW ? name : tmp;
	if (at == tmp && name_beside(tmp, name, e) < 0)
		return -1;
	AUTO_CLOSE int fd =
		openat(dirfd, at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, "create %s", at);
	if (fs_write_all(fd, data, len, e) < 0) {
		err_wrap(e, "%s", name);
		unlinkat(dirfd, at, 0);
		return -1;
	}
	if ((flags & FS_DURABLE && fsync(fd) < 0) ||
	    (at == tmp && put_in_place(dirfd, tmp, name, flags & FS_DURABLE) < 0)) {
		err_sys(e, "replace %s", name);
		unlinkat(dirfd, at, 0);
		return -1;
	}
	if (flags & FS_DURABLE && fsync(dirfd) < 0)
		return err_sys(e, "sync directory of %s", name);
	return 0;
}

struct fs_stamp fs_stamp(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return (struct fs_stamp){.ino = 0};
	return (struct fs_stamp){st.st_dev, st.st_ino, st.st_size, st.st_ctim};
}

bool fs_stamp_same(const struct fs_stamp *a, const struct fs_stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (len >= sizeof part)
		return err_set(e, ERR_BAD_INPUT, "path too long: %s", path);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdirat(dirfd, part, mode) < 0 && errno != EEXIST)
			return err_sys(e, "mkdir %s", part);
	}
	return 0;
}

int fs_is_json_file(const struct dirent *de)
{
	size_t n = strlen(de->d_name);
	return n > 5 && de->d_name[0] != '.' && strcmp(de->d_name + n - 5, ".json") == 0;
}

int fs_by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int fs_open_dir(int dirfd, const char *path, struct err *e)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open directory %s", path) : fd;
}

/* Deeper trees than any sane one are refused, so that a hostile image cannot exhaust our stack. */
enum { TREE_DEPTH_MAX = 4096, REMOVE_TRIES = 8 };

static int remove_entries(int fd, int depth, struct err *e);

/* A device number would not tell a directory of the same file system that is bound there. */
static int open_to_remove(int parent, const char *name, struct err *e)
{
	int fd = open_resolved(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
			       RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS, e);
	return fd < 0 && e->errnum == EXDEV
		       ? err_set(e, ERR_UNAVAILABLE, "%s: something is mounted there", name)
		       : fd;
}

static int remove_subdir(int parent, const char *name, int depth, struct err *e)
{
	if (depth > TREE_DEPTH_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: directories nested too deep", name);
	for (int tries = 1;; tries++) {
		int fd = open_to_remove(parent, name, e);
		if (fd < 0)
			return e->errnum == ENOENT ? 0 : -1;
		if (remove_entries(fd, depth, e) < 0)
			return -1;
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		/* Who waits for an object that goes makes its lock file anew, just now. */
		if (errno != ENOTEMPTY || tries == REMOVE_TRIES)
			return err_sys(e, "remove %s", name);
	}
}

/* Takes fd over. */
static int remove_entries(int fd, int depth, struct err *e)
{
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		err_sys(e, "read directory");
		close(fd);
		return -1;
	}
	const struct dirent *de;
	while ((errno = 0, de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (de->d_type != DT_DIR && unlinkat(fd, de->d_name, 0) == 0)
			continue;
		if (de->d_type != DT_DIR && errno != EISDIR) {
			if (errno == ENOENT)
				continue;
			return err_sys(e, "remove %s", de->d_name);
		}
		if (remove_subdir(fd, de->d_name, depth + 1, e) < 0)
			return -1;
	}
	return errno ? err_sys(e, "read directory") : 0;
}

int fs_remove_tree(int dirfd, const char *name, struct err *e)
{
	struct stat st;
	char above[PATH_MAX];
	const char *slash = strrchr(name, '/');
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "stat %s", name);
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove %s", name);
		return 0;
	}
	/* What is above it may well be a mount of its own. */
	snprintf(above, sizeof above, "%.*s/", slash ? (int)(slash - name) : 1, slash ? name : ".");
	AUTO_CLOSE int parent = openat(dirfd, above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(e, "open %s", above);
	return remove_subdir(parent, slash ? slash + 1 : name, 0, e);
}

bool fs_lock_heeds_signals;

static bool signal_pending(void)
{
	sigset_t set;
	return fs_lock_heeds_signals && sigpending(&set) == 0 &&
	       (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1 ||
		sigismember(&set, SIGHUP) == 1);
}

/* OFD, not POSIX: owned by the open file, so that no other close() in this process can drop it. */
static int ofd_lock(int fd, int timeout_ms)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct timespec until, now, nap = {.tv_nsec = 500000};
	if (timeout_ms < 0) {
		int r;
		do
			r = fcntl(fd, F_OFD_SETLKW, &fl);
		while (r < 0 && errno == EINTR);
		return r;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	/* The kernel has no lock call with a clock; a short nap that doubles up to 8 ms stands in.
	 */
	while (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -1;
		if (signal_pending()) {
			errno = ECANCELED;
			return -1;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - until.tv_sec) * 1000000000L + now.tv_nsec - until.tv_nsec >= 0) {
			errno = EAGAIN;
			return -1;
		}
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 8000000)
			nap.tv_nsec *= 2;
	}
	return 0;
}

int fs_lock_at(int dirfd, const char *name, int timeout_ms, struct err *e)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "open lock %s", name);
	if (ofd_lock(fd, timeout_ms) == 0)
		return TAKE_FD(fd);
	if (errno == EAGAIN || errno == EACCES)
		return err_set(e, ERR_UNAVAILABLE, "%s is held by another process", name);
	if (errno == ECANCELED)
		return err_set(e, ERR_CANCELLED, "cancelled while waiting for %s", name);
	return err_sys(e, "lock %s", name);
}

int fs_is_locked_at(int dirfd, const char *name, struct err *e)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open lock %s", name);
	if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
		return err_sys(e, "test lock %s", name);
	return fl.l_type != F_UNLCK;
}
