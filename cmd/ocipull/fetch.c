/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch.h"

#include "auto.h"
#include "headers.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TRIES = 3,
	FAILURES_MAX = 12,
	FORGIVING =
		64 << 10, /* bytes that one transfer must bring for what failed to be forgotten */
	LOGINS = 2,
	BACKOFF_MS = 400,
	RETRY_AFTER_MAX_S = 20,
	URLS_MAX = 8,
};

/* NULL: all were asked. */
static struct endpoint *endpoint(const struct fetch *f)
{
	/* The one that served last comes first, then the others in their order. */
	size_t i = f->tried == 0 ? f->first : f->tried <= f->first ? f->tried - 1 : f->tried;
	return f->tried < f->reg->count ? &f->reg->ep[i] : NULL;
}

static bool by_tag(const struct fetch *f)
{
	return strncmp(f->path, "manifests/", 10) == 0 &&
	       strncmp(f->path, "manifests/sha256:", 17) != 0;
}

static bool serves(const struct fetch *f, const struct endpoint *ep)
{
	return !ep->lies && !(ep->digest_only && by_tag(f));
}

/* From f->tried on, the next endpoint that is to be asked. */
static bool seek_endpoint(struct fetch *f)
{
	while (f->tried < f->reg->count && !serves(f, endpoint(f)))
		f->tried++;
	return f->tried < f->reg->count;
}

static const char *foreign_url(const struct fetch *f)
{
	if (!json_is_array(f->urls) || f->urls_tried >= URLS_MAX)
		return NULL;
	return json_string_value(json_array_get(f->urls, f->urls_tried));
}

static bool is_web(const char *url)
{
	return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
}

/* Others' URLs: those that are none are passed over. */
static bool seek_url(struct fetch *f)
{
	while (foreign_url(f) && !is_web(foreign_url(f)))
		f->urls_tried++;
	return foreign_url(f);
}

const char *fetch_where(struct fetch *f)
{
	static char text[300];
	const struct endpoint *ep = endpoint(f);
	const char *url = ep ? ep->base : foreign_url(f);
	if (!url)
		return f->reg->ref->host;
	/* What is behind the host may be a secret. */
	const char *host = strstr(url, "://");
	size_t len = host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#@") : 0;
	snprintf(text, sizeof text, "%.*s", len < 250 ? (int)len : 250, url);
	one_line(text);
	return text;
}

static int on_data(void *arg, const char *data, size_t len)
{
	struct fetch *f = arg;
	int rc = f->sink(f->arg, data, len);
	if (rc == HTTP_TAKEN)
		f->received += (long long)len;
	return rc;
}

static void note_source(struct fetch *f)
{
	size_t source = f->tried + f->urls_tried;
	f->mixed = f->received > 0 && (f->mixed || source != f->source);
	f->source = source;
}

static int begin(struct fetch *f, struct err *e)
{
	char url[1600];
	const struct endpoint *ep = endpoint(f);
	const char *foreign = ep ? NULL : foreign_url(f);
	/* A tag may move between two parts. */
	if (f->all) {
		buf_clear(f->all);
		f->received = f->mark = 0;
	}
	note_source(f);
	struct http_spec s = {.url = foreign ? foreign : url,
			      .accept = f->accept,
			      .stall_seconds = f->reg->stall_seconds,
			      .stall_rate = f->reg->stall_rate,
			      .from = f->received,
			      .whole = f->whole,
			      .size = f->size,
			      .sink = on_data,
			      .arg = f};
	if (ep) {
		/* As elsewhere: a mirror is told whose content is wanted. */
		snprintf(url, sizeof url, "%s/v2/%s/%s%s%s", ep->base, ep->repo, f->path,
			 ep->own ? "" : "?ns=", ep->own ? "" : f->reg->ref->host);
		s.tls = &ep->tls;
		s.bearer = ep->bearer;
		f->token = ep->tokens;
		if (ep->basic && !ep->bearer) {
			s.user = ep->auth.user;
			s.password = ep->auth.password;
		}
	}
	log_debug("GET %s", ep ? url : fetch_where(f));
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
			    .size = -1,
			    .error = {.kind = ERR_OK}};
	snprintf(f->path, sizeof f->path, "%s", path);
	if (!seek_endpoint(f)) {
		err_set(&f->error, ERR_BAD_INPUT, "%s and its mirrors gave what was wrong",
			r->ref->host);
		f->state = FETCH_FAILED;
	}
}

