/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_REF_H
#define CRISP_REF_H
/* Image references, in the one normal form used everywhere: registry host, repository path, then a
 * tag or a digest or both. Docker's short forms are completed: "busybox" is
 * docker.io/library/busybox:latest. Grammar and limits: distribution/reference (repository at most
 * 255 bytes, tag at most 128, lower case). */
#include "err.h"

#include <stdbool.h>

struct ref {
	char host[256];          /* "docker.io", "127.0.0.1:5000", "[::1]:5000" */
	char path[256];          /* "library/busybox" */
	char tag[129];           /* "" when only a digest was given */
	char digest[7 + 64 + 1]; /* "sha256:…" or "" */
};

enum { REF_STR_SIZE = 256 + 1 + 256 + 1 + 129 + 1 + 72 };

/* ERR_BAD_INPUT that names the part that is wrong (upper case, bad tag, …), or says that the store
 * could not keep the name: escaped (image.h), with the tag and with a digest, it must not be longer
 * than a file name. A bare reference gets the tag "latest"; name:tag@digest keeps both, the digest
 * decides what is pulled. */
int ref_parse(struct ref *r, const char *s, struct err *e);
/* host/path:tag, or host/path@digest when there is no tag. */
void ref_name(const struct ref *r, char out[REF_STR_SIZE]);
/* host/path@digest for a digest of the caller's. */
void ref_with_digest(const struct ref *r, const char *digest, char out[REF_STR_SIZE]);
/* Do two names, HOST[:PORT][/PATH], begin with the same registry? Case does not count, nor whether the
 * port of https is written. */
bool ref_same_host(const char *a, const char *b);
#endif
