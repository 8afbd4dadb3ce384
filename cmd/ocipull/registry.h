/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_REGISTRY_H
#define OCIPULL_REGISTRY_H
/* Where an image's bytes may come from: the mirrors of its registry in the configured order, then
 * the registry itself. registries_dir has one JSON file a registry, or a part of one (ocipull(1),
 * REGISTRIES). */
#include "auth.h"
#include "config.h"
#include "engine.h"
#include "err.h"
#include "http.h"
#include "ref.h"

#include <stdbool.h>

struct endpoint {
	char *base;       /* scheme://host[:port] */
	char *repo;       /* the repository's path there */
	bool own;         /* the registry itself, not a mirror */
	bool digest_only; /* not to be asked what a tag means */
	bool lies;        /* it gave what was wrong */
	bool encrypted;
	struct http_tls tls;    /* its strings are borrowed from what follows */
	json_t *doc;            /* its part of the file; NULL = there is none */
	char *cert, *key;       /* of certs_dir */
	struct buf authorities; /* the same */
	bool auth_known;        /* its credentials were looked for */
	struct auth auth;
	char *bearer;       /* the token in use, NULL = none yet */
	unsigned tokens;    /* how many there were: names the one in use */
	long long stale_at; /* when it is no good any more (proc_now_ms); 0 = not known */
	char *challenge;    /* what it was the answer to */
	bool basic;         /* it asked for basic authentication */
};

enum { ENDPOINTS_MAX = 32 };

struct registry {
	struct engine *engine;
	const struct ref *ref;
	const struct auth_store *store;
	long stall_seconds, stall_rate;
	struct endpoint ep[ENDPOINTS_MAX];
	size_t count;
	size_t good; /* the endpoint that served last */
};

int registry_open(struct registry *r, struct engine *en, const struct config *cfg,
		  const struct ref *ref, const struct auth_store *store, struct err *e);
void registry_release(struct registry *r);
/* The endpoint's host[:port], which credentials go by. */
const char *endpoint_host(const struct registry *r, const struct endpoint *ep);

/* login.c: answer an endpoint's challenges: find credentials, get a token if it wants one.
 * ERR_DENIED when there is nothing (more) to offer. Waits. */
int registry_login(struct registry *r, struct endpoint *ep, const char *challenge, struct err *e);
/* It has a token that is, or is about to be, too old. */
bool endpoint_token_is_stale(const struct endpoint *ep);

/* registry_file.c: the file of registries_dir for a repository, the one with the longest "host".
 * *covered: how many bytes of HOST/PATH that covers. NULL with kind OK: none. */
json_t *registry_file(const char *dir, const struct ref *ref, char *name, size_t size,
		      size_t *covered, struct err *e);
/* Keys and types of a file, or of one of its mirrors. */
int registry_file_check(json_t *o, const char *file, bool mirror, struct err *e);

/* certs_dir.c: DIR/HOST: authorities (*.crt), a client certificate and its key (*.cert, *.key). */
int certs_dir_read(struct endpoint *ep, const char *dir, const char *host, struct err *e);
#endif
