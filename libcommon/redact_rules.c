/* SPDX-License-Identifier: Apache-2.0 */
#include "redact_rules.h"

#include "auto.h"
#include "xalloc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LEARN_MIN = 6, LEARN_MAX = 64 << 10, RANDOM_MIN = 20, NAME_MAX_LEN = 128, WORDS_MAX = 16 };

static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("._~+/=-", c));
}

static size_t token_len(const char *s, size_t left)
{
	size_t n = 0;
	while (n < left && is_token_char(s[n]))
		n++;
	return n;
}

/* "dbPassword" and "DB-PASSWORD" are "db_password": words in lower case with one underscore. */
static void spell(const char *name, size_t len, char out[NAME_MAX_LEN])
{
	size_t n = 0;
	for (size_t i = 0; i < len && n + 2 < NAME_MAX_LEN; i++) {
		unsigned char c = (unsigned char)name[i];
		bool hump = i && isupper(c) && islower((unsigned char)name[i - 1]);
		if ((hump || !isalnum(c)) && n && out[n - 1] != '_')
			out[n++] = '_';
		if (isalnum(c))
			out[n++] = (char)tolower(c);
	}
	while (n && out[n - 1] == '_')
		n--;
	out[n] = '\0';
}

static bool has_any(const char *s, const char *const *parts)
{
	for (; *parts; parts++)
		if (strstr(s, *parts))
			return true;
	return false;
}

static bool is_word_of(const char *word, size_t len, const char *const *list)
{
	for (; *list; list++)
		if (strlen(*list) == len && strncmp(word, *list, len) == 0)
			return true;
	return false;
}

static bool has_word(const char *s, const char *const *list)
{
	while (*s) {
		size_t n = strcspn(s, "_");
		if (is_word_of(s, n, list))
			return true;
		s += n + (s[n] == '_');
	}
	return false;
}

enum redact_grade redact_grade_name(const char *name, size_t len)
{
	static const char *const strong[] = {"passw",      "passphrase", "secret",      "token",
					     "credential", "apikey",     "api_key",     "accesskey",
					     "access_key", "privatekey", "private_key", NULL};
	static const char *const weak[] = {"key",           "keys",   "pass", "pwd",    "auth",
					   "authorization", "cookie", "dsn",  "salt",   "pin",
					   "cred",          "creds",  "jwt",  "bearer", NULL};
	/* What only tells where a secret is, or that it may lack. */
	static const char *const about[] = {"file", "path", "dir",  "name",    "host",   "port",
					    "addr", "url",  "type", "enabled", "length", NULL};
	char s[NAME_MAX_LEN];
	/* The domain of an annotation's name says nothing. */
	const char *slash = memrchr(name, '/', len);
	if (slash) {
		len -= (size_t)(slash + 1 - name);
		name = slash + 1;
	}
	spell(name, len, s);
	const char *last = strrchr(s, '_');
	if (last && is_word_of(last + 1, strlen(last + 1), about))
		return REDACT_NO;
	if (has_any(s, strong))
		return REDACT_STRONG;
	return has_word(s, weak) ? REDACT_WEAK : REDACT_NO;
}

/* A dot or a dash between words is a name's; three kinds of characters in one run are no word. */
bool redact_is_random(const char *s, size_t len, bool hex_too)
{
	size_t lower = 0, upper = 0, digit = 0, hex = 0;
	if (len < RANDOM_MIN || len > 4096 || *s == '/')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		lower += islower(c) != 0;
		upper += isupper(c) != 0;
		digit += isdigit(c) != 0;
		hex += isxdigit(c) != 0;
		if (!isalnum(c) && !strchr("+/=_-", c))
			return false;
	}
	if (hex == len) /* 64: an id or a digest */
		return hex_too && len >= 32 && len != 64 && digit && digit < len;
	return lower >= 3 && upper >= 3 && digit >= 1;
}

