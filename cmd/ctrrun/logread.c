/* SPDX-License-Identifier: Apache-2.0 */
#include "logread.h"

#include "auto.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 16, LINE_MAX_BYTES = 4 << 20, HEAD_MAX = 64 };

/* "2026-08-22T10:00:00.123456789Z stdout F text" */
static struct logline parse(const char *line, size_t len)
{
	struct logline l = {.text = line, .len = len};
	const char *end = line + len;
	const char *a = memchr(line, ' ', len < HEAD_MAX ? len : HEAD_MAX);
	if (!a || end - a < 10 || (memcmp(a, " stdout ", 8) != 0 && memcmp(a, " stderr ", 8) != 0))
		return l;
	/* The tag may have more words: "P:…", as long as a blank ends it. */
	const char *b = memchr(a + 8, ' ', (size_t)(end - a - 8));
	if (!b || (a[8] != 'P' && a[8] != 'F'))
		return l;
	return (struct logline){
		.stamp = line,
		.stamp_len = (size_t)(a - line),
		.stream = a[4] == 'e',
		.partial = a[8] == 'P',
		.text = b + 1,
		.len = (size_t)(end - b - 1),
	};
}

static bool is_full(int fd, off_t at)
{
	char head[HEAD_MAX + 16];
	ssize_t n = pread(fd, head, sizeof head, at);
	const char *nl = n > 0 ? memchr(head, '\n', (size_t)n) : NULL;
	return n <= 0 || !parse(head, nl ? (size_t)(nl - head) : (size_t)n).partial;
}

/* Where the last `lines` lines begin; the pieces of a line are one. */
static off_t tail_at(int fd, long lines)
{
	static char chunk[CHUNK];
	off_t begin = lseek(fd, 0, SEEK_END), after = begin;
	long seen = 0;
	while (begin > 0) {
		size_t n = begin < CHUNK ? (size_t)begin : CHUNK;
		begin -= (off_t)n;
		if (pread(fd, chunk, n, begin) != (ssize_t)n)
			return 0;
		for (size_t i = n; i-- > 0;) {
			if (chunk[i] != '\n')
				continue;
			off_t line = begin + (off_t)i + 1;
			if (line == after)
				continue;
			/* The line from here to `after`. */
			if (is_full(fd, line) && ++seen > lines)
				return after;
			after = line;
		}
	}
	return after > 0 && is_full(fd, 0) && ++seen > lines ? after : 0;
}

int logread_open(struct logread *r, const char *path, long tail, struct err *e)
{
	struct stat st;
	r->path = path;
	r->held = BUF_INIT(LINE_MAX_BYTES);
	r->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (r->fd < 0)
		return err_sys(e, "open log %s", path);
	if (fstat(r->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "log %s: not a regular file", path);
	r->at = tail < 0 ? 0 : tail_at(r->fd, tail);
	return 0;
}

static void split(struct logread *r, void (*show)(void *arg, const struct logline *l), void *arg)
{
	const char *at = r->held.data, *end = at + r->held.len, *nl;
	while (at < end && (nl = memchr(at, '\n', (size_t)(end - at)))) {
		struct logline l = parse(at, (size_t)(nl - at));
		show(arg, &l);
		at = nl + 1;
	}
	size_t rest = (size_t)(end - at);
	if (rest)
		memmove(r->held.data, at, rest);
	r->held.len = rest;
}

int logread_some(struct logread *r, void (*show)(void *arg, const struct logline *l), void *arg,
		 struct err *e)
{
	static char chunk[CHUNK];
	struct stat st;
	/* Cut short under us (copytruncate): what it has now is new. */
	if (fstat(r->fd, &st) == 0 && st.st_size < r->at) {
		r->at = 0;
		r->held.len = 0;
	}
	for (;;) {
		ssize_t n = pread(r->fd, chunk, sizeof chunk, r->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read log %s", r->path);
		if (n == 0)
			return 0;
		r->at += n;
		if (buf_add(&r->held, chunk, (size_t)n, e) < 0)
			return err_wrap(e, "log %s: a line", r->path);
		split(r, show, arg);
	}
}

bool logread_next(struct logread *r)
{
	struct stat now, named;
	int fd = open(r->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (fstat(fd, &named) < 0 || fstat(r->fd, &now) < 0 || !S_ISREG(named.st_mode) ||
	    (now.st_ino == named.st_ino && now.st_dev == named.st_dev)) {
		close(fd);
		return false;
	}
	/* The monitor may have written to the old one up to the moment it made this. */
	if (now.st_size > r->at) {
		close(fd);
		return true;
	}
	close(r->fd);
	r->fd = fd;
	r->at = 0;
	return true;
}

void logread_close(struct logread *r)
{
	auto_close(&r->fd);
	buf_release(&r->held);
}
