/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

void auth_release(struct auth *a)
{
	free(a->user);
	free(a->password);
	free(a->identity);
	free(a->token);
	*a = (struct auth){.user = NULL};
}

void auth_store_release(struct auth_store *s)
{
	json_decref(s->cri);
	json_decref(s->file);
	*s = (struct auth_store){.cri = NULL};
}

json_t *auth_parse(const char *data, size_t len, const char *what, struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(data ? data : "", len, JSON_REJECT_DUPLICATES, &je);
	/* Not the parser's own words: they quote what stands there. */
	return j ? j
		 : err_set_p(e, ERR_BAD_INPUT, "%s:%d:%d: malformed JSON", what, je.line,
			     je.column);
}

int auth_store_load(struct auth_store *s, const struct buf *cri, const char *image_host,
		    const char *path, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(AUTH_MAX);
	*s = (struct auth_store){.image_host = image_host};
	if (cri->len > 0 && !(s->cri = auth_parse(cri->data, cri->len, "credentials", e)))
		return -1;
	if (!*path)
		return 0;
	if (fs_read_at(AT_FDCWD, path, &b, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : err_wrap(e, "auth_file");
	s->file = auth_parse(b.data, b.len, path, e);
	return s->file ? 0 : err_wrap(e, "auth_file");
}

static int base64_value(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* user:password, or NULL. */
static char *decode(const char *s)
{
	char *out = xmalloc(strlen(s) + 1);
	size_t n = 0;
	unsigned bits = 0;
	int have = 0;
	for (; *s && *s != '='; s++) {
		int v = base64_value(*s);
		if (v < 0) {
			free(out);
			return NULL;
		}
		bits = (bits << 6 | (unsigned)v) & 0xffffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (char)(bits >> have & 0xff);
		}
	}
	out[n] = '\0';
	return out;
}

static const char *either(json_t *j, const char *a, const char *b)
{
	const char *s = jsonx_opt_string(j, a, "");
	return *s ? s : jsonx_opt_string(j, b, "");
}

static char *copy(const char *s)
{
	return *s ? xstrdup(s) : NULL;
}

/* docker's way to say that what stands for the password is an identity token. */
static void take_token_user(struct auth *a)
{
	if (!a->user || strcmp(a->user, "<token>") != 0)
		return;
	if (!a->identity)
		a->identity = TAKE(a->password);
	free(a->password);
	free(a->user);
	a->user = a->password = NULL;
}

/* What would end a header, or hides something from whoever reads it, is no part of credentials. */
static int check_text(const struct auth *a, const char *host, struct err *e)
{
	const char *const all[] = {a->user, a->password, a->identity, a->token};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i] && strpbrk(all[i], "\r\n"))
			return err_set(e, ERR_BAD_INPUT, "credentials for %s: a line break in them",
				       host);
	return 0;
}

static int fill(struct auth *a, json_t *j, const char *host, struct err *e)
{
	const char *both = jsonx_opt_string(j, "auth", "");
	a->user = copy(jsonx_opt_string(j, "username", ""));
	a->password = copy(jsonx_opt_string(j, "password", ""));
	a->identity = copy(either(j, "identity_token", "identityToken"));
	if (!a->identity)
		a->identity = copy(jsonx_opt_string(j, "identitytoken", ""));
	a->token = copy(either(j, "registry_token", "registryToken"));
	if (!a->token)
		a->token = copy(jsonx_opt_string(j, "registrytoken", ""));
	if (!a->user && *both) {
		AUTO_FREE char *plain = decode(both);
		char *colon = plain ? strchr(plain, ':') : NULL;
		if (!colon)
			return err_set(e, ERR_BAD_INPUT,
				       "credentials for %s: auth is not base64 of user:password",
				       host);
		*colon = '\0';
		a->user = copy(plain);
		free(a->password);
		a->password = xstrdup(colon + 1);
	}
	take_token_user(a);
	return check_text(a, host, e);
}

static bool is_empty(const struct auth *a)
{
	return !a->user && !a->identity && !a->token;
}

/* A registry's key as docker writes it, with or without scheme and API version: returns its start,
 * and its length in *len. */
