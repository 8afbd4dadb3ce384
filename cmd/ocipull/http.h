/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_HTTP_H
#define OCIPULL_HTTP_H
/* One HTTP transfer by libcurl. http_start, then engine_wait and http_watch until `done`; then `end`
 * says how it went. The body of a successful answer goes to `sink`, that of an error answer into
 * `error_body`.
 *
 * Redirects are followed here and not by libcurl, a few of them, never from https to http: another
 * scheme, host or port gets neither credentials nor the client certificate, and `foreign` says that
 * the answer is not from whom was asked. Nothing that a server sends is without bound but the body,
 * and that one's bound is the sink's. */
#include "buf.h"
#include "engine.h"
#include "err.h"

#include <stdbool.h>

struct http_tls {
	const char *ca, *cert, *key; /* files; NULL = the system's, none, none */
	const char *more_ca;         /* PEM text of authorities beside the system's */
	bool insecure;
};

struct http_spec {
	const char *url, *accept, *post;      /* accept, post: NULL = none */
	const char *user, *password, *bearer; /* NULL = none */
	const struct http_tls *tls;           /* NULL = the system's */
	long stall_seconds, stall_rate; /* slower than this many bytes/s for so long ends it */
	long long from;                 /* bytes of the body to leave out at its start */
	bool whole;                     /* leave them out here, do not ask for a range */
	long long size;                 /* of the whole body, -1 = not known */
	/* Takes all of the bytes, or none and returns HTTP_LATER (http_resume goes on), or fails
	 * with HTTP_FAIL. Time in which the transfer is held up by the sink is no stall. */
	int (*sink)(void *arg, const char *data, size_t len);
	void *arg;
};
enum { HTTP_TAKEN, HTTP_LATER, HTTP_FAIL };

enum http_end {
	HTTP_ANSWERED, /* status, and the body if the status is one of success */
	HTTP_BROKEN,   /* another try may go better */
	HTTP_STALLED,
	HTTP_HOPELESS, /* another try would end the same */
	HTTP_MISFIT,   /* the range that came is not the one asked for */
	HTTP_MISSIZED, /* it announces another size */
	HTTP_GIVEN_UP, /* the sink failed */
};

struct http {
	CURL *easy;
	struct engine *engine;
	struct curl_slist *headers;
	struct http_spec spec; /* its strings but the url are the caller's */
	char *url;             /* in use: after a redirect the new one */
	long long skip;        /* still to leave out */
	bool active, done, paused, body_started, foreign, error_full;
	int hops;
	size_t header_bytes;
	enum http_end end;
	bool ended; /* `end` and `why` are set already */
	long status;
	char content_type[128], content_digest[80], content_range[80];
	struct buf challenge; /* all WWW-Authenticate headers, joined by commas */
	long retry_after;
	struct buf error_body;
	char why[CURL_ERROR_SIZE]; /* unless HTTP_ANSWERED */
	char curl_says[CURL_ERROR_SIZE];
	/* Stalls: when it was last looked at and was last fast enough, and what has come since. */
	long long looked_ms, fast_ms, came;
	bool was_paused;
};

int http_start(struct http *h, struct engine *en, const struct http_spec *s, struct err *e);
/* To be called after each wait: ends a transfer that has stalled. */
void http_watch(struct http *h);
void http_resume(struct http *h);
void http_finished(struct http *h, CURLcode code); /* for engine.c */
/* Ends a transfer under way; the handle can be used again. */
void http_stop(struct http *h);
void http_release(struct http *h);
#endif
