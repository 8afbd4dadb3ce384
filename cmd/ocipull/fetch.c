/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"

#include <stdio.h>
#include <string.h>

enum { TRIES = 3, FAILURES_MAX = 12, BACKOFF_MS = 400, RETRY_AFTER_MAX_S = 20 };

static struct endpoint *endpoint(struct fetch *f)
{
	/* The one that served last comes first, then the others in their order. */
	size_t i = f->tried == 0 ? f->first : f->tried <= f->first ? f->tried - 1 : f->tried;
	return &f->reg->ep[i];
}

static int on_data(void *arg, const char *data, size_t len)
{
	struct fetch *f = arg;
	int rc = f->sink(f->arg, data, len);
	if (rc == HTTP_TAKEN)
		f->received += (long long)len;
	return rc;
}

static int begin(struct fetch *f, struct err *e)
{
	char url[1200];
	struct endpoint *ep = endpoint(f);
	/* As elsewhere: a mirror is told whose content is wanted. */
	snprintf(url, sizeof url, "%s/v2/%s%s/%s%s%s", ep->base, ep->prefix, f->reg->ref->path,
		 f->path, ep->own ? "" : "?ns=", ep->own ? "" : f->reg->ref->host);
	struct http_spec s = {.url = url,
			      .accept = f->accept,
			      .tls = &ep->http_tls,
			      .stall_seconds = f->reg->stall_seconds,
			      .from = f->received,
			      .bearer = ep->bearer,
			      .sink = on_data,
			      .arg = f};
	if (ep->basic && !ep->bearer) {
		s.user = ep->auth.user;
		s.password = ep->auth.password;
	}
	log_debug("GET %s", url);
	f->state = FETCH_RUNNING;
	return http_start(&f->http, f->reg->engine, &s, e);
}

void fetch_start(struct fetch *f, struct registry *r, const char *path, const char *accept,
		 int (*sink)(void *arg, const char *data, size_t len), void *arg)
{
	http_stop(&f->http);
	struct http h = f->http;
	*f = (struct fetch){.reg = r,
			    .accept = accept,
			    .sink = sink,
			    .arg = arg,
			    .http = h,
			    .first = r->good,
			    .error = {.kind = ERR_OK}};
	snprintf(f->path, sizeof f->path, "%s", path);
}

/* An answer says more than no answer: "not found" from a mirror is not covered up by a registry
 * that cannot be reached. */
static void keep_error(struct fetch *f, const struct err *why)
{
	bool answer = why->kind != ERR_REGISTRY && why->kind != ERR_TIMEOUT;
	bool had = f->error.kind != ERR_OK && f->error.kind != ERR_REGISTRY &&
		   f->error.kind != ERR_TIMEOUT;
	if (answer || !had)
		f->error = *why;
}

static void next_endpoint(struct fetch *f, const struct err *why)
{
	keep_error(f, why);
	log_debug("%s", why->msg);
	f->tries = 0;
	f->logged_in = false;
	f->state = ++f->tried < f->reg->count ? FETCH_READY : FETCH_FAILED;
}

static void retry(struct fetch *f, const struct err *why)
{
	long wait = f->http.retry_after;
	if (f->received > f->mark)
		f->tries = 0;
	f->mark = f->received;
	/* A mirror that cannot be reached is not waited for: the next one has the same. */
	bool last = f->tried + 1 == f->reg->count || f->received > 0;
	if (++f->tries >= TRIES || ++f->failures >= FAILURES_MAX || !last) {
		next_endpoint(f, why);
		return;
	}
	long long ms = (long long)BACKOFF_MS << (f->tries - 1);
	if (wait > 0)
		ms = wait < RETRY_AFTER_MAX_S ? wait * 1000 : RETRY_AFTER_MAX_S * 1000;
	log_debug("%s; again in %lld ms", why->msg, ms);
	f->retry_at = proc_now_ms() + ms;
	f->state = FETCH_WAITING;
}

/* What a registry says in the body of an error, or "". */
static void registry_says(const struct http *h, char *out, size_t size)
{
	struct err ignored;
	AUTO_JSON json_t *j = jsonx_parse(h->error_body.data, h->error_body.len, "error", &ignored);
	json_t *first = json_array_get(json_object_get(j, "errors"), 0);
	const char *msg = jsonx_opt_string(first, "message", "");
	snprintf(out, size, "%s%.200s", *msg ? ": " : "", msg);
}