static const char *bare(const char *key, size_t *len)
{
	const char *scheme = strstr(key, "://");
	if (scheme)
		key = scheme + 3;
	*len = strlen(key);
	while (*len > 0 && key[*len - 1] == '/')
		--*len;
	if (*len > 3 &&
	    (memcmp(key + *len - 3, "/v1", 3) == 0 || memcmp(key + *len - 3, "/v2", 3) == 0))
		*len -= 3;
	if ((*len == 15 && memcmp(key, "index.docker.io", 15) == 0) ||
	    (*len == 20 && memcmp(key, "registry-1.docker.io", 20) == 0)) {
		*len = 9;
		return "docker.io";
	}
	return key;
}

static bool is_host(const char *key, const char *host)
{
	size_t len, hlen;
	const char *k = bare(key, &len), *h = bare(host, &hlen);
	const char *slash = memchr(k, '/', len);
	if (slash)
		len = (size_t)(slash - k);
	return len == hlen && strncasecmp(k, h, len) == 0;
}

/* How well a key of the file fits host/path: the length of what agrees, 0 = not at all. */
static size_t fits(const char *key, const char *host, const char *path)
{
	size_t len, hlen = strlen(host);
	const char *k = bare(key, &len);
	if (len < hlen || strncasecmp(k, host, hlen) != 0)
		return 0;
	if (len == hlen)
		return len;
	size_t rest = len - hlen - 1;
	if (k[hlen] != '/' || strncmp(path, k + hlen + 1, rest) != 0)
		return 0;
	return path[rest] == '\0' || path[rest] == '/' ? len : 0;
}

static const char *helper_of_host(json_t *helpers, const char *host)
{
	const char *key;
	json_t *v;
	json_object_foreach (helpers, key, v)
		if (json_is_string(v) && is_host(key, host))
			return json_string_value(v);
	return NULL;
}

static int find_in_file(const struct auth_store *s, const char *host, const char *path,
			struct auth *a, const char **helper, struct err *e)
{
	const char *key;
	json_t *entry, *best = NULL;
	size_t best_len = 0;
	*helper = helper_of_host(json_object_get(s->file, "credHelpers"), host);
	if (*helper)
		return 0;
	json_object_foreach (json_object_get(s->file, "auths"), key, entry) {
		size_t len = fits(key, host, path);
		/* An empty entry only says that a helper has it. */
		if (len > best_len && json_object_size(entry) > 0) {
			best = entry;
			best_len = len;
		}
	}
	if (best && fill(a, best, host, e) < 0)
		return -1;
	/* A password alone is no use, and in the way of what a helper will say. */
	if (is_empty(a))
		auth_release(a);
	const char *all = jsonx_opt_string(s->file, "credsStore", "");
	*helper = is_empty(a) && *all ? all : NULL;
	return 0;
}

int auth_find(const struct auth_store *s, const char *host, const char *path, struct auth *a,
	      const char **helper, struct err *e)
{
	const char *server = either(s->cri, "server_address", "serverAddress");
	*a = (struct auth){.user = NULL};
	*helper = NULL;
	if (s->cri && is_host(*server ? server : s->image_host, host)) {
		if (fill(a, s->cri, host, e) < 0)
			return -1;
		if (!is_empty(a))
			return 0;
		auth_release(a);
	}
	return find_in_file(s, host, path, a, helper, e);
}

bool auth_helper_name_is_good(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n < 64 && name[0] != '.' && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       n;
}

int auth_from_helper(struct auth *a, const char *text, size_t len, const char *who, struct err *e)
{
	AUTO_JSON json_t *j = auth_parse(text, len, who, e);
	if (!j)
		return -1;
	if (!json_is_object(j) || !*jsonx_opt_string(j, "Secret", ""))
		return err_set(e, ERR_DENIED, "%s gives no secret", who);
	*a = (struct auth){
		.user = copy(jsonx_opt_string(j, "Username", "")),
		.password = copy(jsonx_opt_string(j, "Secret", "")),
	};
	take_token_user(a);
	if (is_empty(a))
		return err_set(e, ERR_DENIED, "%s gives no user name", who);
	return check_text(a, who, e);
}
