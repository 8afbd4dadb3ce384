/* SPDX-License-Identifier: Apache-2.0 */
#include "headers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* A token: what names schemes and parameters. */
static size_t token_length(const char *p)
{
	return strcspn(p, "=, \t\"");
}

/* The value after '=': a token or a quoted string. Sets value to "" when it does not fit. Returns
 * what follows. */
static const char *take_value(const char *p, char *value, size_t size)
{
	size_t at = 0;
	bool quoted = *p == '"', fits = true;
	p += quoted;
	for (; *p && (quoted ? *p != '"' : *p != ',' && !is_space(*p)); p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		if (at + 1 < size)
			value[at++] = *p;
		else
			fits = false;
	}
	value[fits ? at : 0] = '\0';
	return p + (quoted && *p == '"');
}

static void set_param(struct challenge *c, const char *name, size_t len, const char *value)
{
	const struct {
		const char *name;
		char *to;
		size_t size;
	} known[] = {
		{"realm", c->realm, sizeof c->realm},
		{"service", c->service, sizeof c->service},
		{"scope", c->scope, sizeof c->scope},
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strlen(known[i].name) == len && strncasecmp(known[i].name, name, len) == 0 &&
		    strlen(value) < known[i].size)
			snprintf(known[i].to, known[i].size, "%s", value);
}

void challenge_parse(struct challenge *c, const char *header)
{
	char value[1024];
	bool ours = false; /* within the first bearer challenge */
	*c = (struct challenge){.bearer = false};
	for (const char *p = header; *(p += strspn(p, " ,\t"));) {
		const char *name = p;
		size_t len = token_length(p);
		p += len;
		const char *after = p + strspn(p, " \t");
		if (len > 0 && *after == '=') {
			after++;
			p = take_value(after + strspn(after, " \t"), value, sizeof value);
			if (ours)
				set_param(c, name, len, value);
			continue;
		}
		if (len == 0) {
			/* Garbage between two tokens. */
			p++;
			continue;
		}
		bool bearer = len == 6 && strncasecmp(name, "bearer", len) == 0;
		ours = bearer && !c->bearer;
		c->bearer |= bearer;
		c->basic |= len == 5 && strncasecmp(name, "basic", len) == 0;
	}
}

/* Digits at *p, which moves behind them; -1 when there are none or too many. */
static long long number(const char **p)
{
	long long n = 0;
	size_t len = strspn(*p, "0123456789");
	if (len == 0 || len > 18)
		return -1;
	for (size_t i = 0; i < len; i++)
		n = n * 10 + (**p - '0'), ++*p;
	return n;
}

long retry_after_parse(const char *value, time_t now)
{
	struct tm tm = {.tm_mday = 1};
	const char *p = value;
	long long n;
	if (*p >= '0' && *p <= '9') {
		n = number(&p);
		/* More digits than fit are a long time, too. */
		n = n < 0 ? RETRY_AFTER_MOST : n;
	} else {
		p = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		n = p ? (long long)timegm(&tm) - (long long)now : 0;
	}
	if (!p || p[strspn(p, " \t")] || n < 0)
		return 0;
	return n > RETRY_AFTER_MOST ? RETRY_AFTER_MOST : (long)n;
}

int content_range_parse(const char *value, long long *from, long long *to, long long *total)
{
	const char *p = value;
	if (strncasecmp(p, "bytes", 5) != 0)
		return -1;
	p += 5;
	p += strspn(p, " \t=");
	*from = number(&p);
	if (*from < 0 || *p++ != '-')
		return -1;
	*to = number(&p);
	if (*to < *from || *p++ != '/')
		return -1;
	if (*p == '*') {
		*total = -1;
		return p[1] ? -1 : 0;
	}
	*total = number(&p);
	return *total <= *to || *p ? -1 : 0;
}

void one_line(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = ' ';
}
