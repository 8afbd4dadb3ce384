/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "redact_rules.h"
#include "xalloc.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { VALUE_MAX = 4096, NAME_BACK = 128 };

struct out {
	char *data;
	size_t len, cap;
};

static void put(struct out *o, const char *s, size_t n)
{
	if (!o->data || o->len + n + 1 > o->cap) {
		o->cap = 2 * (o->len + n + 1);
		o->data = xrealloc(o->data, o->cap);
	}
	memcpy(o->data + o->len, s, n);
	o->len += n;
	o->data[o->len] = '\0';
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/* Is what ends before s[at] the name of a secret, in quotes (escaped ones, too) or not? */
static bool follows_name(const char *s, size_t at)
{
	size_t end = at, begin;
	while (end && strchr(" \"'\\", s[end - 1]) && at - end < 3)
		end--;
	for (begin = end; begin && end - begin < NAME_BACK && is_name_char(s[begin - 1]);)
		begin--;
	return end > begin && redact_grade_name(s + begin, end - begin) == REDACT_STRONG;
}

/* The value that begins at s: up to its quote, or to what ends a word. */
static size_t value_len(const char *s, size_t left, char quote)
{
	size_t n = 0, max = left < VALUE_MAX ? left : VALUE_MAX;
	while (n < max) {
		unsigned char c = (unsigned char)s[n];
		if (quote ? c == (unsigned char)quote || c == '\n'
			  : isspace(c) || !c || strchr(",;&\"'<>(){}[]\\", c))
			break;
		if (quote && c == '\\') {
			/* The end of a value in a string in a string is an escaped quote. */
			if (n + 1 < max && s[n + 1] == quote)
				break;
			n++;
		}
		n++;
	}
	return n < max ? n : max;
}

static bool tells_nothing(const char *s, size_t n)
{
	static const char *const words[] = {"true", "false", "null", "nil", "none"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i]) == n && strncasecmp(words[i], s, n) == 0)
			return true;
	return n == 0;
}

/* s[at] is '=' or ':' behind a secret's name: the length of the value, which begins *skip bytes on. */
static size_t assigned(const char *s, size_t at, size_t len, size_t *skip)
{
	size_t v = at + 1;
	char quote = '\0';
	if (v < len && s[at] == ':' && s[v] == '/') /* a scheme */
		return 0;
	if (!follows_name(s, at))
		return 0;
	bool spaced = s[at] == ':' || s[at - 1] == ' ';
	while (v < len && v < at + 4 && ((s[v] == ' ' && spaced) || s[v] == '\\'))
		v++;
	if (v < len && (s[v] == '"' || s[v] == '\''))
		quote = s[v++];
	if (redact_is_token(s + v, len - v))
		return 0;
	size_t n = value_len(s + v, len - v, quote);
	*skip = v - at;
	return tells_nothing(s + v, n) ? 0 : n;
}

/* By its name or its looks; the first *skip bytes stay. */
static size_t secret_at(const char *s, size_t at, size_t len, size_t *skip, const char **why)
{
	size_t n;
	*skip = 0;
	*why = "name";
	if ((s[at] == '=' || s[at] == ':') && (n = assigned(s, at, len, skip)) > 0)
		return n;
	*why = "looks";
	return redact_looks(s + at, len - at, at == 0 || !isalnum((unsigned char)s[at - 1]), skip);
}

/* One pass: for what is known, or for what shows itself. */
static char *pass(const struct redact_known *k, bool known, const char *text, size_t len,
		  size_t *out_len, const char **why)
{
	struct out o = {0};
	size_t done = 0;
	char token[REDACT_TOKEN_SIZE];
	for (size_t at = 0; at < len;) {
		size_t skip = 0;
		const char *reason = "seen";
		size_t n = known ? redact_known_at(k, text + at, len - at)
				 : secret_at(text, at, len, &skip, &reason);
		if (!n) {
			at++;
			continue;
		}
		if (!o.data)
			*why = reason;
		put(&o, text + done, at + skip - done);
		redact_token(k, text + at + skip, n, token);
		put(&o, token, strlen(token));
		at += skip + n;
		done = at;
	}
	if (!o.data)
		return NULL;
	put(&o, text + done, len - done);
	*out_len = o.len;
	return o.data;
}

/* The known go first: one may stand in what the second pass leaves as the head of another. */
char *redact_scan(const struct redact_known *k, const char *text, size_t len, size_t *out_len,
		  const char **why)
{
	const char *ignored;
	char *first = pass(k, true, text, len, out_len, why);
	AUTO_FREE char *hold = first;
	char *second = pass(k, false, first ? first : text, first ? *out_len : len, out_len,
			    first ? &ignored : why);
	return second ? second : TAKE(hold);
}