bool redact_is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)s[i]) && !strchr(".:", s[i]))
			return len > 6 && strncasecmp(s, "tcp://", 6) == 0;
	/* Digits alone may be a PIN or a phone number: those with dots are addresses and versions. */
	return memchr(s, '.', len) || memchr(s, ':', len);
}

/* -----BEGIN … PRIVATE KEY----- to its end, or to the end of what there is. */
static size_t pem_len(const char *s, size_t left)
{
	static const char begin[] = "-----BEGIN ", key[] = "PRIVATE KEY", end[] = "-----END ";
	if (left < sizeof begin - 1 || strncmp(s, begin, sizeof begin - 1) != 0)
		return 0;
	size_t head = left < 80 ? left : 80;
	if (!memmem(s, head, key, sizeof key - 1))
		return 0;
	const char *e = memmem(s, left, end, sizeof end - 1);
	if (!e)
		return left;
	const char *tail =
		memmem(e + sizeof end - 1, left - (size_t)(e + sizeof end - 1 - s), "-----", 5);
	return tail ? (size_t)(tail + 5 - s) : left;
}

static size_t jwt_len(const char *s, size_t left)
{
	size_t n, dots = 0;
	if (left < 32 || strncmp(s, "eyJ", 3) != 0)
		return 0;
	n = token_len(s, left);
	for (size_t i = 0; i < n; i++)
		dots += s[i] == '.';
	return n >= 32 && dots >= 2 ? n : 0;
}

/* Tokens that their makers marked so that they can be found. */
static size_t marked_len(const char *s, size_t left)
{
	static const struct {
		const char *head;
		size_t min;
	} marks[] = {
		{"ghp_", 20},        {"gho_", 20},   {"ghu_", 20},      {"ghs_", 20},
		{"ghr_", 20},        {"glpat-", 16}, {"xoxb-", 16},     {"xoxp-", 16},
		{"github_pat_", 24}, {"AKIA", 20},   {"ASIA", 20},      {"AIza", 30},
		{"hvs.", 20},        {"npm_", 20},   {"dckr_pat_", 20}, {"sk-", 20},
		{"sk_live_", 16},
	};
	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		size_t head = strlen(marks[i].head);
		if (left < marks[i].min || strncmp(s, marks[i].head, head) != 0)
			continue;
		size_t n = token_len(s, left);
		return n >= marks[i].min ? n : 0;
	}
	return 0;
}

/* "Authorization: Bearer X" */
static size_t bearer_len(const char *s, size_t left, size_t *skip)
{
	enum { HEAD = 7, MIN = 8 };
	if (left < HEAD + MIN ||
	    (strncasecmp(s, "Bearer ", HEAD) != 0 && strncmp(s, "Basic ", HEAD - 1) != 0))
		return 0;
	size_t head = s[5] == ' ' ? HEAD - 1 : HEAD;
	size_t n = token_len(s + head, left - head);
	/* A word of prose is no credential. */
	bool digit = false, upper = false;
	for (size_t i = 0; i < n; i++) {
		digit |= isdigit((unsigned char)s[head + i]) != 0;
		upper |= isupper((unsigned char)s[head + i]) != 0;
	}
	*skip = head;
	return n >= MIN && (digit || upper) ? n : 0;
}

/* "://user:X@host" */
static size_t userinfo_len(const char *s, size_t left, size_t *skip)
{
	enum { MAX = 1024 };
	size_t colon = 0, n = 3, end = left < MAX ? left : MAX;
	if (left < 6 || strncmp(s, "://", 3) != 0)
		return 0;
	for (; n < end && s[n] && !strchr("/ \t\r\n\"'<>\\", s[n]) && s[n] != '@'; n++)
		if (s[n] == ':' && !colon)
			colon = n;
	if (n >= end || s[n] != '@' || !colon || n == colon + 1)
		return 0;
	*skip = colon + 1;
	return n - colon - 1;
}

size_t redact_looks(const char *s, size_t left, bool at_word, size_t *skip)
{
	size_t n;
	*skip = 0;
	if (*s == ':')
		return userinfo_len(s, left, skip);
	if (*s == '-')
		return pem_len(s, left);
	if (!at_word)
		return 0;
	if ((n = jwt_len(s, left)) > 0 || (n = marked_len(s, left)) > 0)
		return n;
	return bearer_len(s, left, skip);
}

