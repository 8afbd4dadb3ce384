/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "auto.h"
#include "headers.h"
#include "proc.h"
#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	ERROR_BODY_MAX = 16 << 10,
	CHALLENGE_MAX = 8 << 10,
	HEADERS_MAX = 256 << 10,
	REDIRECTS_MAX = 5,
	CONNECT_SECONDS = 15,
	LOOK_MS = 1000,
};

__attribute__((format(printf, 3, 4))) static void end(struct http *h, enum http_end how,
						      const char *fmt, ...)
{
	va_list ap;
	if (h->ended)
		return;
	h->ended = true;
	h->end = how;
	va_start(ap, fmt);
	vsnprintf(h->why, sizeof h->why, fmt, ap);
	va_end(ap);
	one_line(h->why);
}

static void keep_header(char *out, size_t size, const char *value, size_t len)
{
	if (len < size) {
		memcpy(out, value, len);
		out[len] = '\0';
	}
}

/* What an answer before this one said is gone. */
static void forget_answer(struct http *h)
{
	h->content_type[0] = h->content_digest[0] = h->content_range[0] = '\0';
	h->retry_after = 0;
	buf_clear(&h->challenge);
}

static void known_header(struct http *h, const char *name, size_t name_len, const char *value,
			 size_t n)
{
	char text[64];
	struct err ignored;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} kept[] = {
		{"content-type", h->content_type, sizeof h->content_type},
		{"docker-content-digest", h->content_digest, sizeof h->content_digest},
		{"content-range", h->content_range, sizeof h->content_range},
	};
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (strlen(kept[i].name) == name_len &&
		    strncasecmp(name, kept[i].name, name_len) == 0)
			keep_header(kept[i].to, kept[i].size, value, n);
	if (name_len == 11 && strncasecmp(name, "retry-after", name_len) == 0) {
		snprintf(text, sizeof text, "%.*s", n < 63 ? (int)n : 63, value);
		h->retry_after = retry_after_parse(text, time(NULL));
	} else if (name_len == 16 && strncasecmp(name, "www-authenticate", name_len) == 0) {
		if (h->challenge.len > 0)
			(void)buf_addstr(&h->challenge, ", ", &ignored);
		(void)buf_add(&h->challenge, value, n, &ignored);
	}
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct http *h = arg;
	size_t total = one * len;
	h->header_bytes += total;
	if (h->header_bytes > HEADERS_MAX) {
		end(h, HTTP_HOPELESS, "more than %d bytes of headers", HEADERS_MAX);
		return 0;
	}
	if (total > 5 && memcmp(line, "HTTP/", 5) == 0)
		forget_answer(h);
	const char *colon = memchr(line, ':', total);
	if (!colon)
		return total;
	size_t name = (size_t)(colon - line), n = total - name - 1;
	const char *value = colon + 1;
	while (n > 0 && (*value == ' ' || *value == '\t'))
		value++, n--;
	while (n > 0 && (value[n - 1] == '\r' || value[n - 1] == '\n' || value[n - 1] == ' '))
		n--;
	known_header(h, line, name, value, n);
	return total;
}

/* Is the body the one, or the part of it, that was asked for? */
static bool body_fits(struct http *h)
{
	curl_off_t length = -1;
	long long size = h->spec.size, from, to, total;
	if (h->status == 206) {
		h->skip = 0;
		if (content_range_parse(h->content_range, &from, &to, &total) < 0 ||
		    from != h->spec.from) {
			end(h, HTTP_MISFIT, "asked for bytes from %lld, it sends '%s'",
			    h->spec.from, h->content_range);
			return false;
		}
		length = total;
	} else {
		curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	}
	if (size < 0 || length < 0 || length == size)
		return true;
	end(h, HTTP_MISSIZED, "size mismatch: expected %lld bytes, it has %lld", size,
	    (long long)length);
	return false;
}

