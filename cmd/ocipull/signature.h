/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_SIGNATURE_H
#define OCIPULL_SIGNATURE_H
/* Signatures as cosign stores them in a registry: an image's manifest under the tag
 * sha256-<hex>.sig whose layers are "simple signing" payloads, each with its signature, base64, in
 * an annotation. The payload names the signed digest and repository. Nothing here touches the
 * network; all input but the keys is hostile. */
#include "digest.h"
#include "err.h"
#include "manifest.h"
#include "policy.h"
#include "ref.h"

#include <jansson.h>
#include <stdbool.h>

enum {
	SIGNATURES_MAX = 64, /* looked at; more may be there */
	SIGNATURE_BYTES_MAX = 1024,
	PAYLOAD_MAX = 64 << 10,
	KEY_FILE_MAX = 64 << 10,
};

/* A public key: ECDSA on P-256 (with SHA-256), Ed25519, or RSA of 2048 bits and more (PKCS#1 v1.5
 * with SHA-256). */
struct sigkey {
	void *pkey;
	char name[256]; /* of its file */
	bool hashed;    /* signs a SHA-256 */
};

struct sigkeys {
	size_t count;
	struct sigkey key[POLICY_KEYS_MAX];
};

/* One PEM block "PUBLIC KEY" and no other. ERR_BAD_INPUT says what it is instead. */
int sigkey_parse(struct sigkey *k, const char *pem, size_t len, const char *name, struct err *e);
/* The files named; relative ones are beside the policy, in dir. A key given twice is refused. */
int sigkeys_load(struct sigkeys *ks, const char *dir, const json_t *files, struct err *e);
void sigkeys_release(struct sigkeys *ks);
bool sigkey_verify(const struct sigkey *k, const void *data, size_t len, const unsigned char *sig,
		   size_t sig_len);

struct signature {
	struct descriptor payload;
	unsigned char bytes[SIGNATURE_BYTES_MAX];
	size_t len;
};

struct signature_list {
	size_t found; /* in the manifest */
	size_t count; /* usable ones among the first SIGNATURES_MAX */
	struct signature sig[SIGNATURES_MAX];
};

/* The signatures in a manifest. ERR_BAD_INPUT or ERR_UNSUPPORTED when it is not one of these
 * manifests; single entries that are malformed only do not count. */
int signature_list_parse(struct signature_list *l, json_t *manifest, const char *media_type,
			 struct err *e);

/* Does a payload, whose signature holds, speak for this image? ERR_SIGNATURE says why not. */
int payload_check(const char *data, size_t len, const char *digest, const struct ref *image,
		  const struct policy *policy, struct err *e);
#endif
