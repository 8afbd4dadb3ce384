/* SPDX-License-Identifier: Apache-2.0 */
#include "diff.h"

#include "auto.h"
#include "buf.h"
#include "jsonx.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 64 << 20, DEPTH_MAX = 64, ID_MIN = 12, NUMBER_MIN = 10, ADDRESS_MAX = 48 };

/* Out of bounds is out of memory: what is too long is cut, on both sides alike. */
static void add(struct buf *b, const char *s, size_t n)
{
	struct err ignored;
	(void)buf_add(b, s, n, &ignored);
}

static void adds(struct buf *b, const char *s)
{
	add(b, s, strlen(s));
}

/* ---- lines of a log ---- */

static size_t digits(const char *s, const char *end)
{
	size_t n = 0;
	while (s + n < end && isdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* 20:53:24, 20:53:24.123 */
static size_t clock_len(const char *s, const char *end)
{
	if (end - s < 8 || digits(s, end) != 2 || s[2] != ':' || digits(s + 3, end) != 2 ||
	    s[5] != ':' || digits(s + 6, end) != 2)
		return 0;
	size_t n = 8;
	if (s + n < end && (s[n] == '.' || s[n] == ',') && digits(s + n + 1, end))
		n += 1 + digits(s + n + 1, end);
	/* A MAC address goes on. */
	return s + n < end && s[n] == ':' ? 0 : n;
}

/* 2026-11-28, also with / and a clock and a zone behind it. */
static size_t date_len(const char *s, const char *end)
{
	if (end - s < 10 || digits(s, end) != 4 || (s[4] != '-' && s[4] != '/') ||
	    digits(s + 5, end) != 2 || s[7] != s[4] || digits(s + 8, end) != 2)
		return 0;
	size_t n = 10, clock = 0;
	if (s + n < end && (s[n] == 'T' || s[n] == ' '))
		clock = clock_len(s + n + 1, end);
	if (!clock)
		return n;
	n += 1 + clock;
	if (s + n < end && s[n] == 'Z')
		return n + 1;
	if (end - s - (long)n >= 5 && (s[n] == '+' || s[n] == '-') && digits(s + n + 1, end) >= 2)
		n += 1 + digits(s + n + 1, end);
	if (end - s - (long)n >= 3 && s[n] == ':' && digits(s + n + 1, end) == 2)
		n += 3;
	return n;
}

/* "Nov 28", "Sat", with a blank behind it: as date(1) and syslog have it. */
static size_t month_len(const char *s, const char *end)
{
	static const char names[] = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec "
				    "Mon Tue Wed Thu Fri Sat Sun ";
	if (end - s < 4 || s[3] != ' ')
		return 0;
	for (size_t i = 0; i + 4 < sizeof names; i += 4) {
		if (strncmp(names + i, s, 3) != 0)
			continue;
		if (i >= 48)
			return 3;
		size_t n = 4;
		while (s + n < end && s[n] == ' ')
			n++;
		return digits(s + n, end) ? n + digits(s + n, end) : 0;
	}
	return 0;
}

/* 10.0.0.1, with a port or a prefix; fd00::1; a MAC address. */
static size_t address_len(const char *s, const char *end)
{
	char text[ADDRESS_MAX];
	unsigned char raw[16];
	size_t n = 0, colons = 0;
	while (s + n < end && n + 1 < sizeof text &&
	       (isxdigit((unsigned char)s[n]) || s[n] == ':' || s[n] == '.')) {
		colons += s[n] == ':';
		n++;
	}
	/* "10.0.0.1." ends a sentence, and "10.0.0.1:80" has a port. */
	while (n && (s[n - 1] == '.' || (s[n - 1] == ':' && n > 1 && s[n - 2] != ':')))
		colons -= s[--n] == ':';
	snprintf(text, sizeof text, "%.*s", (int)n, s);
	char *port = strchr(text, ':');
	if (colons == 1 && port && strchr(text, '.'))
		*port = '\0';
	if (inet_pton(AF_INET, text, raw) == 1 ||
	    (colons > 1 && inet_pton(AF_INET6, text, raw) == 1))
		return n;
	return colons == 5 && n == 17 ? n : 0;
}

/* "1.5s", "12ms" */
static size_t duration_len(const char *s, const char *end)
{
	static const char *const units[] = {"ns", "us", "µs", "ms", "s", "m", "h"};
	size_t n = digits(s, end);
	if (n && s + n < end && s[n] == '.' && digits(s + n + 1, end))
		n += 1 + digits(s + n + 1, end);
	for (size_t i = 0; n && i < ARRAY_LEN(units); i++) {
		size_t u = strlen(units[i]);
		if (end - s - (long)n >= (long)u && strncmp(s + n, units[i], u) == 0 &&
		    (s + n + u == end || !isalnum((unsigned char)s[n + u])))
			return n + u;
	}
	return 0;
}

/* Ids, digests, pointers, numbers since 1970. */
static size_t id_len(const char *s, const char *end)
{
	size_t n = 0, letters = 0, skip = end - s > 2 && s[0] == '0' && s[1] == 'x' ? 2 : 0;
	while (s + skip + n < end && isxdigit((unsigned char)s[skip + n])) {
		letters += isalpha((unsigned char)s[skip + n]) != 0;
		n++;
	}
	if (s + skip + n < end && isalnum((unsigned char)s[skip + n]))
		return 0;
	if (skip)
		return n ? n + skip : 0;
	if (letters)
		return n >= ID_MIN && letters < n ? n : 0;
	return n >= NUMBER_MIN ? n : 0;
}

static const struct {
	size_t (*len)(const char *s, const char *end);
	const char *name;
} kinds[] = {
	{date_len, "<time>"},       {clock_len, "<time>"},    {month_len, "<time>"},
	{address_len, "<address>"}, {duration_len, "<time>"}, {id_len, "<id>"},
};

char *plain_text(const char *text, size_t len)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	const char *end = text + len;
	for (const char *s = text; s < end;) {
		/* Only where a word begins. */
		bool begins = s == text || !isalnum((unsigned char)s[-1]);
		size_t n = 0, k = 0;
		for (; begins && k < ARRAY_LEN(kinds) && !n; k++)
			n = kinds[k].len(s, end);
		if (n)
			adds(&b, kinds[k - 1].name);
		else
			add(&b, s, n = 1);
		s += n;
	}
	return buf_take(&b);
}

bool plain_equal(const char *a, const char *b)
{
	static const char mark[] = "[redacted";
	const char *ra = strstr(a, mark), *rb = strstr(b, mark);
	if (!ra && !rb)
		return strcmp(a, b) == 0;
	size_t na = ra ? (size_t)(ra - a) : SIZE_MAX, nb = rb ? (size_t)(rb - b) : SIZE_MAX;
	return strncmp(a, b, na < nb ? na : nb) == 0;
}

/* ---- documents ---- */

void plain_init(struct plain *p, const struct story *s)
{
	json_t *replay = json_object_get(s->index, "replay");
	p->s = s;
	p->root = jsonx_opt_string(s->crisp, "root", "");
	p->runroot = jsonx_opt_string(s->crisp, "runroot", "");
	p->paths = json_object_get(replay, "paths");
	p->was_root = jsonx_opt_string(replay, "root", "");
	p->was_runroot = jsonx_opt_string(replay, "runroot", "");
}

/* What stands for an id: the pod's, a container's by its name, or any other. */
static const char *role_of(const struct plain *p, const char *id, char *name, size_t size)
{
	if (strncmp(id, p->s->pod, ID_LEN) == 0)
		return "<pod>";
	for (size_t i = 0; i < p->s->n_ctrs; i++)
		if (strncmp(id, p->s->ctrs[i].id, ID_LEN) == 0) {
			snprintf(name, size, "<%.200s>", p->s->ctrs[i].name);
			return name;
		}
	return "<id>";
}

static char *without_ids(const struct plain *p, const char *s)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	char name[256];
	for (const char *at = s; *at;) {
		size_t n = strspn(at, "0123456789abcdef");
		if (n == ID_LEN && !(at > s && at[-1] == ':'))
			adds(&b, role_of(p, at, name, sizeof name));
		else
			add(&b, at, n = n ? n : 1);
		at += n;
	}
	return buf_take(&b);
}

