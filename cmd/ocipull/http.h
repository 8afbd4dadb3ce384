/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_HTTP_H
#define OCIPULL_HTTP_H
/* One HTTP transfer by libcurl. Credentials go to the host of the URL only, never along with a
 * redirect to another one. http_start, then engine_wait until `done`; then the result is to read.
 * The body of a successful answer goes to `sink`, that of an error answer into `error_body`. */
#include "buf.h"
#include "engine.h"
#include "err.h"

#include <stdbool.h>

struct http_tls {
	const char *ca, *cert, *key; /* NULL = the system's, none, none */
	bool insecure;
};

struct http_spec {
	const char *url, *accept, *post;      /* accept, post: NULL = none */
	const char *user, *password, *bearer; /* NULL = none */
	const struct http_tls *tls;
	long stall_seconds; /* without progress that end the transfer; 0 = for ever */
	long long from;     /* bytes of the body to leave out at its start */
	/* Takes all of the bytes, or none and returns HTTP_LATER (http_resume goes on), or fails
	 * with HTTP_FAIL. */
	int (*sink)(void *arg, const char *data, size_t len);
	void *arg;
};
enum { HTTP_TAKEN, HTTP_LATER, HTTP_FAIL };

struct http {
	CURL *easy;
	struct engine *engine;
	struct curl_slist *headers;
	int (*sink)(void *arg, const char *data, size_t len);
	void *arg;
	long long skip; /* still to leave out */
	bool active, done, paused, body_started;
	CURLcode code;
	long status;
	char content_type[128], challenge[1024], content_digest[80];
	long retry_after;
	struct buf error_body;
	char why[CURL_ERROR_SIZE];
};

int http_start(struct http *h, struct engine *en, const struct http_spec *s, struct err *e);
void http_resume(struct http *h);
void http_finished(struct http *h, CURLcode code); /* for engine.c */
/* Ends a transfer under way; the handle can be used again. */
void http_stop(struct http *h);
void http_release(struct http *h);
#endif
