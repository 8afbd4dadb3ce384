/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSHIM_STREAMS_H
#define CTRSHIM_STREAMS_H
/* The streams of one process: a shim reads and writes FIFOs, the caller has given descriptors (its 0,
 * 1, 2) or a socket that wants the master of a terminal. Between them bytes are moved as they come;
 * who cannot write holds the other side up, as a pipe would.
 *
 * With a console socket we make a terminal of our own, raw, whose other end is the caller's; the real
 * one is the shim's. Its size is passed on (streams_size). */
#include "err.h"
#include "loop.h"

#include <stdbool.h>

enum { STREAMS = 3, PUMP_SIZE = 65536 };

struct streams;
struct pump {
	struct watch in, out;
	int from, to; /* -1 = not in use */
	char *bytes;
	size_t at, len;
	bool ended;
	bool out_is_gone; /* what comes is read and dropped */
	struct streams *s;
};
struct streams {
	struct loop *loop;
	int dir;             /* of the FIFOs */
	char *path[STREAMS]; /* as the shim is told; NULL = none */
	struct pump pump[STREAMS];
	int terminal;      /* the slave of ours, -1 = none */
	int held[STREAMS]; /* the caller's descriptors, held until the end */
	bool is_raw;       /* the caller's own terminal is to be restored */
	void (*input_ended)(void *arg);
	void (*output_ended)(void *arg);
	void *arg;
};

/* Takes descriptors 0 to 2 away (they become /dev/null, 2 becomes `log`) and makes the FIFOs in dir
 * (path: the directory's). terminal without console: the caller's descriptors are the terminal. */
int streams_open(struct streams *s, struct loop *l, int dir, const char *path, bool terminal,
		 const char *console, int log, struct err *e);
int streams_begin(struct streams *s, struct err *e);
/* Have all that the shim writes to ended? */
bool streams_drained(const struct streams *s);
/* The terminal's size; false without a terminal. */
bool streams_size(const struct streams *s, int *width, int *height);
void streams_set_size(const struct streams *s, int width, int height);
void streams_close(struct streams *s);
#endif