bool redact_value_is_secret(const char *value)
{
	size_t len = strlen(value), skip;
	if (redact_is_random(value, len, true))
		return true;
	for (size_t i = 0; i < len; i++)
		if (redact_looks(value + i, len - i,
				 i == 0 || !isalnum((unsigned char)value[i - 1]), &skip))
			return true;
	return false;
}

bool redact_mount_is_secret(const char *host_path, const char *container_path)
{
	static const char *const inside[] = {"/run/secrets", "/var/run/secrets"};
	if (host_path && (strstr(host_path, "/kubernetes.io~secret/") ||
			  strstr(host_path, "/kubernetes.io~projected/kube-api-access")))
		return true;
	for (size_t i = 0; container_path && i < ARRAY_LEN(inside); i++) {
		size_t n = strlen(inside[i]);
		if (strncmp(container_path, inside[i], n) == 0 &&
		    (container_path[n] == '/' || container_path[n] == '\0'))
			return true;
	}
	return false;
}

static size_t pair_of(const char *s)
{
	return (size_t)(unsigned char)s[0] << 8 | (unsigned char)s[1];
}

void redact_known_add(struct redact_known *k, const char *s, size_t len)
{
	while (len && (s[len - 1] == '\n' || s[len - 1] == '\r'))
		len--;
	if (len < LEARN_MIN || len > LEARN_MAX || redact_is_plain(s, len) ||
	    redact_is_token(s, len) || redact_is_spared(k, s, len) ||
	    (k->names && memmem(k->names, k->names_len, s, len)))
		return;
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].len == len && memcmp(k->v[i].s, s, len) == 0)
			return;
	if (!k->v)
		k->v = xcalloc(k->max, sizeof *k->v);
	free(k->v[k->next].s);
	k->v[k->next].s = memcpy(xmalloc(len), s, len);
	k->v[k->next].len = len;
	k->next = (k->next + 1) % k->max;
	k->n += k->n < k->max;
	k->first[pair_of(s) / 8] |= (unsigned char)(1u << pair_of(s) % 8);
}

bool redact_is_token(const char *s, size_t left)
{
	static const char head[] = "[redacted";
	enum { LEN = sizeof head - 1 };
	return left > LEN && memcmp(s, head, LEN) == 0 && (s[LEN] == ']' || s[LEN] == ':');
}

bool redact_is_spared(const struct redact_known *k, const char *s, size_t len)
{
	return k->spared && json_object_getn(k->spared, s, len);
}

void redact_token(const struct redact_known *k, const char *s, size_t len,
		  char token[REDACT_TOKEN_SIZE])
{
	snprintf(token, REDACT_TOKEN_SIZE, "%s", REDACTED);
	if (!k || !k->numbers)
		return;
	const json_t *old = json_object_getn(k->numbers, s, len);
	int number = old ? (int)json_integer_value(old) : (int)json_object_size(k->numbers) + 1;
	/* A key must be UTF-8; bytes that are not have no number. */
	if (old || json_object_setn_new(k->numbers, s, len, json_integer(number)) == 0)
		snprintf(token, REDACT_TOKEN_SIZE, "[redacted:%d]", number);
}

size_t redact_known_at(const struct redact_known *k, const char *s, size_t left)
{
	size_t best = 0;
	if (left < LEARN_MIN || !(k->first[pair_of(s) / 8] & 1u << pair_of(s) % 8))
		return 0;
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].len > best && k->v[i].len <= left &&
		    memcmp(k->v[i].s, s, k->v[i].len) == 0)
			best = k->v[i].len;
	return best;
}

void redact_known_release(struct redact_known *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->v[i].s);
	free(k->v);
	free(k->names);
	json_decref(k->numbers);
	json_decref(k->spared);
	*k = (struct redact_known){0};
}
