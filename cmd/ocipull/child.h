/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_CHILD_H
#define OCIPULL_CHILD_H
/* The parent's side of the two kinds of children: the one that unpacks (unpack.h), and a copy of
 * ourselves that does what may block for long. Neither outlives us. */
#include "buf.h"
#include "digest.h"
#include "engine.h"
#include "err.h"
#include "proc.h"

#include <stdbool.h>

struct unpacker {
	struct proc proc;
	int in, out;              /* our ends of its stdin and stdout, -1 = closed */
	struct buf report;        /* unpack.h */
	struct buf pending;       /* bytes that did not fit into the pipe */
	bool can_write, can_read; /* engine_watch's */
	bool broken;              /* it takes no more input */
	bool ended;
	/* When it has ended: */
	bool failed;
	struct err error;
	char hex[DIGEST_HEX_LEN + 1];
	long long bytes;
	unsigned long long inodes, usage;
};
#define UNPACKER_NONE ((struct unpacker){.proc = PROC_NONE, .in = -1, .out = -1})

struct unpack_limits {
	unsigned long long bytes, entries, ratio; /* config.h, unpack_max_*; 0 = no limit */
};
/* An archive of files into dir, read from input. */
int unpacker_start_files(struct unpacker *u, int dir, int input, const struct unpack_limits *max,
			 struct err *e);
/* A layer, whose bytes come by unpacker_feed; its recipe is written to that descriptor. */
int unpacker_start_layer(struct unpacker *u, int dir, int recipe, const struct unpack_limits *max,
			 struct err *e);
/* False: not now, pending bytes are in the way. Bytes for one that takes no more are dropped. */
bool unpacker_feed(struct unpacker *u, const void *data, size_t len);
void unpacker_finish_input(struct unpacker *u); /* once pending is empty */
void unpacker_watch(struct unpacker *u, struct engine *en);
/* After a wait: moves bytes; sets ended and what goes with it. */
int unpacker_step(struct unpacker *u, struct err *e);
/* Call fn for each path of the report with that letter. */
int unpacker_each(const struct unpacker *u, char letter,
		  int (*fn)(void *arg, const char *path, struct err *e), void *arg, struct err *e);
void unpacker_signal(const struct unpacker *u); /* SIGKILL; unpacker_kill is still to follow */
void unpacker_kill(struct unpacker *u);         /* and release; harmless on UNPACKER_NONE */

struct helper {
	struct proc proc;
	int answer; /* its error comes there */
	bool ready;
};
#define HELPER_NONE ((struct helper){.proc = PROC_NONE, .answer = -1})
/* Run `call` on fd in a child that has no other descriptor; its result 0 is success. */
int helper_start(struct helper *h, int (*call)(int fd), int fd, struct err *e);
/* The same for more than a system call: it has the descriptors of keep (-1 at the end) and our
 * memory as it is now; its error becomes helper_step's. */
int helper_call(struct helper *h, int (*call)(void *arg, struct err *e), void *arg, const int *keep,
		struct err *e);
void helper_watch(struct helper *h, struct engine *en);
/* 1 done, 0 not yet, -1 failed. */
int helper_step(struct helper *h, struct err *e);
void helper_kill(struct helper *h);
int helper_wait_lock(int fd); /* takes an OFD lock, which is the parent's too */
int helper_sync(int fd);      /* syncfs */
#endif