static size_t on_error_body(struct http *h, const char *data, size_t n)
{
	struct err ignored;
	h->error_full = buf_add(&h->error_body, data, n, &ignored) < 0;
	/* The status is what counts; there may be no end to the rest. */
	return h->error_full ? n + 1 : n;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct http *h = arg;
	size_t total = one * len, n = total;
	bool first = !h->body_started;
	if (first)
		curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	h->body_started = true;
	h->came += (long long)total;
	if (h->status < 200 || h->status > 299)
		return on_error_body(h, data, total);
	if (first && !body_fits(h))
		return total + 1;
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
	int rc = h->spec.sink(h->spec.arg, data, n);
	h->paused = rc == HTTP_LATER;
	h->was_paused |= h->paused;
	if (rc == HTTP_LATER) {
		/* The same bytes will come once more. */
		h->came -= (long long)total;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (rc == HTTP_TAKEN)
		h->skip = 0;
	else
		end(h, HTTP_GIVEN_UP, "transfer given up");
	return rc == HTTP_TAKEN ? total : total + 1;
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
}

static void clear_auth(CURL *c)
{
	curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, NULL);
	curl_easy_setopt(c, CURLOPT_USERNAME, NULL);
	curl_easy_setopt(c, CURLOPT_PASSWORD, NULL);
	curl_easy_setopt(c, CURLOPT_SSLCERT, NULL);
	curl_easy_setopt(c, CURLOPT_SSLKEY, NULL);
}

