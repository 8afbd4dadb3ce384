/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "log.h"
#include "monitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
	*l = (struct logfile){.dir = -1, .fd = -1};
	if (!path || !*path)
		return 0;
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

int logfile_reopen(struct logfile *l, struct err *e)
{
	if (l->dir < 0)
		return err_set(e, ERR_BAD_STATE, "the container has no log");
	int fd = open_log(l, e);
	if (fd < 0)
		return -1;
	auto_close(&l->fd);
	l->fd = fd;
	return 0;
}

void logfile_close(struct logfile *l)
{
	auto_close(&l->fd);
	auto_close(&l->dir);
	l->fd = l->dir = -1;
}

static uint64_t count_lines(const struct iovec *iov, int count)
{
	uint64_t n = 0;
	for (int i = 0; i < count; i++)
		n += ((const char *)iov[i].iov_base)[iov[i].iov_len - 1] == '\n';
	return n;
}

/* Of the bytes written, those after the last whole line. */
static off_t torn_bytes(const struct iovec *iov, int count, size_t done)
{
	off_t torn = 0;
	for (int i = 0; i < count && done > 0; i++) {
		size_t n = iov[i].iov_len < done ? iov[i].iov_len : done;
		bool ended = n == iov[i].iov_len && ((const char *)iov[i].iov_base)[n - 1] == '\n';
		torn = ended ? 0 : torn + (off_t)n;
		done -= n;
	}
	return torn;
}

/* Writes all, or as many whole lines as the disk takes; the number of lines not written. */
static uint64_t write_lines(struct logfile *l, const struct iovec *iov, int count)
{
	struct iovec rest[CRILOG_IOV];
	size_t done = 0;
	struct stat st;
	int at = 0;
	memcpy(rest, iov, (size_t)count * sizeof *iov);
	while (at < count) {
		ssize_t n = writev(l->fd, rest + at, count - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
		for (; at < count && (size_t)n >= rest[at].iov_len; at++)
			n -= (ssize_t)rest[at].iov_len;
		if (at < count) {
			rest[at].iov_base = (char *)rest[at].iov_base + n;
			rest[at].iov_len -= (size_t)n;
		}
	}
	if (at == count)
		return 0;
	l->errnum = errno;
	off_t torn = torn_bytes(iov, count, done);
	/* Half a line would be read as a malformed one, together with whatever comes next. */
	if (torn && fstat(l->fd, &st) == 0 && st.st_size >= torn &&
	    ftruncate(l->fd, st.st_size - torn) < 0)
		log_warn("log %s: cannot cut off a torn line", l->name);
	return count_lines(rest + at, count - at);
}

/* The first line after a gap says how many are missing. */
static bool note_loss(struct logfile *l)
{
	char stamp[CRILOG_STAMP_SIZE], line[256];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	crilog_stamp(stamp, &now);
	int n = snprintf(line, sizeof line, "%s stderr F crisp: %llu log lines were lost: %s\n",
			 stamp, (unsigned long long)l->lost, strerrordesc_np(l->errnum));
	struct iovec iov = {line, (size_t)n};
	if (write_lines(l, &iov, 1))
		return false;
	log_warn("log %s works again, %llu lines were lost", l->name, (unsigned long long)l->lost);
	l->lost = 0;
	return true;
}

void logfile_write(struct logfile *l, const struct iovec *iov, int count)
{
	if (l->fd < 0)
		return;
	bool was_good = l->lost == 0;
	uint64_t lost =
		was_good || note_loss(l) ? write_lines(l, iov, count) : count_lines(iov, count);
	l->lost += lost;
	l->lost_total += lost;
	if (was_good && lost)
		log_warn("log %s: %s; lines are being lost", l->name, strerrordesc_np(l->errnum));
}
