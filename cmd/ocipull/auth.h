/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_AUTH_H
#define OCIPULL_AUTH_H
/* Credentials: where they come from, and what a registry asks for. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

/* All NULL = none. */
struct auth {
	char *user, *password;
	char *identity; /* a refresh token for the token server */
	char *token;    /* a bearer token for the registry itself */
};
void auth_release(struct auth *a);

/* What was given: a CRI AuthConfig (either may be NULL) and a file in docker's config.json form. */
struct auth_store {
	json_t *cri, *file;
};
/* fd < 0: none; path "": none, and one that is absent is none too. */
int auth_store_load(struct auth_store *s, int fd, const char *path, struct err *e);
void auth_store_release(struct auth_store *s);

/* The credentials for a registry by its name (host:port, "docker.io") and a repository path. The
 * AuthConfig counts for its server_address, or, without one, for the host that the image reference
 * names (image_host), and before the file. */
int auth_find(const struct auth_store *s, const char *host, const char *path,
	      const char *image_host, struct auth *a, struct err *e);

/* A WWW-Authenticate header. */
struct auth_challenge {
	bool bearer, basic;
	char realm[512], service[256], scope[512];
};
void auth_challenge_parse(struct auth_challenge *c, const char *header);
#endif
