/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static int check_keys(json_t *o, const char *file, const char *const *keys, struct err *e)
{
	const char *key;
	json_t *v;
	json_object_foreach (o, key, v) {
		const char *const *k = keys;
		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			return err_set(e, ERR_BAD_INPUT, "%s: unknown key '%s'", file, key);
		json_type want = strcmp(key, "mirrors") == 0 ? JSON_ARRAY : JSON_STRING;
		if (strcmp(key, "insecure") == 0 ? !json_is_boolean(v) : json_typeof(v) != want)
			return err_set(e, ERR_BAD_INPUT, "%s: %s: unexpected %s", file, key,
				       jsonx_type_name(json_typeof(v)));
	}
	return 0;
}

/* url: scheme://host[:port][/prefix], where a scheme that is missing is https. */
static int add(struct registry *r, const char *url, json_t *doc, bool own, const char *file,
	       struct err *e)
{
	static const char *const schemes[] = {"https://", "http://"};
	size_t scheme = 0;
	if (r->count == ENDPOINTS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: more than %d mirrors", file,
			       ENDPOINTS_MAX - 1);
	const char *rest = url;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0) {
			scheme = i;
			rest = url + strlen(schemes[i]);
		}
	size_t host = strcspn(rest, "/"), len = strlen(rest);
	if (host == 0 || strpbrk(rest, " @?#\\\"") || strstr(rest, "://"))
		return err_set(e, ERR_BAD_INPUT, "%s: bad url '%s'", file, url);
	while (len > host && rest[len - 1] == '/')
		len--;
	struct endpoint *ep = &r->ep[r->count++];
	ep->base = xasprintf("%s%.*s", schemes[scheme], (int)host, rest);
	ep->prefix = len > host + 1 ? xasprintf("%.*s/", (int)(len - host - 1), rest + host + 1)
				    : xstrdup("");
	ep->own = own;
	ep->tls = scheme == 0;
	ep->doc = json_incref(doc);
	ep->http_tls = (struct http_tls){
		.ca = jsonx_opt_string(doc, "ca", NULL),
		.cert = jsonx_opt_string(doc, "cert", NULL),
		.key = jsonx_opt_string(doc, "key", NULL),
		.insecure = jsonx_opt_bool(doc, "insecure", false),
	};
	return 0;
}

/* The file whose "host" is the registry's, else the one with "*". NULL with kind OK: none. */
static json_t *find_file(const char *dir, const char *host, char *name, size_t size, struct err *e)
{
	static const char *const keys[] = {"host", "url", "mirrors",  "ca",
					   "cert", "key", "insecure", NULL};
	const struct dirent *de;
	AUTO_JSON json_t *any = NULL;
	e->kind = ERR_OK;
	AUTO_CLOSEDIR DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? NULL : (err_sys(e, "registries_dir %s", dir), NULL);
	while ((de = readdir(d))) {
		size_t len = strlen(de->d_name);
		if (de->d_name[0] == '.' || len < 6 || strcmp(de->d_name + len - 5, ".json") != 0)
			continue;
		AUTO_JSON json_t *j = jsonx_read_at(dirfd(d), de->d_name, FILE_MAX, e);
		if (!j || check_keys(j, de->d_name, keys, e) < 0)
			return NULL;
		const char *its = jsonx_string(j, de->d_name, "host", e);
		if (!its)
			return NULL;
		bool catch_all = strcmp(its, "*") == 0;
		if (!catch_all && strcmp(its, host) != 0)
			continue;
		snprintf(name, size, "%s", de->d_name);
		if (!catch_all)
			return TAKE(j);
		json_decref(any);
		any = TAKE(j);
	}
	e->kind = ERR_OK;
	return TAKE(any);
}

static int add_mirrors(struct registry *r, json_t *doc, const char *file, struct err *e)
{
	static const char *const keys[] = {"url", "ca", "cert", "key", "insecure", NULL};
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(doc, "mirrors"), i, m) {
		if (!json_is_object(m))
			return err_set(e, ERR_BAD_INPUT, "%s: mirrors[%zu]: expected object", file,
				       i);
		const char *url = jsonx_string(m, file, "url", e);
		if (!url || check_keys(m, file, keys, e) < 0 || add(r, url, m, false, file, e) < 0)
			return -1;
	}
	return 0;
}

int registry_open(struct registry *r, struct engine *en, const struct config *cfg,
		  const struct ref *ref, const struct auth_store *store, struct err *e)
{
	char file[256] = "registries_dir";
	*r = (struct registry){.engine = en,
			       .ref = ref,
			       .store = store,
			       .stall_seconds = (long)cfg->pull_progress_timeout};
	AUTO_JSON json_t *doc = find_file(cfg->registries_dir, ref->host, file, sizeof file, e);
	if (!doc && e->kind != ERR_OK)
		return -1;
	if (add_mirrors(r, doc, file, e) < 0)
		return -1;
	bool hub = strcmp(ref->host, "docker.io") == 0;
	bool catch_all = strcmp(jsonx_opt_string(doc, "host", ""), "*") == 0;
	/* What "*" says of "the host itself" cannot be meant for every host. */
	const char *url = catch_all ? NULL : jsonx_opt_string(doc, "url", NULL);
	return add(r,
		   url   ? url
		   : hub ? "registry-1.docker.io"
			 : ref->host,
		   catch_all ? NULL : doc, true, file, e);
}