/* The rest of s when it begins with that directory, or is it. */
static const char *below(const char *s, const char *dir)
{
	size_t n = strlen(dir);
	return n && strncmp(s, dir, n) == 0 && (s[n] == '/' || !s[n]) ? s + n : NULL;
}

/* Of two state directories one may be below the other. */
static char *without_root(const char *text, const char *root, const char *runroot)
{
	const char *in_root = below(text, root), *in_run = below(text, runroot);
	if (in_run && (!in_root || strlen(runroot) > strlen(root)))
		return xasprintf("<runroot>%s", in_run);
	return in_root ? xasprintf("<root>%s", in_root) : xstrdup(text);
}

static char *plain_string(const struct plain *p, const char *s)
{
	unsigned char raw[16];
	const char *here, *rest;
	json_t *host;
	if (inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1)
		return xstrdup("<address>");
	json_object_foreach (p->paths, here, host)
		if ((rest = below(s, here)) && json_is_string(host)) {
			AUTO_FREE char *was = xasprintf("%s%s", json_string_value(host), rest);
			return without_root(was, p->was_root, p->was_runroot);
		}
	AUTO_FREE char *text = without_ids(p, s);
	return without_root(text, p->root, p->runroot);
}

static json_t *plain_value(const struct plain *p, json_t *v, int depth)
{
	const char *key;
	json_t *item, *out;
	size_t i;
	if (depth > DEPTH_MAX)
		return json_null();
	if (json_is_string(v)) {
		AUTO_FREE char *text = plain_string(p, json_string_value(v));
		return json_string(text);
	}
	if (json_is_object(v)) {
		out = json_object();
		json_object_foreach (v, key, item) {
			AUTO_FREE char *name = without_ids(p, key);
			/* Where the groups are is the machine's. */
			if (strcmp(key, "cgroupsPath") != 0)
				json_object_set_new(out, name, plain_value(p, item, depth + 1));
		}
		return out;
	}
	if (!json_is_array(v))
		return json_incref(v);
	out = json_array();
	json_array_foreach (v, i, item)
		json_array_append_new(out, plain_value(p, item, depth + 1));
	return out;
}

json_t *plain_json(const struct plain *p, json_t *j)
{
	return plain_value(p, j, 0);
}
