/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Slower than this for stall_seconds counts as a stall: a trickle is no progress. */
enum { STALL_BYTES = 128, ERROR_BODY_MAX = 16 << 10, REDIRECTS_MAX = 5, CONNECT_SECONDS = 15 };

static void keep_header(char *out, size_t size, const char *value, size_t len)
{
	if (len < size) {
		memcpy(out, value, len);
		out[len] = '\0';
	}
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct http *h = arg;
	size_t total = one * len;
	const char *colon = memchr(line, ':', total), *value = colon ? colon + 1 : line;
	if (!colon) {
		/* A status line: what an earlier answer (a redirect) said is gone. */
		if (total > 5 && memcmp(line, "HTTP/", 5) == 0) {
			h->content_type[0] = h->challenge[0] = h->content_digest[0] = '\0';
			h->retry_after = 0;
		}
		return total;
	}
	size_t name = (size_t)(colon - line), n = total - name - 1;
	while (n > 0 && (*value == ' ' || *value == '\t'))
		value++, n--;
	while (n > 0 && (value[n - 1] == '\r' || value[n - 1] == '\n' || value[n - 1] == ' '))
		n--;
	if (name == 12 && strncasecmp(line, "content-type", name) == 0)
		keep_header(h->content_type, sizeof h->content_type, value, n);
	else if (name == 21 && strncasecmp(line, "docker-content-digest", name) == 0)
		keep_header(h->content_digest, sizeof h->content_digest, value, n);
	else if (name == 11 && strncasecmp(line, "retry-after", name) == 0)
		h->retry_after =
			n > 0 && *value >= '0' && *value <= '9' ? strtol(value, NULL, 10) : 0;
	/* Of several challenges the bearer one is wanted. */
	else if (name == 16 && strncasecmp(line, "www-authenticate", name) == 0 &&
		 (!*h->challenge || (n > 6 && strncasecmp(value, "bearer", 6) == 0)))
		keep_header(h->challenge, sizeof h->challenge, value, n);
	return total;
}

static int body_start(struct http *h)
{
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	/* A server that does not know ranges sends the whole. */
	if (h->status == 206)
		h->skip = 0;
	h->body_started = true;
	return 0;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct http *h = arg;
	size_t total = one * len, n = total;
	struct err ignored;
	if (!h->body_started)
		body_start(h);
	if (h->status < 200 || h->status > 299) {
		(void)buf_add(&h->error_body, data, total, &ignored);
		return total;
	}
	if (h->skip > 0) {
		size_t drop = (long long)n > h->skip ? (size_t)h->skip : n;
		/* Only once per delivery: a pause would bring the same bytes again. */
		if (drop == n) {
			h->skip -= (long long)drop;
			return total;
		}
		data += drop;
		n -= drop;
	}
	int rc = h->sink(h->arg, data, n);
	h->paused = rc == HTTP_LATER;
	if (rc == HTTP_TAKEN)
		h->skip = 0;
	return rc == HTTP_TAKEN ? total : rc == HTTP_LATER ? CURL_WRITEFUNC_PAUSE : total + 1;
}

static void set_auth(CURL *c, const struct http_spec *s)
{
	if (s->bearer) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, s->bearer);
	} else if (s->user) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(c, CURLOPT_USERNAME, s->user);
		curl_easy_setopt(c, CURLOPT_PASSWORD, s->password ? s->password : "");
	}
	curl_easy_setopt(c, CURLOPT_UNRESTRICTED_AUTH, 0L);
}

static void set_tls(CURL *c, const struct http_tls *t)
{
	if (!t)
		return;
	if (t->ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, t->ca);
	if (t->cert)
		curl_easy_setopt(c, CURLOPT_SSLCERT, t->cert);
	if (t->key)
		curl_easy_setopt(c, CURLOPT_SSLKEY, t->key);
	if (t->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_request(struct http *h, const struct http_spec *s)
{
	CURL *c = h->easy;
	char range[40];
	bool tls = strncmp(s->url, "https:", 6) == 0;
	curl_easy_setopt(c, CURLOPT_URL, s->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	/* What began encrypted stays so. */
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "crisp/" VERSION);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	if (s->stall_seconds > 0) {
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, s->stall_seconds);
	}
	if (s->post)
		curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, s->post);
	if (s->from > 0) {
		snprintf(range, sizeof range, "%lld-", s->from);
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
}

int http_start(struct http *h, struct engine *en, const struct http_spec *s, struct err *e)
{
	CURL *easy = h->easy ? h->easy : curl_easy_init();
	http_stop(h);
	buf_release(&h->error_body);
	*h = (struct http){.easy = easy,
			   .engine = en,
			   .sink = s->sink,
			   .arg = s->arg,
			   .skip = s->from,
			   .error_body = BUF_INIT(ERROR_BODY_MAX)};
	if (!easy)
		return err_set(e, ERR_EXHAUSTED, "no memory for libcurl");
	curl_easy_reset(easy);
	if (s->accept) {
		char line[1024];
		snprintf(line, sizeof line, "Accept: %s", s->accept);
		h->headers = curl_slist_append(NULL, line);
	}
	set_request(h, s);
	set_auth(easy, s);
	set_tls(easy, s->tls);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, h->why);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, h);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, h);
	CURLMcode mc = curl_multi_add_handle(en->multi, easy);
	if (mc != CURLM_OK)
		return err_set(e, ERR_FAILED, "libcurl: %s", curl_multi_strerror(mc));
	h->active = true;
	return 0;
}

void http_resume(struct http *h)
{
	if (!h->active || !h->paused)
		return;
	h->paused = false;
	curl_easy_pause(h->easy, CURLPAUSE_CONT);
}

static void detach(struct http *h)
{
	if (h->active)
		curl_multi_remove_handle(h->engine->multi, h->easy);
	h->active = false;
	curl_slist_free_all(h->headers);
	h->headers = NULL;
}

void http_finished(struct http *h, CURLcode code)
{
	h->code = code;
	h->done = true;
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	detach(h);
}

void http_stop(struct http *h)
{
	detach(h);
}

void http_release(struct http *h)
{
	detach(h);
	if (h->easy)
		curl_easy_cleanup(h->easy);
	h->easy = NULL;
	buf_release(&h->error_body);
}