void fetch_expect(struct fetch *f, long long size, json_t *urls)
{
	f->size = size;
	f->urls = urls;
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
	f->tries = f->logins = 0;
	f->whole = false;
	if (f->tried < f->reg->count)
		f->tried++;
	else
		f->urls_tried++;
	f->state = seek_endpoint(f) || seek_url(f) ? FETCH_READY : FETCH_FAILED;
}

bool fetch_reject(struct fetch *f, const struct err *why)
{
	struct endpoint *ep = endpoint(f);
	if (f->mixed) {
		/* Whose part was wrong cannot be told: all of it from this one alone. */
		log_debug("%s; the whole again", why->msg);
		http_stop(&f->http);
		f->received = f->mark = 0;
		f->state = FETCH_READY;
		return true;
	}
	if (ep && !ep->own)
		log_warn("%s", why->msg);
	/* It may serve other things rightly, but who would trust it? */
	if (ep)
		ep->lies = true;
	http_stop(&f->http);
	f->received = f->mark = 0;
	next_endpoint(f, why);
	return f->state == FETCH_READY;
}

/* Whether another endpoint is to be asked rather than to wait for this one. */
static bool has_other(const struct fetch *f)
{
	struct fetch copy = {.reg = f->reg, .first = f->first, .tried = f->tried + 1};
	memcpy(copy.path, f->path, sizeof copy.path);
	return endpoint(f) && seek_endpoint(&copy);
}

/* Twice as long each time, and not at the same moment as everybody else. */
static long long backoff_ms(const struct fetch *f)
{
	long long ms = (long long)BACKOFF_MS << (f->tries - 1);
	return ms + (proc_now_ms() * 7919 + getpid()) % (ms / 2);
}

static void retry(struct fetch *f, const struct err *why)
{
	long wait = f->http.retry_after;
	if (f->received > f->mark && !f->all)
		f->tries = f->logins = 0;
	if (f->received - f->mark >= FORGIVING)
		f->failures = 0;
	f->mark = f->received;
	/* A mirror that cannot be reached is not waited for: the next one has the same. */
	bool move_on = f->received == 0 && has_other(f);
	if (++f->tries >= TRIES || ++f->failures >= FAILURES_MAX || move_on) {
		next_endpoint(f, why);
		return;
	}
	long long ms = backoff_ms(f);
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
	AUTO_JSON json_t *j = jsonx_parse(h->error_body.data ? h->error_body.data : "",
					  h->error_body.len, "error", &ignored);
	json_t *first = json_array_get(json_object_get(j, "errors"), 0);
	const char *msg = jsonx_opt_string(first, "message", "");
	if (!*msg)
		msg = jsonx_opt_string(first, "code", "");
	snprintf(out, size, "%s%.200s", *msg ? ": " : "", msg);
	one_line(out);
}

static void judge_status(struct fetch *f)
{
	struct err why;
	char says[256];
	const struct http *h = &f->http;
	long s = h->status;
	registry_says(h, says, sizeof says);
	bool passing = s >= 500 || s == 429 || s == 408;
	enum err_kind kind = s == 404 || s == 410   ? ERR_NOT_FOUND
			     : s == 401 || s == 403 ? ERR_DENIED
			     : s == 429             ? ERR_UNAVAILABLE
			     : s >= 500 || s == 408 ? ERR_REGISTRY
						    : ERR_FAILED;
	err_set(&why, kind, "%s answers %ld%s%s", fetch_where(f), s,
		h->foreign ? " (from where it redirects to)" : "", says);
	if (passing)
		retry(f, &why);
	else
		next_endpoint(f, &why);
}

/* Its ranges are of no use: the whole again, of which we leave out what we have. */
static void without_ranges(struct fetch *f, const struct err *why)
{
	if (f->whole || f->http.spec.from == 0) {
		next_endpoint(f, why);
		return;
	}
	log_debug("%s; the whole again", why->msg);
	f->whole = true;
	f->state = FETCH_READY;
}

static void judge_failure(struct fetch *f)
{
	struct err why;
	const struct http *h = &f->http;
	enum err_kind kind = h->end == HTTP_STALLED && h->body_started          ? ERR_TIMEOUT
			     : h->end == HTTP_MISFIT || h->end == HTTP_MISSIZED ? ERR_BAD_INPUT
										: ERR_REGISTRY;
	err_set(&why, kind, "%s: %s", fetch_where(f), h->why);
	if (h->end == HTTP_GIVEN_UP) {
		/* The sink gave up and knows why. */
		err_set(&f->error, ERR_FAILED, "transfer given up");
		f->state = FETCH_FAILED;
	} else if (h->end == HTTP_MISFIT) {
		without_ranges(f, &why);
	} else if (h->end == HTTP_BROKEN || h->end == HTTP_STALLED) {
		retry(f, &why);
	} else {
		next_endpoint(f, &why);
	}
}

