/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "log.h"
#include "monitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int open_log(const struct logfile *l, struct err *e)
{
	enum { FLAGS = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC };
	struct stat st;
	bool is_new = false;
	int fd = openat(l->dir, l->name, FLAGS);
	if (fd < 0 && errno == ENOENT) {
		fd = openat(l->dir, l->name, FLAGS | O_CREAT | O_EXCL, 0640);
		is_new = fd >= 0;
	}
	if (fd < 0)
		return err_sys(e, "open log %s", l->name);
	/* The umask may have taken the group's right away. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!is_new || fchmod(fd, 0640) == 0))
		return fd;
	if (!S_ISREG(st.st_mode))
		err_set(e, ERR_BAD_INPUT, "log %s: not a regular file", l->name);
	else
		err_sys(e, "log %s", l->name);
	close(fd);
	if (is_new)
		unlinkat(l->dir, l->name, 0);
	return -1;
}

int logfile_open(struct logfile *l, const char *path, struct err *e)
{
	char dir[4096];
	const char *slash = path ? strrchr(path, '/') : NULL;
	l->dir = l->fd = -1;
	if (!path || !*path)
		return 0;
	l->path = path;
	if (path[0] != '/' || !slash[1] || (size_t)(slash - path) >= sizeof dir)
		return err_set(e, ERR_BAD_INPUT, "log path '%.80s' is not an absolute file name",
			       path);
	snprintf(dir, sizeof dir, "%.*s", slash > path ? (int)(slash - path) : 1, path);
	if (fs_mkdirs(AT_FDCWD, dir, 0755, e) < 0)
		return err_wrap(e, "log directory");
	l->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->dir < 0)
		return err_sys(e, "log directory %s", dir);
	l->name = slash + 1;
	l->fd = open_log(l, e);
	return l->fd < 0 ? -1 : 0;
}

static int open_anew(struct logfile *l, struct err *e)
{
	struct logfile fresh = {.dir = -1, .fd = -1};
	if (logfile_open(&fresh, l->path, e) < 0) {
		logfile_close(&fresh);
		return -1;
	}
	auto_close(&l->dir);
	auto_close(&l->fd);
	l->dir = fresh.dir;
	l->fd = fresh.fd;
	return 0;
}

int logfile_reopen(struct logfile *l, struct err *e)
{
	if (l->dir < 0)
		return err_set(e, ERR_BAD_STATE, "the container has no log");
	struct stat st;
	/* Nothing can be made in a directory that was removed; its successor has the path. */
	if (fstat(l->dir, &st) == 0 && st.st_nlink == 0)
		return open_anew(l, e);
	int fd = open_log(l, e);
	if (fd < 0)
		return -1;
	auto_close(&l->fd);
	l->fd = fd;
	return 0;
}

const char *logfile_health(const struct logfile *l)
{
	struct stat st;
	if (l->fd < 0)
		return "none";
	if (l->lost)
		return "degraded";
	return fstat(l->fd, &st) == 0 && st.st_nlink == 0 ? "removed" : "ok";
}

void logfile_close(struct logfile *l)
{
	auto_close(&l->fd);
	auto_close(&l->dir);
	l->fd = l->dir = -1;
}

/* Of lines whose first `done` bytes were written: those not whole in the file, and the bytes of the
 * one that was torn. */
static uint64_t lines_missing(const struct iovec *iov, int count, size_t done, off_t *torn)
{
	uint64_t missing = 0;
	*torn = 0;
	for (int i = 0; i < count; i++) {
		size_t n = iov[i].iov_len < done ? iov[i].iov_len : done;
		bool ends = ((const char *)iov[i].iov_base)[iov[i].iov_len - 1] == '\n';
		bool whole = n == iov[i].iov_len;
		*torn = ends && whole ? 0 : *torn + (off_t)n;
		missing += ends && !whole;
		done -= n;
	}
	return missing;
}

enum { PAGE = 4096 };
static _Alignas(PAGE) char copy[24 * PAGE];

void logfile_rest(void)
{
	(void)madvise(copy, sizeof copy, MADV_DONTNEED);
}

/* Many small pieces cost the kernel more than a copy costs us: *iov becomes one piece when that is
 * worth it. The number of pieces. */
