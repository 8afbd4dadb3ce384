/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_REGISTRY_H
#define OCIPULL_REGISTRY_H
/* Where an image's bytes may come from: the mirrors of its registry in the configured order, then
 * the registry itself. registries_dir has one JSON file a registry (ocipull(1), REGISTRIES). */
#include "auth.h"
#include "config.h"
#include "engine.h"
#include "err.h"
#include "http.h"
#include "ref.h"

#include <stdbool.h>

struct endpoint {
	char *base;   /* scheme://host[:port] */
	char *prefix; /* path put before the repository's: "" or "a/b/" */
	bool own;     /* the registry itself, not a mirror */
	bool tls;
	struct http_tls http_tls; /* its strings are borrowed from doc */
	json_t *doc;
	bool auth_known;
	struct auth auth;
	char *bearer; /* the token in use, NULL = none yet */
	bool basic;   /* it asked for basic authentication */
};

enum { ENDPOINTS_MAX = 32 };

struct registry {
	struct engine *engine;
	const struct ref *ref;
	const struct auth_store *store;
	long stall_seconds;
	struct endpoint ep[ENDPOINTS_MAX];
	size_t count;
	size_t good; /* the endpoint that served last */
};

int registry_open(struct registry *r, struct engine *en, const struct config *cfg,
		  const struct ref *ref, const struct auth_store *store, struct err *e);
void registry_release(struct registry *r);
/* Answer an endpoint's challenge: find credentials, get a token if it wants one. ERR_DENIED when
 * there is nothing (more) to offer. Waits. */
int registry_login(struct registry *r, struct endpoint *ep, const char *challenge, struct err *e);
/* The endpoint's host[:port], which credentials go by. */
const char *endpoint_host(const struct registry *r, const struct endpoint *ep);
#endif
