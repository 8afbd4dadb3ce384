/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "auto.h"
#include "base64.h"
#include "sha1.h"

#include <string.h>
#include <strings.h>

enum { KEY_LEN = 24 }; /* 16 bytes in base64 */

struct request {
	struct {
		char *name, *value;
	} headers[HTTP_HEADERS_MAX];
	size_t n;
};

static const char spdy_header[] = "X-Stream-Protocol-Version";
static const char ws_header[] = "Sec-WebSocket-Protocol";

struct protocol {
	const char *name;
	enum wire wire;
	int version;
	bool base64;
};

static const struct protocol spdy_remote[] = {
	{"v4.channel.k8s.io", WIRE_SPDY, 4, false}, {"v3.channel.k8s.io", WIRE_SPDY, 3, false},
	{"v2.channel.k8s.io", WIRE_SPDY, 2, false}, {"channel.k8s.io", WIRE_SPDY, 1, false},
	{"v1.channel.k8s.io", WIRE_SPDY, 1, false}, {NULL, WIRE_SPDY, 0, false}};
static const struct protocol spdy_forward[] = {{"portforward.k8s.io", WIRE_SPDY, 0, false},
					       {NULL, WIRE_SPDY, 0, false}};
static const struct protocol ws_remote[] = {{"v5.channel.k8s.io", WIRE_WS_CHANNELS, 5, false},
					    {"v4.channel.k8s.io", WIRE_WS_CHANNELS, 4, false},
					    {"v4.base64.channel.k8s.io", WIRE_WS_CHANNELS, 4, true},
					    {"base64.channel.k8s.io", WIRE_WS_CHANNELS, 1, true},
					    {"channel.k8s.io", WIRE_WS_CHANNELS, 1, false},
					    {NULL, WIRE_WS_CHANNELS, 0, false}};
static const struct protocol ws_forward[] = {
	{"SPDY/3.1+portforward.k8s.io", WIRE_WS_SPDY, 0, false},
	{"v4.channel.k8s.io", WIRE_WS_CHANNELS, 0, false},
	{"v4.base64.channel.k8s.io", WIRE_WS_CHANNELS, 0, true},
	{NULL, WIRE_WS_CHANNELS, 0, false}};

static char *next_line(char **at, char *end)
{
	char *line = *at, *nl = memchr(line, '\n', (size_t)(end - line));
	if (!nl)
		return NULL;
	*at = nl + 1;
	*nl = '\0';
	if (nl > line && nl[-1] == '\r')
		nl[-1] = '\0';
	return line;
}

static int parse(char *head, size_t len, struct request *r, struct err *e)
{
	char *at = head, *end = head + len;
	char *line = next_line(&at, end);
	if (!line || !strstr(line, " HTTP/1.1"))
		return err_set(e, ERR_BAD_INPUT, "not an HTTP/1.1 request");
	while ((line = next_line(&at, end)) && *line) {
		char *colon = strchr(line, ':');
		if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
			return err_set(e, ERR_BAD_INPUT, "malformed header");
		if (r->n == HTTP_HEADERS_MAX)
			return err_set(e, ERR_BAD_INPUT, "too many headers");
		*colon = '\0';
		r->headers[r->n].name = line;
		r->headers[r->n].value = colon + 1 + strspn(colon + 1, " \t");
		r->n++;
	}
	return line ? 0 : err_set(e, ERR_BAD_INPUT, "the request's head has no end");
}

/* The next element of a comma-separated list; *at moves on. false at the end. */
static bool next_token(const char **at, const char **token, size_t *len)
{
	const char *p = *at + strspn(*at, " \t,");
	size_t n = strcspn(p, ",");
	*at = p + n;
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	*token = p;
	*len = n;
	return n > 0;
}

static const char *header(const struct request *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}

static bool has_token(const struct request *r, const char *name, const char *want)
{
	const char *at = header(r, name), *token;
	size_t len;
	while (at && next_token(&at, &token, &len))
		if (len == strlen(want) && strncasecmp(token, want, len) == 0)
			return true;
	return false;
}

/* The first of the client's protocols, in its order, that is in the table. *offered counts them. */
static const struct protocol *choose(const struct request *r, const char *name,
				     const struct protocol *table, size_t *offered)
{
	*offered = 0;
	for (size_t i = 0; i < r->n; i++) {
		const char *at = r->headers[i].value, *token;
		size_t len;
		if (strcasecmp(r->headers[i].name, name) != 0)
			continue;
		while (next_token(&at, &token, &len)) {
			++*offered;
			for (const struct protocol *p = table; p->name; p++)
				if (strlen(p->name) == len && memcmp(p->name, token, len) == 0)
					return p;
		}
	}
	return NULL;
}

