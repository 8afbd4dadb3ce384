/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRICALL_REPLAY_H
#define CRICALL_REPLAY_H
/* Send the calls of a record (tape.h) to a server, one after the other, and compare codes and
 * answers (compare.h).
 *
 * A read that is not what was recorded may only be early: it is repeated for `settle` seconds. It may
 * be late as well, when the record's server said it in the same read at a later time: then it is the
 * same. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>

struct replay_opts {
	const char *socket, *file;
	size_t max_message;
	double timeout; /* seconds for each call; < 0: none */
	double settle;
	bool json;
};

/* 0 all the same, 1 something differs, -1 with *e: could not run, whose exit status is never 1. */
int replay(const struct replay_opts *o, struct err *e);
#endif
