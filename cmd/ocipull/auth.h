/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_AUTH_H
#define OCIPULL_AUTH_H
/* Credentials: where they come from. */
#include "buf.h"
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

/* What was given: a CRI AuthConfig (either may be NULL) and a file in the form of docker's
 * config.json or containers-auth.json: "auths", "credHelpers", "credsStore". */
struct auth_store {
	json_t *cri, *file;
	const char *image_host; /* borrowed; whom an AuthConfig without server_address is for */
};
enum { AUTH_MAX = 1 << 20 }; /* bytes of an AuthConfig, and of the file */
/* cri empty: none; path "": none, and one that is absent is none too. image_host: the registry that
 * the image's reference names. */
int auth_store_load(struct auth_store *s, const struct buf *cri, const char *image_host,
		    const char *path, struct err *e);
void auth_store_release(struct auth_store *s);

/* The credentials for a registry by its name (host:port, "docker.io") and a repository path. The
 * AuthConfig counts for its server_address, or, without one, for image_host and no other, and before
 * the file. Of the file count in this order: the host's credential helper, the longest key of
 * "auths" that covers the host or the path and says anything, the credential helper for all.
 * *helper: the name of the one that is to be asked (borrowed), NULL = none. */
int auth_find(const struct auth_store *s, const char *host, const char *path, struct auth *a,
	      const char **helper, struct err *e);

/* Parse what holds secrets: the error says where it is malformed and quotes nothing. A new
 * reference, or NULL. */
json_t *auth_parse(const char *data, size_t len, const char *what, struct err *e);
/* A credential helper's answer; `who` names it. */
int auth_from_helper(struct auth *a, const char *text, size_t len, const char *who, struct err *e);
bool auth_helper_name_is_good(const char *name);
#endif
