/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_LOGREAD_H
#define CTRRUN_LOGREAD_H
/* Reading a log in the CRI's format that may be written to, renamed and replaced meanwhile. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct logline {
	const char *stamp; /* stamp_len 0: the line is not of the format, text is all of it */
	size_t stamp_len;
	int stream; /* 0 stdout, 1 stderr */
	bool partial;
	const char *text; /* without the newline */
	size_t len;
};

struct logread {
	const char *path;
	int fd;
	off_t at;
	struct buf held; /* a line whose end has not come */
};
#define LOGREAD_NONE ((struct logread){.fd = -1})

/* tail: begin so many lines before the end, -1 = at the beginning. */
int logread_open(struct logread *r, const char *path, long tail, struct err *e);
/* Every whole line up to the present end. */
int logread_some(struct logread *r, void (*show)(void *arg, const struct logline *l), void *arg,
		 struct err *e);
/* Another file has the name by now: go on there. */
bool logread_next(struct logread *r);
void logread_close(struct logread *r);
#endif
