/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_FETCH_H
#define OCIPULL_FETCH_H
/* One object of a repository from whichever endpoint gives it: asks one endpoint after the other,
 * logs in where that is wanted, tries again after failures that may pass, and goes on in the middle
 * of what has come already.
 *
 *	fetch_start(f, registry, "blobs/sha256:…", NULL, sink, arg);
 *	while (f->state is neither FETCH_DONE nor FETCH_FAILED)
 *		fetch_step(f, e), engine_wait(en, e);
 */
#include "http.h"
#include "registry.h"

enum fetch_state { FETCH_READY, FETCH_RUNNING, FETCH_WAITING, FETCH_DONE, FETCH_FAILED };

struct fetch {
	struct registry *reg;
	char path[200];
	const char *accept;
	int (*sink)(void *arg, const char *data, size_t len);
	void *arg;
	struct http http;
	enum fetch_state state;
	size_t first, tried; /* the endpoint that began, how many were asked */
	int tries;           /* of this endpoint, since it last gave anything */
	int failures;        /* in all */
	bool logged_in;
	long long received, mark;
	long long retry_at;
	struct err error; /* why it failed */
};

void fetch_start(struct fetch *f, struct registry *r, const char *path, const char *accept,
		 int (*sink)(void *arg, const char *data, size_t len), void *arg);
/* -1 only for what ends the whole pull (cancelled). */
int fetch_step(struct fetch *f, struct err *e);
/* All of a small object, at most b->limit bytes; `what` is for messages. */
int fetch_whole(struct fetch *f, struct registry *r, const char *path, const char *accept,
		const char *what, struct buf *b, struct err *e);
void fetch_release(struct fetch *f);
#endif