static void judge_status(struct fetch *f)
{
	struct err why;
	char says[256];
	const struct http *h = &f->http;
	long s = h->status;
	registry_says(h, says, sizeof says);
	bool passing = s >= 500 || s == 429 || s == 408;
	enum err_kind kind = s == 404               ? ERR_NOT_FOUND
			     : s == 401 || s == 403 ? ERR_DENIED
			     : s == 429             ? ERR_UNAVAILABLE
			     : passing              ? ERR_REGISTRY
						    : ERR_FAILED;
	err_set(&why, kind, "%s answers %ld%s", endpoint(f)->base, s, says);
	if (passing)
		retry(f, &why);
	else
		next_endpoint(f, &why);
}

static void judge_curl(struct fetch *f)
{
	struct err why;
	const struct http *h = &f->http;
	bool stalled = h->code == CURLE_OPERATION_TIMEDOUT && h->body_started;
	bool tls = h->code == CURLE_PEER_FAILED_VERIFICATION || h->code == CURLE_SSL_CACERT_BADFILE;
	const char *text = *h->why ? h->why : curl_easy_strerror(h->code);
	err_set(&why, stalled ? ERR_TIMEOUT : ERR_REGISTRY, "%s: %s", endpoint(f)->base, text);
	if (tls || h->code == CURLE_URL_MALFORMAT || h->code == CURLE_TOO_MANY_REDIRECTS ||
	    h->code == CURLE_UNSUPPORTED_PROTOCOL)
		next_endpoint(f, &why);
	else
		retry(f, &why);
}

static int judge(struct fetch *f, struct err *e)
{
	struct err why;
	struct endpoint *ep = endpoint(f);
	const struct http *h = &f->http;
	if (h->code == CURLE_WRITE_ERROR) {
		/* The sink gave up and knows why. */
		err_set(&f->error, ERR_FAILED, "transfer given up");
		f->state = FETCH_FAILED;
		return 0;
	}
	if (h->status == 401 && !f->logged_in) {
		f->logged_in = true;
		if (registry_login(f->reg, ep, h->challenge, &why) == 0) {
			f->state = FETCH_READY;
		} else if (why.kind == ERR_CANCELLED) {
			*e = why;
			return -1;
		} else {
			next_endpoint(f, &why);
		}
		return 0;
	}
	if (h->code != CURLE_OK && !(h->status >= 400))
		judge_curl(f);
	else if (h->status == 200 || h->status == 206 || (h->status == 416 && f->received > 0))
		f->state = FETCH_DONE;
	else
		judge_status(f);
	if (f->state == FETCH_DONE)
		f->reg->good = (size_t)(ep - f->reg->ep);
	return 0;
}

int fetch_step(struct fetch *f, struct err *e)
{
	if (f->state == FETCH_RUNNING && f->http.done && judge(f, e) < 0)
		return -1;
	if (f->state == FETCH_WAITING && proc_now_ms() >= f->retry_at)
		f->state = FETCH_READY;
	if (f->state == FETCH_WAITING)
		engine_wake(f->reg->engine, f->retry_at);
	if (f->state == FETCH_READY)
		return begin(f, e);
	return 0;
}

struct whole {
	struct buf *b;
	bool too_big;
};

static int take_whole(void *arg, const char *data, size_t len)
{
	struct whole *w = arg;
	struct err ignored;
	w->too_big = buf_add(w->b, data, len, &ignored) < 0;
	return w->too_big ? HTTP_FAIL : HTTP_TAKEN;
}

int fetch_whole(struct fetch *f, struct registry *r, const char *path, const char *accept,
		const char *what, struct buf *b, struct err *e)
{
	struct whole w = {.b = b};
	fetch_start(f, r, path, accept, take_whole, &w);
	for (;;) {
		if (fetch_step(f, e) < 0)
			return -1;
		if (f->state == FETCH_DONE)
			return 0;
		if (f->state == FETCH_FAILED)
			break;
		if (engine_wait(r->engine, e) < 0)
			return -1;
	}
	if (w.too_big)
		return err_set(e, ERR_BAD_INPUT, "%s: more than %zu bytes", what, b->limit);
	*e = f->error;
	return err_wrap(e, "%s", what);
}

void fetch_release(struct fetch *f)
{
	http_release(&f->http);
}
