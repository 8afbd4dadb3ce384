/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an endpoint is made from. */
struct plan {
	const struct config *cfg;
	const char *file; /* for messages */
	const char *rest; /* what follows the covered part of the name, "" or "a/b" */
};

static void set_tls(struct endpoint *ep, json_t *doc)
{
	ep->doc = json_incref(doc);
	ep->digest_only = jsonx_opt_bool(doc, "digest_only", false);
	ep->tls = (struct http_tls){
		.ca = jsonx_opt_string(doc, "ca", NULL),
		.cert = jsonx_opt_string(doc, "cert", NULL),
		.key = jsonx_opt_string(doc, "key", NULL),
		.insecure = jsonx_opt_bool(doc, "insecure", false),
	};
}

/* url: scheme://host[:port][/path], where a scheme that is missing is https; its path stands for
 * the covered part of the image's name. */
static int add(struct registry *r, const struct plan *p, const char *url, json_t *doc, bool own,
	       struct err *e)
{
	static const char *const schemes[] = {"https://", "http://"};
	size_t scheme = 0;
	if (r->count == ENDPOINTS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: more than %d mirrors", p->file,
			       ENDPOINTS_MAX - 1);
	const char *to = url;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0) {
			scheme = i;
			to = url + strlen(schemes[i]);
		}
	size_t host = strcspn(to, "/"), len = strlen(to);
	if (host == 0 || host > 255 || len > 512 || strpbrk(to, " @?#\\\"") || strstr(to, "://"))
		return err_set(e, ERR_BAD_INPUT, "%s: bad url '%s'", p->file, url);
	while (len > host && to[len - 1] == '/')
		len--;
	size_t path = len > host + 1 ? len - host - 1 : 0;
	if (path == 0 && !*p->rest)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: '%s' has no path to stand for the whole of the image's name",
			       p->file, url);
	struct endpoint *ep = &r->ep[r->count++];
	*ep = (struct endpoint){.own = own, .encrypted = scheme == 0};
	ep->base = xasprintf("%s%.*s", schemes[scheme], (int)host, to);
	ep->repo = xasprintf("%.*s%s%s", (int)path, to + host + 1, path && *p->rest ? "/" : "",
			     p->rest);
	set_tls(ep, doc);
	return certs_dir_read(ep, p->cfg->certs_dir, strstr(ep->base, "://") + 3, e);
}

static int add_mirrors(struct registry *r, const struct plan *p, json_t *doc, struct err *e)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(doc, "mirrors"), i, m) {
		if (!json_is_object(m))
			return err_set(e, ERR_BAD_INPUT, "%s: mirrors[%zu]: expected object",
				       p->file, i);
		const char *url = jsonx_string(m, p->file, "url", e);
		if (!url || registry_file_check(m, p->file, true, e) < 0 ||
		    add(r, p, url, m, false, e) < 0)
			return -1;
	}
	return 0;
}

/* The name as it is, wherever a file may put its prefix. */
static int add_own(struct registry *r, const struct plan *p, json_t *doc, struct err *e)
{
	bool hub = strcmp(r->ref->host, "docker.io") == 0;
	const char *url = jsonx_opt_string(doc, "url", NULL);
	/* What a pattern says of "the host itself" cannot be meant for every host. */
	bool pattern = jsonx_opt_string(doc, "host", "")[0] == '*';
	struct plan as_it_is = *p;
	as_it_is.rest = r->ref->path;
	if (url)
		return add(r, p, url, doc, true, e);
	return add(r, &as_it_is, hub ? "registry-1.docker.io" : r->ref->host, pattern ? NULL : doc,
		   true, e);
}

/* curl reads http_proxy in lower case only, for fear of CGI's environment, which is not ours. */
static void take_proxy(void)
{
	const char *upper = getenv("HTTP_PROXY");
	if (upper && *upper && !getenv("REQUEST_METHOD"))
		setenv("http_proxy", upper, 0);
}

int registry_open(struct registry *r, struct engine *en, const struct config *cfg,
		  const struct ref *ref, const struct auth_store *store, struct err *e)
{
	char file[256] = "registries_dir", full[sizeof ref->host + sizeof ref->path + 1];
	size_t covered;
	*r = (struct registry){.engine = en,
			       .ref = ref,
			       .store = store,
			       .stall_seconds = (long)cfg->pull_progress_timeout,
			       .stall_rate = (long)cfg->pull_progress_rate};
	AUTO_JSON json_t *doc =
		registry_file(cfg->registries_dir, ref, file, sizeof file, &covered, e);
	if (!doc && e->kind != ERR_OK)
		return -1;
	snprintf(full, sizeof full, "%s/%s", ref->host, ref->path);
	if (jsonx_opt_bool(doc, "blocked", false))
		return err_set(e, ERR_DENIED, "%s is blocked: 'blocked' in %s", full, file);
	const char *rest = full + covered;
	struct plan p = {.cfg = cfg, .file = file, .rest = *rest == '/' ? rest + 1 : rest};
	take_proxy();
	return add_mirrors(r, &p, doc, e) < 0 ? -1 : add_own(r, &p, doc, e);
}

void registry_release(struct registry *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct endpoint *ep = &r->ep[i];
		free(ep->base);
		free(ep->repo);
		free(ep->cert);
		free(ep->key);
		free(ep->bearer);
		free(ep->challenge);
		buf_release(&ep->authorities);
		auth_release(&ep->auth);
		json_decref(ep->doc);
	}
	*r = (struct registry){.count = 0};
}

const char *endpoint_host(const struct registry *r, const struct endpoint *ep)
{
	return ep->own ? r->ref->host : strstr(ep->base, "://") + 3;
}