static int refuse(struct buf *b, const char *status, const char *extra, struct err *e,
		  const char *why)
{
	struct err ignored;
	buf_addf(b, &ignored,
		 "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n%sContent-Length: %zu\r\n"
		 "Connection: close\r\n\r\n%s\n",
		 status, extra, strlen(why) + 1, why);
	return err_set(e, ERR_BAD_INPUT, "%s", why);
}

static int choose_spdy(const struct request *r, enum work work, struct upgrade *u, struct buf *b,
		       struct err *e)
{
	bool forward = work == WORK_PORTFORWARD;
	size_t offered;
	const struct protocol *p =
		choose(r, spdy_header, forward ? spdy_forward : spdy_remote, &offered);
	if (!p && offered)
		return refuse(b, "403 Forbidden",
			      forward ? "X-Accepted-Stream-Protocol-Versions: "
					"portforward.k8s.io\r\n"
				      : "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io, "
					"v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io\r\n",
			      e, "none of the stream protocols offered is known");
	/* Clients from before the negotiation name none. */
	u->wire = WIRE_SPDY;
	u->version = p ? p->version : forward ? 0 : 1;
	u->protocol = p ? p->name : NULL;
	return 0;
}

static int choose_ws(const struct request *r, enum work work, struct upgrade *u, struct buf *b,
		     struct err *e)
{
	bool forward = work == WORK_PORTFORWARD;
	const char *key = header(r, "Sec-WebSocket-Key");
	const char *version = header(r, "Sec-WebSocket-Version");
	size_t offered;
	if (!version || strcmp(version, "13") != 0)
		return refuse(b, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n", e,
			      "this WebSocket version is not spoken here");
	if (!key || strlen(key) < KEY_LEN || strspn(key + KEY_LEN, " \t") != strlen(key + KEY_LEN))
		return refuse(b, "400 Bad Request", "", e, "no proper Sec-WebSocket-Key");
	const struct protocol *p = choose(r, ws_header, forward ? ws_forward : ws_remote, &offered);
	if (!p && offered)
		return refuse(b, "403 Forbidden", "", e,
			      "none of the WebSocket protocols offered is known");
	memcpy(u->ws_key, key, KEY_LEN);
	u->is_ws = true;
	u->wire = p ? p->wire : WIRE_WS_CHANNELS;
	u->version = p ? p->version : forward ? 0 : 1;
	u->base64 = p && p->base64;
	u->protocol = p ? p->name : NULL;
	return 0;
}

int http_upgrade(char *head, size_t len, enum work work, struct upgrade *u, struct buf *answer,
		 struct err *e)
{
	struct request r = {.n = 0};
	struct err why;
	*u = (struct upgrade){0};
	if (parse(head, len, &r, &why) < 0)
		return refuse(answer, "400 Bad Request", "", e, why.msg);
	if (has_token(&r, "Connection", "upgrade")) {
		if (has_token(&r, "Upgrade", "SPDY/3.1"))
			return choose_spdy(&r, work, u, answer, e);
		if (has_token(&r, "Upgrade", "websocket"))
			return choose_ws(&r, work, u, answer, e);
	}
	return refuse(answer, "400 Bad Request", "", e,
		      "an upgrade to SPDY/3.1 or websocket is needed");
}

/* RFC 6455, section 4.2.2. */
static char *ws_accept_value(const char *key)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char text[KEY_LEN + sizeof guid - 1], digest[SHA1_SIZE];
	memcpy(text, key, KEY_LEN);
	memcpy(text + KEY_LEN, guid, sizeof guid - 1);
	sha1(text, sizeof text, digest);
	return base64_encode(digest, sizeof digest);
}

int http_accept(const struct upgrade *u, struct buf *answer, struct err *e)
{
	AUTO_FREE char *value = u->is_ws ? ws_accept_value(u->ws_key) : NULL;
	if (buf_addf(answer, e,
		     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		     "Upgrade: %s\r\n",
		     u->is_ws ? "websocket" : "SPDY/3.1") < 0)
		return -1;
	if (value && buf_addf(answer, e, "Sec-WebSocket-Accept: %s\r\n", value) < 0)
		return -1;
	if (u->protocol &&
	    buf_addf(answer, e, "%s: %s\r\n", u->is_ws ? ws_header : spdy_header, u->protocol) < 0)
		return -1;
	return buf_addstr(answer, "\r\n", e);
}