/* Returns -1 only when cancelled. */
static int login(struct fetch *f, struct endpoint *ep, const char *challenge, struct err *e)
{
	struct err why;
	/* Another transfer has got a new token meanwhile. */
	if (ep->tokens != f->token) {
		f->state = FETCH_READY;
		return 0;
	}
	f->logins++;
	if (registry_login(f->reg, ep, challenge, &why) == 0) {
		f->state = FETCH_READY;
		return 0;
	}
	if (why.kind == ERR_CANCELLED) {
		*e = why;
		return -1;
	}
	next_endpoint(f, &why);
	return 0;
}

static void judge_success(struct fetch *f)
{
	struct err why;
	/* A body without a length that ended early. */
	if (f->size >= 0 && f->received < f->size) {
		err_set(&why, ERR_REGISTRY, "%s: the transfer ended after %lld of %lld bytes",
			fetch_where(f), f->received, f->size);
		retry(f, &why);
		return;
	}
	f->state = FETCH_DONE;
	if (endpoint(f))
		f->reg->good = (size_t)(endpoint(f) - f->reg->ep);
}

static int judge(struct fetch *f, struct err *e)
{
	struct err why;
	struct endpoint *ep = endpoint(f);
	const struct http *h = &f->http;
	long s = h->status;
	if (f->received > f->mark && !f->all)
		f->logins = 0;
	if (h->end != HTTP_ANSWERED) {
		judge_failure(f);
	} else if (s == 401 && ep && !h->foreign && f->logins < LOGINS) {
		return login(f, ep, h->challenge.data ? h->challenge.data : "", e);
	} else if (s == 200 || s == 206) {
		judge_success(f);
	} else if (s == 416 && f->received > 0 && f->received == f->size) {
		f->state = FETCH_DONE;
	} else if (s == 416) {
		err_set(&why, ERR_BAD_INPUT, "%s answers 416 to a range from byte %lld",
			fetch_where(f), f->received);
		without_ranges(f, &why);
	} else {
		judge_status(f);
	}
	return 0;
}

int fetch_step(struct fetch *f, struct err *e)
{
	if (f->state == FETCH_RUNNING)
		http_watch(&f->http);
	if (f->state == FETCH_RUNNING && f->http.done && judge(f, e) < 0)
		return -1;
	if (f->state == FETCH_WAITING && proc_now_ms() >= f->retry_at)
		f->state = FETCH_READY;
	if (f->state == FETCH_WAITING)
		engine_wake(f->reg->engine, f->retry_at);
	if (f->state != FETCH_READY)
		return 0;
	struct endpoint *ep = endpoint(f);
	if (ep && endpoint_token_is_stale(ep)) {
		f->token = ep->tokens;
		if (login(f, ep, ep->challenge, e) < 0)
			return -1;
		if (f->state != FETCH_READY)
			return 0;
	}
	return begin(f, e);
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

int fetch_checked(struct fetch *f, struct registry *r, const char *path, const char *accept,
		  const char *what, struct buf *b,
		  int (*check)(void *arg, struct fetch *f, const struct buf *b, struct err *e),
		  void *arg, struct err *e)
{
	struct err why;
	struct whole w = {.b = b};
	fetch_start(f, r, path, accept, take_whole, &w);
	f->all = b;
	for (;;) {
		bool wrong = false;
		if (fetch_step(f, e) < 0)
			return -1;
		if (f->state == FETCH_FAILED && w.too_big) {
			wrong = true;
			err_set(&why, ERR_BAD_INPUT, "%s: more than %zu bytes", fetch_where(f),
				b->limit);
		} else if (f->state == FETCH_DONE) {
			wrong = check && check(arg, f, b, &why) < 0;
			if (!wrong)
				return 0;
		}
		if (wrong) {
			w.too_big = false;
			(void)fetch_reject(f, &why);
			continue;
		}
		if (f->state == FETCH_FAILED)
			break;
		if (f->state != FETCH_READY && engine_wait(r->engine, e) < 0)
			return -1;
	}
	*e = f->error;
	return err_wrap(e, "%s", what);
}

int fetch_whole(struct fetch *f, struct registry *r, const char *path, const char *accept,
		const char *what, struct buf *b, struct err *e)
{
	return fetch_checked(f, r, path, accept, what, b, NULL, NULL, e);
}

void fetch_release(struct fetch *f)
{
	http_release(&f->http);
}
