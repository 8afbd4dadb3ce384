/* SPDX-License-Identifier: Apache-2.0 */
#include "flatjson.h"

#include "utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct scan {
	const char *at, *end;
};

/* A value of the text: [start, end), a string's without quotes. */
struct token {
	const char *start, *end;
	bool is_string;
};

static void skip_space(struct scan *s)
{
	while (s->at < s->end &&
	       (*s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n'))
		s->at++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->at >= s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool take_string(struct scan *s, struct token *t)
{
	if (!take(s, '"'))
		return false;
	*t = (struct token){.start = s->at, .is_string = true};
	while (s->at < s->end) {
		size_t left = (size_t)(s->end - s->at);
		const char *quote = memchr(s->at, '"', left);
		const char *escape = memchr(s->at, '\\', quote ? (size_t)(quote - s->at) : left);
		if (!escape) {
			t->end = quote;
			s->at = quote ? quote + 1 : s->end;
			return quote;
		}
		if (s->end - escape < 2)
			return false;
		s->at = escape + 2;
	}
	return false;
}

/* An array or object is passed over; its brackets need only balance. */
static bool take_nested(struct scan *s, struct token *t)
{
	struct token inner;
	size_t depth = 0;
	const char *start = s->at;
	while (s->at < s->end) {
		char c = *s->at;
		if (c == '"') {
			if (!take_string(s, &inner))
				return false;
			continue;
		}
		s->at++;
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && --depth == 0)
			break;
	}
	*t = (struct token){.start = start, .end = s->at};
	return depth == 0;
}

/* A character of a number or of true, false, null. */
static bool is_scalar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
	       c == '.' || c == 'E';
}

static bool take_value(struct scan *s, struct token *t)
{
	skip_space(s);
	if (s->at < s->end && *s->at == '"')
		return take_string(s, t);
	if (s->at < s->end && (*s->at == '[' || *s->at == '{'))
		return take_nested(s, t);
	*t = (struct token){.start = s->at};
	while (s->at < s->end && is_scalar(*s->at))
		s->at++;
	t->end = s->at;
	return t->end > t->start;
}

const char *flatjson_each(const char *text, size_t len,
			  bool (*fn)(void *arg, const struct flatjson_member *m), void *arg)
{
	struct scan s = {text, text + len};
	struct token name, value;
	if (!take(&s, '{'))
		return NULL;
	if (take(&s, '}'))
		return s.at;
	do {
		if (!take_string(&s, &name) || !take(&s, ':') || !take_value(&s, &value))
			return NULL;
		struct flatjson_member m = {.name = name.start,
					    .name_len = (size_t)(name.end - name.start),
					    .value = value.start,
					    .value_len = (size_t)(value.end - value.start),
					    .is_string = value.is_string};
		if (!fn(arg, &m))
			return NULL;
	} while (take(&s, ','));
	return take(&s, '}') ? s.at : NULL;
}

struct search {
	const char *key;
	struct token found;
	bool have;
};

static bool match(void *arg, const struct flatjson_member *m)
{
	struct search *q = arg;
	if (strlen(q->key) == m->name_len && memcmp(q->key, m->name, m->name_len) == 0) {
		q->found = (struct token){m->value, m->value + m->value_len, m->is_string};
		q->have = true;
	}
	return true;
}

static bool find(const char *text, size_t len, const char *key, struct token *found)
{
	struct search q = {.key = key};
	if (!flatjson_each(text, len, match, &q) || !q.have)
		return false;
	*found = q.found;
	return true;
}

static bool hex4(const char *p, const char *end, unsigned *out)
{
	*out = 0;
	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, p[i] | 0x20);
		if (!p[i] || !d || (p[i] < '0'))
			return false;
		*out = *out << 4 | (unsigned)(d - digits);
	}
	return true;
}

static size_t utf8_encode(unsigned c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* p is behind "\u"; returns where it went on to. A lone surrogate and NUL become U+FFFD: neither
 * can stand in a C string of UTF-8. */
static const char *unescape_u(const char *p, const char *end, char *out, size_t *n)
{
	unsigned c, low;
	if (!hex4(p, end, &c)) {
		*n = utf8_encode(0xfffd, out);
		return p;
	}
	p += 4;
	if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
	    hex4(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		p += 6;
	}
	if (c == 0 || (c >= 0xd800 && c < 0xe000))
		c = 0xfffd;
	*n = utf8_encode(c, out);
	return p;
}

static const char *unescape(const char *p, const char *end, char *out, size_t *n)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	char c = *p++;
	*n = 1;
	if (c != '\\' || p == end) {
		out[0] = c ? c : ' ';
		return p;
	}
	c = *p++;
	if (c == 'u')
		return unescape_u(p, end, out, n);
	const char *short_form = c ? strchr(from, c) : NULL;
	out[0] = short_form ? to[short_form - from] : c ? c : ' ';
	return p;
}

bool flatjson_string(const char *text, size_t len, const char *key, char *out, size_t size)
{
	struct token t;
	size_t at = 0;
	if (!find(text, len, key, &t) || !t.is_string)
		return false;
	for (const char *p = t.start; p < t.end;) {
		char seq[4];
		size_t n;
		p = unescape(p, t.end, seq, &n);
		if (at + n >= size)
			break;
		memcpy(out + at, seq, n);
		at += n;
	}
	out[at] = '\0';
	return true;
}

bool flatjson_int(const char *text, size_t len, const char *key, int64_t *out)
{
	struct token t;
	char digits[32], *end;
	if (!find(text, len, key, &t) || t.is_string)
		return false;
	size_t n = (size_t)(t.end - t.start);
	if (n >= sizeof digits)
		return false;
	memcpy(digits, t.start, n);
	digits[n] = '\0';
	errno = 0;
	long long v = strtoll(digits, &end, 10);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

int flatjson_put(struct buf *b, const char *s, size_t len, struct err *e)
{
	if (buf_addstr(b, "\"", e) < 0)
		return -1;
	for (const char *end = s + len; s < end;) {
		size_t n = utf8_sequence(s, (size_t)(end - s));
		unsigned char c = (unsigned char)*s;
		int r;
		if (n == 0)
			r = buf_addstr(b, "\xef\xbf\xbd", e);
		else if (c == '"' || c == '\\')
			r = buf_addf(b, e, "\\%c", c);
		else if (c == '\n')
			r = buf_addstr(b, "\\n", e);
		else if (c < 0x20 || c == 0x7f)
			r = buf_addf(b, e, "\\u%04x", c);
		else
			r = buf_add(b, s, n, e);
		if (r < 0)
			return -1;
		s += n ? n : 1;
	}
	return buf_addstr(b, "\"", e);
}
