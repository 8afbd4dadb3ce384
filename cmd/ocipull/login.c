/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "credhelper.h"
#include "headers.h"
#include "jsonx.h"
#include "proc.h"
#include "registry.h"
#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ANSWER_MAX = 1 << 20,
	TOKEN_MAX = 64 << 10,
	HELPER_SECONDS = 30,
	TOKEN_SECONDS = 60, /* what the protocol says of a token that does not say */
};

static int take(void *arg, const char *data, size_t len)
{
	struct err ignored;
	return buf_add(arg, data, len, &ignored) < 0 ? HTTP_FAIL : HTTP_TAKEN;
}

static void add_query(CURL *c, struct buf *b, char sep, const char *name, const char *value)
{
	struct err ignored;
	char *text = *value ? curl_easy_escape(c, value, 0) : NULL;
	if (text)
		(void)buf_addf(b, &ignored, "%c%s=%s", sep, name, text);
	curl_free(text);
}

static int set_bearer(struct endpoint *ep, const char *token, long long seconds)
{
	free(ep->bearer);
	ep->bearer = xstrdup(token);
	ep->tokens++;
	/* A little before its end, so that it does not die on the way. */
	ep->stale_at = seconds < 0 ? 0 : proc_now_ms() + (seconds * 9 / 10) * 1000;
	return 0;
}

bool endpoint_token_is_stale(const struct endpoint *ep)
{
	return ep->bearer && ep->challenge && ep->stale_at && proc_now_ms() >= ep->stale_at;
}

/* For messages: whom we asked, without what we asked. */
static void name_server(const char *url, char out[200])
{
	size_t n = strcspn(url, "?");
	snprintf(out, 200, "token server %.*s", n < 180 ? (int)n : 180, url);
	one_line(out);
}

static int take_token(struct endpoint *ep, const struct buf *b, const char *who, struct err *e)
{
	AUTO_JSON json_t *j = auth_parse(b->data, b->len, who, e);
	if (!j)
		return -1;
	const char *token = jsonx_opt_string(j, "token", "");
	if (!*token)
		token = jsonx_opt_string(j, "access_token", "");
	if (!*token || strpbrk(token, "\r\n") || strlen(token) > TOKEN_MAX)
		return err_set(e, ERR_DENIED, "%s gives no token", who);
	json_int_t seconds = jsonx_opt_int(j, "expires_in", TOKEN_SECONDS);
	if (seconds < 0 || seconds > 7 * 86400)
		seconds = TOKEN_SECONDS;
	return set_bearer(ep, token, (long long)seconds);
}

/* The token server's answer into ep->bearer; *status what it answered, 0 = nothing. */
static int ask(struct registry *r, struct endpoint *ep, const struct http_spec *s, long *status,
	       struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(ANSWER_MAX);
	struct http h = {.easy = NULL};
	struct http_spec spec = *s;
	char who[200];
	name_server(s->url, who);
	spec.sink = take;
	spec.arg = &b;
	spec.size = -1;
	spec.stall_seconds = r->stall_seconds;
	spec.stall_rate = r->stall_rate;
	spec.tls = &ep->tls;
	int rc = http_start(&h, r->engine, &spec, e);
	while (rc == 0 && !h.done) {
		rc = engine_wait(r->engine, e);
		http_watch(&h);
	}
	*status = rc == 0 && h.end == HTTP_ANSWERED ? h.status : 0;
	if (rc == 0 && h.end == HTTP_GIVEN_UP)
		rc = err_set(e, ERR_DENIED, "%s: more than %d bytes", who, ANSWER_MAX);
	else if (rc == 0 && h.end != HTTP_ANSWERED)
		rc = err_set(e, ERR_REGISTRY, "%s: %s", who, h.why);
	else if (rc == 0 && h.status != 200)
		rc = err_set(e,
			     h.status >= 500   ? ERR_REGISTRY
			     : h.status == 429 ? ERR_UNAVAILABLE
					       : ERR_DENIED,
			     "%s answers %ld", who, h.status);
	http_release(&h);
	rc = rc < 0 ? -1 : take_token(ep, &b, who, e);
	if (b.data)
		explicit_bzero(b.data, b.len);
	return rc;
}

/* A server hiccup must not end a pull of many minutes. */
static int ask_twice(struct registry *r, struct endpoint *ep, const struct http_spec *s,
		     long *status, struct err *e)
{
	enum { AGAIN_MS = 700 };
	int rc = ask(r, ep, s, status, e);
	if (rc == 0 || (e->kind != ERR_REGISTRY && e->kind != ERR_UNAVAILABLE))
		return rc;
	long long at = proc_now_ms() + AGAIN_MS;
	while (proc_now_ms() < at) {
		engine_wake(r->engine, at);
		if (engine_wait(r->engine, e) < 0)
			return -1;
	}
	return ask(r, ep, s, status, e);
}