void registry_release(struct registry *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct endpoint *ep = &r->ep[i];
		free(ep->base);
		free(ep->prefix);
		free(ep->bearer);
		auth_release(&ep->auth);
		json_decref(ep->doc);
	}
	*r = (struct registry){.count = 0};
}

const char *endpoint_host(const struct registry *r, const struct endpoint *ep)
{
	return ep->own ? r->ref->host : strstr(ep->base, "://") + 3;
}

static int take(void *arg, const char *data, size_t len)
{
	struct err ignored;
	return buf_add(arg, data, len, &ignored) < 0 ? HTTP_FAIL : HTTP_TAKEN;
}

static void add_query(CURL *c, struct buf *b, char sep, const char *name, const char *value)
{
	struct err ignored;
	char *text = *value ? curl_easy_escape(c, value, 0) : NULL;
	if (text)
		(void)buf_addf(b, &ignored, "%c%s=%s", sep, name, text);
	curl_free(text);
}

/* The token server's answer into ep->bearer. */
static int ask(struct registry *r, struct endpoint *ep, const struct http_spec *s, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(1 << 20);
	struct http h = {.easy = NULL};
	struct http_spec spec = *s;
	int rc = 0;
	spec.sink = take;
	spec.arg = &b;
	spec.stall_seconds = r->stall_seconds;
	spec.tls = &ep->http_tls;
	if (http_start(&h, r->engine, &spec, e) < 0)
		rc = -1;
	while (rc == 0 && !h.done)
		rc = engine_wait(r->engine, e);
	if (rc == 0 && h.code != CURLE_OK)
		rc = err_set(e, ERR_REGISTRY, "token server %.200s: %s", s->url,
			     *h.why ? h.why : curl_easy_strerror(h.code));
	else if (rc == 0 && h.status != 200)
		rc = err_set(e, h.status >= 500 ? ERR_REGISTRY : ERR_DENIED,
			     "token server %.200s answers %ld", s->url, h.status);
	http_release(&h);
	AUTO_JSON json_t *j = rc < 0 ? NULL : jsonx_parse(b.data, b.len, "token", e);
	if (!j)
		return -1;
	const char *token = jsonx_opt_string(j, "token", "");
	if (!*token)
		token = jsonx_opt_string(j, "access_token", "");
	if (!*token || strpbrk(token, "\r\n"))
		return err_set(e, ERR_DENIED, "token server %.200s gives no token", s->url);
	free(ep->bearer);
	ep->bearer = xstrdup(token);
	return 0;
}

static int get_token(struct registry *r, struct endpoint *ep, const struct auth_challenge *c,
		     struct err *e)
{
	char scope[600];
	CURL *easy = r->engine->multi ? curl_easy_init() : NULL;
	AUTO_BUF struct buf url = BUF_INIT(8192), post = BUF_INIT(16384);
	struct http_spec s = {.user = ep->auth.user, .password = ep->auth.password};
	bool tls = strncmp(c->realm, "https://", 8) == 0;
	if (!easy || (!tls && (ep->tls || strncmp(c->realm, "http://", 7) != 0))) {
		curl_easy_cleanup(easy);
		return err_set(e, ERR_DENIED, "%s: will not log in at '%.200s'", ep->base,
			       c->realm);
	}
	snprintf(scope, sizeof scope, "repository:%s%s:pull", ep->prefix, r->ref->path);
	const char *want = *c->scope ? c->scope : scope;
	int rc = buf_addstr(&url, c->realm, e);
	if (ep->auth.identity) {
		rc = rc < 0 ? rc : buf_addstr(&post, "grant_type=refresh_token", e);
		add_query(easy, &post, '&', "client_id", "crisp");
		add_query(easy, &post, '&', "service", c->service);
		add_query(easy, &post, '&', "scope", want);
		add_query(easy, &post, '&', "refresh_token", ep->auth.identity);
		s.post = post.data;
		s.user = NULL;
	} else {
		bool has = strchr(c->realm, '?');
		if (*c->service)
			add_query(easy, &url, has ? '&' : '?', "service", c->service);
		add_query(easy, &url, has || *c->service ? '&' : '?', "scope", want);
	}
	curl_easy_cleanup(easy);
	s.url = url.data;
	return rc < 0 ? -1 : ask(r, ep, &s, e);
}

int registry_login(struct registry *r, struct endpoint *ep, const char *challenge, struct err *e)
{
	struct auth_challenge c;
	const char *host = endpoint_host(r, ep);
	auth_challenge_parse(&c, challenge);
	if (!ep->auth_known &&
	    auth_find(r->store, host, r->ref->path, r->ref->host, &ep->auth, e) < 0)
		return -1;
	ep->auth_known = true;
	if (c.bearer && ep->auth.token) {
		if (ep->bearer && strcmp(ep->bearer, ep->auth.token) == 0)
			return err_set(e, ERR_DENIED, "%s refuses the token given", host);
		free(ep->bearer);
		ep->bearer = xstrdup(ep->auth.token);
		return 0;
	}
	if (c.bearer)
		return get_token(r, ep, &c, e);
	if (c.basic && ep->auth.user && !ep->basic) {
		ep->basic = true;
		return 0;
	}
	return err_set(e, ERR_DENIED,
		       ep->auth.user ? "%s refuses the credentials" : "%s wants credentials", host);
}
