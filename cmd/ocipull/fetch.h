/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_FETCH_H
#define OCIPULL_FETCH_H
/* One object of a repository from whichever endpoint gives it: asks one endpoint after the other,
 * logs in where that is wanted, tries again after failures that may pass, and goes on in the middle
 * of what has come already.
 *
 *	fetch_start(f, registry, "blobs/sha256:…", NULL, sink, arg);
 *	fetch_expect(f, size, urls);
 *	while (f->state is neither FETCH_DONE nor FETCH_FAILED)
 *		fetch_step(f, e), engine_wait(en, e);
 *
 * Whoever finds that the bytes are wrong may ask the other endpoints by fetch_reject. */
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
	size_t first, tried; /* the endpoint that began, how many were looked at */
	json_t *urls;        /* borrowed; where else it may be, once no endpoint has it */
	size_t urls_tried;
	int tries;       /* of this endpoint, since it last gave anything */
	int failures;    /* since so much came at once that they are forgiven */
	int logins;      /* of this endpoint, since it last gave anything */
	unsigned token;  /* which of the endpoint's tokens was shown */
	bool whole;      /* this endpoint's ranges are of no use */
	long long size;  /* -1 = not known */
	struct buf *all; /* where the sink puts it; then a broken transfer begins anew */
	long long received, mark;
	size_t source; /* which of the endpoints and URLs it came from last */
	bool mixed;    /* and some of it from another */
	long long retry_at;
	struct err error; /* why it failed */
};

void fetch_start(struct fetch *f, struct registry *r, const char *path, const char *accept,
		 int (*sink)(void *arg, const char *data, size_t len), void *arg);
/* How many bytes it must be, and where else it may be had (a descriptor's "urls", NULL = nowhere). */
void fetch_expect(struct fetch *f, long long size, json_t *urls);
/* -1 only for what ends the whole pull (cancelled). */
int fetch_step(struct fetch *f, struct err *e);
/* What has come from the endpoint (all of it, or so far) is wrong: start again with the next one,
 * from the first byte; or with the same, when an earlier one gave a part of it. False: there is none,
 * and f->error says why. */
bool fetch_reject(struct fetch *f, const struct err *why);
/* Where the bytes come from: scheme://host[:port]. */
const char *fetch_where(struct fetch *f);

/* All of a small object, at most b->limit bytes; `what` is for messages. */
int fetch_whole(struct fetch *f, struct registry *r, const char *path, const char *accept,
		const char *what, struct buf *b, struct err *e);
/* The same, from an endpoint whose bytes `check` finds right (0; or -1 with the reason). */
int fetch_checked(struct fetch *f, struct registry *r, const char *path, const char *accept,
		  const char *what, struct buf *b,
		  int (*check)(void *arg, struct fetch *f, const struct buf *b, struct err *e),
		  void *arg, struct err *e);
void fetch_release(struct fetch *f);
#endif
