/* SPDX-License-Identifier: Apache-2.0 */
#include "ref.h"

#include "digest.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_upper(c) || is_digit(c);
}

/* What follows the host's name: nothing, or ":" and a port of at most five digits. */
static bool port_ok(const char *s, size_t len)
{
	if (len == 0)
		return true;
	if (s[0] != ':' || len < 2 || len > 6)
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_digit(s[i]))
			return false;
	return true;
}

static bool host_ok(const char *s, size_t len)
{
	size_t i = 0;
	if (s[0] == '[') {
		while (i < len && s[i] != ']')
			i++;
		if (i < 3 || i == len || strspn(s + 1, "0123456789abcdefABCDEF:") != i - 1)
			return false;
		return port_ok(s + i + 1, len - i - 1);
	}
	for (; i < len && s[i] != ':'; i++) {
		bool edge = i == 0 || i + 1 == len || s[i - 1] == '.' || s[i + 1] == '.' ||
			    s[i + 1] == ':';
		if (!is_alnum(s[i]) && (edge || s[i] != '-') &&
		    (s[i] != '.' || i == 0 || s[i - 1] == '.' || !is_alnum(s[i + 1])))
			return false;
	}
	return i > 0 && port_ok(s + i, len - i);
}

/* Path components are runs of lower case letters and digits, joined by one '.', one or two '_', or
 * any number of '-'. Returns the offset of the first byte that does not fit, or len. */
static size_t path_bad_at(const char *s, size_t len)
{
	size_t i = 0;
	for (;;) {
		size_t start = i;
		while (i < len && (is_lower(s[i]) || is_digit(s[i])))
			i++;
		if (i == start || i == len)
			return i;
		if (s[i] == '-') {
			while (i < len && s[i] == '-')
				i++;
		} else if (s[i] == '_') {
			i += i + 1 < len && s[i + 1] == '_' ? 2 : 1;
		} else if (s[i] == '.' || s[i] == '/') {
			i++;
		} else {
			return i;
		}
		if (i == len)
			return i - 1;
	}
}

static int bad(const char *whole, const char *what, struct err *e)
{
	return err_set(e, ERR_BAD_INPUT, "image reference '%.300s': %s", whole, what);
}

static int set_tag(struct ref *r, const char *whole, const char *tag, size_t len, struct err *e)
{
	if (len == 0 || len >= sizeof r->tag)
		return bad(whole, "a tag has 1 to 128 characters", e);
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(tag[i]) && tag[i] != '_' && (i == 0 || !strchr(".-", tag[i])))
			return bad(whole, "a tag has only letters, digits, '_', '.' and '-'", e);
	memcpy(r->tag, tag, len);
	r->tag[len] = '\0';
	return 0;
}

/* Docker's rule for where the host ends: the first component is one if it cannot be a path
 * component of Docker Hub. */
static size_t host_length(const char *s, size_t len)
{
	const char *slash = memchr(s, '/', len);
	if (!slash)
		return 0;
	size_t n = (size_t)(slash - s);
	for (size_t i = 0; i < n; i++)
		if (s[i] == '.' || s[i] == ':' || is_upper(s[i]))
			return n;
	return n == 9 && memcmp(s, "localhost", 9) == 0 ? n : 0;
}

static int set_path(struct ref *r, const char *whole, const char *s, size_t len, struct err *e)
{
	const char *library =
		strcmp(r->host, "docker.io") == 0 && !memchr(s, '/', len) ? "library/" : "";
	size_t at = path_bad_at(s, len), prefix = strlen(library);
	if (len == 0)
		return bad(whole, "no repository name", e);
	if (at < len && is_upper(s[at]))
		return bad(whole, "the repository must be lower case", e);
	if (at < len)
		return err_set(e, ERR_BAD_INPUT,
			       "image reference '%.300s': bad repository name at '%.*s'", whole,
			       len - at > 40 ? 40 : (int)(len - at), s + at);
	if (prefix + len >= sizeof r->path)
		return bad(whole, "the repository has more than 255 characters", e);
	memcpy(r->path, library, prefix);
	memcpy(r->path + prefix, s, len);
	r->path[prefix + len] = '\0';
	return 0;
}