static int gather(const struct iovec **iov, int count)
{
	static struct iovec one;
	enum { SMALL = 1024 };
	size_t total = 0, at = 0;
	for (int i = 0; i < count; i++)
		total += (*iov)[i].iov_len;
	if (total > sizeof copy || total / (size_t)count >= SMALL)
		return count;
	for (int i = 0; i < count; at += (*iov)[i++].iov_len)
		memcpy(copy + at, (*iov)[i].iov_base, (*iov)[i].iov_len);
	one = (struct iovec){copy, total};
	*iov = &one;
	return 1;
}

/* What is left when the first `done` bytes have been written. */
static bool write_rest(int fd, const struct iovec *iov, int count, size_t *done)
{
	struct iovec rest[CRILOG_IOV];
	size_t n = *done;
	int at = 0;
	memcpy(rest, iov, (size_t)count * sizeof *iov);
	for (;;) {
		for (; at < count && n >= rest[at].iov_len; at++)
			n -= rest[at].iov_len;
		if (at == count)
			return true;
		rest[at].iov_base = (char *)rest[at].iov_base + n;
		rest[at].iov_len -= n;
		ssize_t more;
		do
			more = writev(fd, rest + at, count - at);
		while (more < 0 && errno == EINTR);
		if (more <= 0)
			return false;
		n = (size_t)more;
		*done += n;
	}
}

/* Writes all, or as many whole lines as the disk takes; the number of lines not written. */
static uint64_t write_lines(struct logfile *l, const struct iovec *iov, int count)
{
	const struct iovec *from = iov;
	struct stat st;
	off_t torn;
	size_t total = 0;
	int pieces = gather(&from, count);
	for (int i = 0; i < pieces; i++)
		total += from[i].iov_len;
	ssize_t n = writev(l->fd, from, pieces);
	size_t done = n > 0 ? (size_t)n : 0;
	if (done == total)
		return 0;
	if ((n > 0 || errno == EINTR) && write_rest(l->fd, from, pieces, &done))
		return 0;
	l->errnum = errno;
	uint64_t missing = lines_missing(iov, count, done, &torn);
	/* Half a line would be read as a malformed one, together with whatever comes next. */
	if (torn && fstat(l->fd, &st) == 0 && st.st_size >= torn &&
	    ftruncate(l->fd, st.st_size - torn) < 0)
		log_warn("log %s: cannot cut off a torn line", l->name);
	return missing;
}

static bool put_note(struct logfile *l, const char *text, uint64_t n, const char *why)
{
	char stamp[CRILOG_STAMP_SIZE], line[256];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	crilog_stamp(stamp, &now);
	int len = n ? snprintf(line, sizeof line, "%s stderr F crisp: %llu %s: %s\n", stamp,
			       (unsigned long long)n, text, why)
		    : snprintf(line, sizeof line, "%s stderr F crisp: %s\n", stamp, text);
	struct iovec iov = {line, (size_t)len};
	return write_lines(l, &iov, 1) == 0;
}

bool logfile_tell(struct logfile *l)
{
	char why[64];
	if (l->fd < 0)
		return true;
	if (l->lost) {
		if (!put_note(l, "log lines were lost", l->lost, strerrordesc_np(l->errnum)))
			return false;
		log_warn("log %s works again, %llu lines were lost", l->name,
			 (unsigned long long)l->lost);
		l->lost = 0;
	}
	if (l->limit.dropped && !limit_may_tell(&l->limit))
		return false;
	snprintf(why, sizeof why, "limit of %ld bytes a second", l->limit.rate);
	if (l->limit.dropped && put_note(l, "log lines were dropped", l->limit.dropped, why))
		l->limit.dropped = 0;
	return l->limit.dropped == 0;
}

void logfile_remark(struct logfile *l, const char *text)
{
	if (l->fd >= 0)
		(void)put_note(l, text, 0, NULL);
}

void logfile_write(struct logfile *l, int which, const struct iovec *iov, int count)
{
	struct iovec kept[CRILOG_IOV];
	if (l->fd < 0)
		return;
	if (l->limit.rate && l->limit.policy != LIMIT_BLOCK) {
		count = limit_filter(&l->limit, which, iov, count, kept);
		iov = kept;
	}
	if (!count)
		return;
	bool was_good = l->lost == 0;
	if (!was_good || l->limit.dropped)
		(void)logfile_tell(l);
	uint64_t lost = 0;
	off_t torn;
	if (l->lost)
		lost = lines_missing(iov, count, 0, &torn);
	else
		lost = write_lines(l, iov, count);
	l->lost += lost;
	l->lost_total += lost;
	if (was_good && lost)
		log_warn("log %s: %s; lines are being lost", l->name, strerrordesc_np(l->errnum));
}