static void set_tls(CURL *c, const struct http_tls *t)
{
	/* As other TLS clients do. */
	const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");
	if (file && *file)
		curl_easy_setopt(c, CURLOPT_CAINFO, file);
	if (dir && *dir)
		curl_easy_setopt(c, CURLOPT_CAPATH, dir);
	if (!t)
		return;
	if (t->ca) {
		curl_easy_setopt(c, CURLOPT_CAINFO, t->ca);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	} else if (t->more_ca) {
		/* The system's are in its CAPATH. */
		struct curl_blob blob = {.data = (void *)t->more_ca,
					 .len = strlen(t->more_ca),
					 .flags = CURL_BLOB_COPY};
		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (t->cert)
		curl_easy_setopt(c, CURLOPT_SSLCERT, t->cert);
	if (t->key)
		curl_easy_setopt(c, CURLOPT_SSLKEY, t->key);
	if (t->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_request(struct http *h)
{
	CURL *c = h->easy;
	const struct http_spec *s = &h->spec;
	char range[40];
	long connect = s->stall_seconds > 0 && s->stall_seconds < CONNECT_SECONDS ? s->stall_seconds
										  : CONNECT_SECONDS;
	curl_easy_setopt(c, CURLOPT_URL, h->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "crisp/" VERSION);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, connect);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (s->post)
		curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, s->post);
	if (s->from > 0 && !s->whole) {
		snprintf(range, sizeof range, "%lld-", s->from);
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->curl_says);
	curl_easy_setopt(c, CURLOPT_PRIVATE, h);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
}

static int attach(struct http *h, struct err *e)
{
	CURLMcode mc = curl_multi_add_handle(h->engine->multi, h->easy);
	if (mc != CURLM_OK)
		return err_set(e, ERR_FAILED, "libcurl: %s", curl_multi_strerror(mc));
	h->active = true;
	h->looked_ms = h->fast_ms = proc_now_ms();
	return 0;
}

static void detach(struct http *h)
{
	if (h->active)
		curl_multi_remove_handle(h->engine->multi, h->easy);
	h->active = false;
}

int http_start(struct http *h, struct engine *en, const struct http_spec *s, struct err *e)
{
	CURL *easy = h->easy ? h->easy : curl_easy_init();
	h->done = false;
	http_stop(h);
	*h = (struct http){.easy = easy,
			   .engine = en,
			   .spec = *s,
			   .url = xstrdup(s->url),
			   .skip = s->from,
			   .challenge = BUF_INIT(CHALLENGE_MAX),
			   .error_body = BUF_INIT(ERROR_BODY_MAX)};
	if (!easy)
		return err_set(e, ERR_EXHAUSTED, "no memory for libcurl");
	curl_easy_reset(easy);
	if (s->accept) {
		char line[1024];
		snprintf(line, sizeof line, "Accept: %s", s->accept);
		h->headers = curl_slist_append(NULL, line);
	}
	set_request(h);
	set_auth(easy, s);
	set_tls(easy, s->tls);
	return attach(h, e);
}

void http_resume(struct http *h)
{
	if (!h->active || !h->paused)
		return;
	h->paused = false;
	curl_easy_pause(h->easy, CURLPAUSE_CONT);
}

void http_watch(struct http *h)
{
	long long now = proc_now_ms(), since = now - h->looked_ms;
	long seconds = h->spec.stall_seconds;
	if (!h->active || since < LOOK_MS || seconds <= 0)
		return;
	/* Time in which we took nothing, or were busy elsewhere, says nothing of the other side. */
	bool ours = h->paused || h->was_paused || since > 3LL * LOOK_MS;
	if (ours || h->came * 1000 >= h->spec.stall_rate * since)
		h->fast_ms = now;
	h->was_paused = false;
	h->came = 0;
	h->looked_ms = now;
	if (now - h->fast_ms < seconds * 1000LL)
		return;
	if (h->body_started)
		end(h, HTTP_STALLED, "stalled: less than %ld bytes/s for %ld s", h->spec.stall_rate,
		    seconds);
	else
		end(h, HTTP_STALLED, "stalled: no answer for %ld s", seconds);
	detach(h);
	h->done = true;
}

/* scheme://host:port of a URL; NULL when it is none. */
static char *origin(const char *url)
{
	char *out = NULL, *scheme = NULL, *host = NULL, *port = NULL;
	CURLU *u = curl_url();
	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
		out = xasprintf("%s://%s:%s", scheme, host, port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return out;
}

/* True when the transfer goes on elsewhere. */
static bool follow(struct http *h)
{
	struct err e;
	const char *to = NULL;
	curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &to);
	if (!to || h->spec.post)
		return false;
	AUTO_FREE char *was = origin(h->url);
	AUTO_FREE char *is = origin(to);
	if (!was || !is || (strncmp(is, "http://", 7) != 0 && strncmp(is, "https://", 8) != 0)) {
		end(h, HTTP_HOPELESS, "redirects to '%.100s'", to);
		return false;
	}
	if (++h->hops > REDIRECTS_MAX) {
		end(h, HTTP_HOPELESS, "more than %d redirects, the last to %.150s", REDIRECTS_MAX,
		    is);
		return false;
	}
	if (strncmp(was, "https:", 6) == 0 && strncmp(is, "https:", 6) != 0) {
		end(h, HTTP_HOPELESS, "redirects from https to %.150s", is);
		return false;
	}
	if (strcasecmp(was, is) != 0) {
		clear_auth(h->easy);
		h->foreign = true;
	}
	free(h->url);
	h->url = xstrdup(to);
	detach(h);
	curl_easy_setopt(h->easy, CURLOPT_URL, h->url);
	forget_answer(h);
	buf_clear(&h->error_body);
	h->body_started = h->error_full = false;
	h->status = 0;
	if (attach(h, &e) == 0)
		return true;
	end(h, HTTP_HOPELESS, "%s", e.msg);
	return false;
}

static void judge_code(struct http *h, CURLcode code)
{
	const char *text = *h->curl_says ? h->curl_says : curl_easy_strerror(code);
	switch ((int)code) {
	case CURLE_OK:
		end(h, HTTP_ANSWERED, "%s", "");
		break;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_LOGIN_DENIED:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
		end(h, HTTP_HOPELESS, "%s", text);
		break;
	case CURLE_SSL_CONNECT_ERROR:
		end(h, HTTP_BROKEN, "%s%s", text,
		    strstr(text, "wrong version number") || strstr(text, "packet length")
			    ? " (it seems to speak plain HTTP)"
			    : "");
		break;
	default:
		end(h, HTTP_BROKEN, "%s", text);
	}
}

void http_finished(struct http *h, CURLcode code)
{
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	/* An error's body was cut off by us, or by whatever: the status has come. */
	if (h->error_full || h->status >= 400)
		code = CURLE_OK;
	if (code == CURLE_OK && !h->ended && h->status >= 300 && h->status < 400 && follow(h))
		return;
	judge_code(h, code);
	h->done = true;
	http_stop(h);
}

void http_stop(struct http *h)
{
	detach(h);
	curl_slist_free_all(h->headers);
	h->headers = NULL;
	free(h->url);
	h->url = NULL;
	if (h->done)
		return;
	buf_release(&h->error_body);
	buf_release(&h->challenge);
}

void http_release(struct http *h)
{
	h->done = false;
	http_stop(h);
	if (h->easy)
		curl_easy_cleanup(h->easy);
	h->easy = NULL;
}