static int set_name(struct ref *r, const char *whole, const char *s, size_t len, struct err *e)
{
	size_t host = host_length(s, len);
	if (host >= sizeof r->host)
		return bad(whole, "the registry's name is too long", e);
	if (host > 0 && !host_ok(s, host))
		return err_set(e, ERR_BAD_INPUT, "image reference '%.300s': bad registry '%.*s'",
			       whole, (int)host, s);
	snprintf(r->host, sizeof r->host, "%.*s", (int)host, s);
	if (host == 0 || strcmp(r->host, "index.docker.io") == 0)
		snprintf(r->host, sizeof r->host, "docker.io");
	/* As everywhere else, so that an id can never be taken for a name. */
	if (host == 0 && len == DIGEST_HEX_LEN && strspn(s, "0123456789abcdef") >= len)
		return bad(whole, "64 hex digits are an id, not a name", e);
	size_t skip = host ? host + 1 : 0;
	return set_path(r, whole, s + skip, len - skip, e);
}

/* The store keeps a name as a file name in which a slash takes three bytes (image.h), and each image
 * of a registry has a name by its digest. */
static int check_stored_length(const struct ref *r, const char *whole, struct err *e)
{
	size_t slashes = 1, tag = 1 + strlen(r->tag), digest = 1 + DIGEST_STR_LEN;
	for (const char *p = r->path; *p; p++)
		slashes += *p == '/';
	size_t name = strlen(r->host) + 1 + strlen(r->path) + 2 * slashes;
	size_t len = name + (tag > digest ? tag : digest);
	if (len > NAME_MAX)
		return err_set(e, ERR_BAD_INPUT,
			       "image reference '%.300s': too long for the store: its name takes "
			       "%zu bytes, at most %d are possible",
			       whole, len, NAME_MAX);
	return 0;
}

int ref_parse(struct ref *r, const char *s, struct err *e)
{
	*r = (struct ref){.host = ""};
	size_t len = strcspn(s, "@");
	if (*s == '\0')
		return err_set(e, ERR_BAD_INPUT, "image reference is empty");
	if (s[len] == '@') {
		const char *hex = digest_parse(s + len + 1, e);
		if (!hex)
			return err_wrap(e, "image reference '%.300s'", s);
		snprintf(r->digest, sizeof r->digest, "sha256:%s", hex);
	}
	/* A colon after the last slash starts the tag; one before it belongs to a port. */
	size_t colon = len;
	for (size_t i = len; i > 0 && s[i - 1] != '/'; i--)
		if (s[i - 1] == ':')
			colon = i - 1;
	if (colon < len && set_tag(r, s, s + colon + 1, len - colon - 1, e) < 0)
		return -1;
	if (set_name(r, s, s, colon, e) < 0)
		return -1;
	if (!*r->tag && !*r->digest)
		snprintf(r->tag, sizeof r->tag, "latest");
	return check_stored_length(r, s, e);
}

void ref_with_digest(const struct ref *r, const char *digest, char out[REF_STR_SIZE])
{
	snprintf(out, REF_STR_SIZE, "%s/%s@%s", r->host, r->path, digest);
}

void ref_name(const struct ref *r, char out[REF_STR_SIZE])
{
	if (*r->tag)
		snprintf(out, REF_STR_SIZE, "%s/%s:%s", r->host, r->path, r->tag);
	else
		ref_with_digest(r, r->digest, out);
}

static size_t bare_host(const char *s)
{
	size_t n = strcspn(s, "/");
	return n > 4 && memcmp(s + n - 4, ":443", 4) == 0 ? n - 4 : n;
}

bool ref_same_host(const char *a, const char *b)
{
	size_t n = bare_host(a);
	return n == bare_host(b) && strncasecmp(a, b, n) == 0;
}
