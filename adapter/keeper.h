/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_KEEPER_H
#define CRISP_KEEPER_H
/* The process of a tool that stands at a turnstile (turnstile.h) and forks for each run: started with the first, gone
 * KEEPER_IDLE_MS after the last, and replaced when the tool was. */
#include "crispd.h"

struct keeper;

enum { KEEPER_IDLE_MS = 60000 };

struct keeper *keeper_new(struct crispd *d, const char *tool, const char *verb);
/* Runs under way go on, each by its gate. */
void keeper_free(struct keeper *k);
void keeper_drop(struct keeper *k); /* command lines may be others from now on */

/* One run with these words (NULL-terminated) after the verb, for the request `req`: our end of its gate, which does
 * not block. The streams (stdin, stdout, stderr) stay the caller's. -1 when it cannot be, of which nothing has come: the
 * tool is a script, the words are too many, or too many runs come at once. */
int keeper_run(struct keeper *k, const char *const *words, const char *req, const int streams[3],
	       struct err *e);
#endif
