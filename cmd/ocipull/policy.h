/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_POLICY_H
#define OCIPULL_POLICY_H
/* What policy_dir says of an image's name: whether it may be pulled, and who must have signed it
 * (ocipull(1), SIGNATURES). One JSON file a prefix of names; the longest prefix that covers whole
 * components decides, "*" where no other does, and without any file all is accepted. A file that
 * cannot be understood fails every pull: what it would have demanded is not known. */
#include "err.h"
#include "ref.h"

#include <jansson.h>
#include <stdbool.h>

enum policy_rule { POLICY_ACCEPT, POLICY_REJECT, POLICY_REQUIRE };

/* How the name in a signature must agree with the image's. */
enum policy_identity {
	IDENTITY_EXACT,      /* repository; and the tag, where both have one */
	IDENTITY_REPOSITORY, /* repository */
	IDENTITY_PREFIX, /* any repository below signed_as or, without that, the entry's prefix */
	IDENTITY_ANY
};

/* The prefix of what comes from directories and archives. */
#define POLICY_LOCAL "local"

enum { POLICY_KEYS_MAX = 32 };

struct policy {
	char file[256];
	char prefix[REF_STR_SIZE]; /* "" = all */
	enum policy_rule rule;
	enum policy_identity identity;
	char signed_as[REF_STR_SIZE]; /* "" = the image's own name */
	json_int_t signers;           /* how many of the keys must have signed */
	bool verify;                  /* run the programs of verify_dir */
	bool elsewhere;               /* signatures are in `repository` */
	struct ref repository;
	json_t *keys; /* strings: file names, NULL unless POLICY_REQUIRE */
};

/* One file's content; `file` names it in messages. */
int policy_parse(struct policy *p, json_t *doc, const char *file, struct err *e);
/* The entry for an image; ref NULL = from a directory or an archive. */
int policy_find(struct policy *p, const char *dir, const struct ref *ref, struct err *e);
void policy_release(struct policy *p);

/* Is `name` (host/path) below the prefix, in whole components? "" covers all. Of hosts,
 * case and a port 443 do not count (ref_same_host). */
bool policy_covers(const char *prefix, const char *name);
#endif