static int ask_by_post(struct registry *r, struct endpoint *ep, const struct challenge *c,
		       const char *scope, long *status, struct err *e)
{
	AUTO_BUF struct buf post = BUF_INIT(TOKEN_MAX + 16384);
	CURL *easy = curl_easy_init();
	int rc = buf_addstr(&post, "grant_type=refresh_token", e);
	add_query(easy, &post, '&', "client_id", "crisp");
	add_query(easy, &post, '&', "service", c->service);
	add_query(easy, &post, '&', "scope", scope);
	add_query(easy, &post, '&', "refresh_token", ep->auth.identity);
	curl_easy_cleanup(easy);
	struct http_spec s = {.url = c->realm, .post = post.data};
	rc = rc < 0 ? -1 : ask_twice(r, ep, &s, status, e);
	if (post.data)
		explicit_bzero(post.data, post.len);
	return rc;
}

static int ask_by_get(struct registry *r, struct endpoint *ep, const struct challenge *c,
		      const char *scope, struct err *e)
{
	long status = 0;
	AUTO_BUF struct buf url = BUF_INIT(8192);
	CURL *easy = curl_easy_init();
	bool has = strchr(c->realm, '?');
	int rc = buf_addstr(&url, c->realm, e);
	if (*c->service)
		add_query(easy, &url, has ? '&' : '?', "service", c->service);
	add_query(easy, &url, has || *c->service ? '&' : '?', "scope", scope);
	curl_easy_cleanup(easy);
	struct http_spec s = {
		.url = url.data, .user = ep->auth.user, .password = ep->auth.password};
	if (!s.user && ep->auth.identity) {
		s.user = "<token>";
		s.password = ep->auth.identity;
	}
	return rc < 0 ? -1 : ask_twice(r, ep, &s, &status, e);
}

static int get_token(struct registry *r, struct endpoint *ep, const struct challenge *c,
		     struct err *e)
{
	char scope[900];
	long status = 0;
	bool tls = strncmp(c->realm, "https://", 8) == 0;
	if (!tls && (ep->encrypted || strncmp(c->realm, "http://", 7) != 0)) {
		char realm[200];
		snprintf(realm, sizeof realm, "%.180s", c->realm);
		one_line(realm);
		return err_set(e, ERR_DENIED, "%s: will not log in at '%s'", ep->base, realm);
	}
	snprintf(scope, sizeof scope, "repository:%s:pull", ep->repo);
	const char *want = *c->scope ? c->scope : scope;
	if (ep->auth.identity) {
		if (ask_by_post(r, ep, c, want, &status, e) == 0)
			return 0;
		/* Servers from before there was a POST, and some that say 401 to it. */
		bool knows_no_post =
			status == 404 || status == 405 || (status == 401 && ep->auth.user);
		if (!knows_no_post)
			return -1;
	}
	return ask_by_get(r, ep, c, want, e);
}

static int find_credentials(struct registry *r, struct endpoint *ep, struct err *e)
{
	const char *helper, *host = endpoint_host(r, ep);
	long seconds = r->stall_seconds < HELPER_SECONDS ? r->stall_seconds : HELPER_SECONDS;
	if (ep->auth_known)
		return 0;
	const char *path = ep->own ? r->ref->path : ep->repo;
	if (auth_find(r->store, host, path, &ep->auth, &helper, e) < 0)
		return -1;
	if (helper && credhelper_get(r->engine, helper, host, seconds, &ep->auth, e) < 0)
		return -1;
	ep->auth_known = true;
	return 0;
}

static int answer(struct registry *r, struct endpoint *ep, const struct challenge *c, struct err *e)
{
	const char *host = endpoint_host(r, ep);
	if (find_credentials(r, ep, e) < 0)
		return -1;
	if (c->bearer && ep->auth.token) {
		if (ep->bearer && strcmp(ep->bearer, ep->auth.token) == 0)
			return err_set(e, ERR_DENIED, "%s refuses the token given", host);
		return set_bearer(ep, ep->auth.token, -1);
	}
	if (c->bearer && (*c->realm || !c->basic))
		return get_token(r, ep, c, e);
	if (c->basic && ep->auth.user && !ep->basic) {
		ep->basic = true;
		ep->tokens++;
		return 0;
	}
	return err_set(e, ERR_DENIED,
		       ep->auth.user || ep->auth.identity ? "%s refuses the credentials"
							  : "%s wants credentials",
		       host);
}

int registry_login(struct registry *r, struct endpoint *ep, const char *challenge, struct err *e)
{
	struct challenge c;
	AUTO_FREE char *text = xstrdup(challenge);
	challenge_parse(&c, text);
	int rc = answer(r, ep, &c, e);
	free(ep->challenge);
	ep->challenge = TAKE(text);
	/* We may have waited, and so made the others' watches void. */
	engine_wake(r->engine, 1);
	return rc;
}
