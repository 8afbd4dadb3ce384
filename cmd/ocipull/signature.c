/* SPDX-License-Identifier: Apache-2.0 */
#include "signature.h"

#include "auto.h"
#include "base64.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SIMPLE_SIGNING "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIGNATURE_KEY "dev.cosignproject.cosign/signature"
#define PAYLOAD_TYPE "cosign container image signature"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

/* Never ask at a terminal for a pass phrase. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int bad_key(const char *name, const char *why, struct err *e)
{
	return err_set(e, ERR_BAD_INPUT, "key %s: %s", name, why);
}

/* Which kinds there are, and what each signs. */
static int judge_key(struct sigkey *k, struct err *e)
{
	char group[64] = "";
	EVP_PKEY *pkey = k->pkey;
	k->hashed = true;
	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_ED25519:
		k->hashed = false;
		return 0;
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group,
						   sizeof group, NULL) == 1 &&
		    strcmp(group, "prime256v1") == 0)
			return 0;
		return bad_key(k->name, "of elliptic curves only P-256 is supported", e);
	case EVP_PKEY_RSA:
		if (EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN &&
		    EVP_PKEY_get_bits(pkey) <= RSA_BITS_MAX)
			return 0;
		return bad_key(k->name, "an RSA key must have 2048 to 8192 bits", e);
	default:
		return bad_key(k->name, "neither ECDSA P-256, Ed25519 nor RSA", e);
	}
}

int sigkey_parse(struct sigkey *k, const char *pem, size_t len, const char *name, struct err *e)
{
	static const char begin[] = "-----BEGIN ", want[] = "-----BEGIN PUBLIC KEY-----";
	*k = (struct sigkey){.pkey = NULL};
	snprintf(k->name, sizeof k->name, "%s", name);
	const char *first = memmem(pem, len, begin, sizeof begin - 1);
	if (!first)
		return bad_key(name, "no PEM file", e);
	size_t rest = len - (size_t)(first - pem);
	if (rest < sizeof want - 1 || memcmp(first, want, sizeof want - 1) != 0) {
		const char *what = first + sizeof begin - 1;
		int n = 0;
		while (n < 40 && what + n < pem + len && what[n] != '-' && what[n] != '\r' &&
		       what[n] != '\n')
			n++;
		return err_set(e, ERR_BAD_INPUT, "key %s: not a public key but '%.*s'", name, n,
			       what);
	}
	if (memmem(first + 1, rest - 1, begin, sizeof begin - 1))
		return bad_key(name, "more than one PEM block in the file", e);
	BIO *bio = BIO_new_mem_buf(first, (int)rest);
	if (!bio)
		return err_set(e, ERR_EXHAUSTED, "no memory for libcrypto");
	k->pkey = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (!k->pkey)
		return bad_key(name, "the PEM block is damaged, or of an unknown kind", e);
	return judge_key(k, e);
}

static int load_key(struct sigkey *k, const char *dir, const char *file, struct err *e)
{
	AUTO_FREE char *path = *file == '/' ? xstrdup(file) : xasprintf("%s/%s", dir, file);
	AUTO_BUF struct buf b = BUF_INIT(KEY_FILE_MAX);
	struct stat st;
	if (stat(path, &st) < 0)
		return err_sys(e, "key %s", path);
	if (st.st_mode & S_IWOTH)
		return bad_key(path, "anybody may write it", e);
	if (fs_read_at(AT_FDCWD, path, &b, e) < 0)
		return err_wrap(e, "key");
	return sigkey_parse(k, b.data ? b.data : "", b.len, path, e);
}

int sigkeys_load(struct sigkeys *ks, const char *dir, const json_t *files, struct err *e)
{
	*ks = (struct sigkeys){.count = 0};
	size_t n = json_array_size(files);
	for (size_t i = 0; i < n && i < ARRAY_LEN(ks->key); i++) {
		struct sigkey *k = &ks->key[ks->count++];
		const char *file = json_string_value(json_array_get(files, i));
		if (load_key(k, dir, file, e) < 0)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (EVP_PKEY_eq(k->pkey, ks->key[j].pkey) == 1)
				return err_set(e, ERR_BAD_INPUT, "key %s: the same as %s", k->name,
					       ks->key[j].name);
	}
	return 0;
}

void sigkeys_release(struct sigkeys *ks)
{
	for (size_t i = 0; i < ks->count; i++)
		EVP_PKEY_free(ks->key[i].pkey);
	ks->count = 0;
}

bool sigkey_verify(const struct sigkey *k, const void *data, size_t len, const unsigned char *sig,
		   size_t sig_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *md = k->hashed ? EVP_sha256() : NULL;
	bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->pkey) == 1 &&
		  EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

/* One layer of the manifest; false: not a signature that can hold. */
static bool entry_parse(struct signature *s, json_t *layer)
{
	struct err ignored;
	unsigned char *raw = NULL;
	size_t len = 0;
	const char *text = json_string_value(
		json_object_get(json_object_get(layer, "annotations"), SIGNATURE_KEY));
	if (!text || strlen(text) > SIGNATURE_BYTES_MAX / 3 * 4)
		return false;
	if (descriptor_parse(layer, "signature", &s->payload, &ignored) < 0 ||
	    s->payload.size < 1 || s->payload.size > PAYLOAD_MAX)
		return false;
	if (base64_decode(text, strlen(text), &raw, &len) < 0)
		return false;
	bool fits = len > 0 && len <= sizeof s->bytes;
	if (fits)
		memcpy(s->bytes, raw, len);
	s->len = len;
	free(raw);
	return fits;
}

int signature_list_parse(struct signature_list *l, json_t *manifest, const char *media_type,
			 struct err *e)
{
	size_t i;
	json_t *layer;
	l->found = l->count = 0;
	int index = manifest_is_index(manifest, media_type, e);
	if (index != 0)
		return index < 0 ? -1 : err_set(e, ERR_UNSUPPORTED, "an index of manifests");
	json_t *layers = jsonx_get(manifest, "manifest", JSON_ARRAY, e, "layers", NULL);
	if (!layers)
		return -1;
	json_array_foreach (layers, i, layer) {
		const char *type = json_string_value(json_object_get(layer, "mediaType"));
		if (!type || strcmp(type, SIMPLE_SIGNING) != 0)
			continue;
		if (++l->found <= SIGNATURES_MAX && entry_parse(&l->sig[l->count], layer))
			l->count++;
	}
	return 0;
}

/* Was a tag or a digest written? ref_parse adds "latest" where none was. */
static bool has_tag(const char *typed)
{
	size_t len = strcspn(typed, "@");
	for (size_t i = len; i > 0 && typed[i - 1] != '/'; i--)
		if (typed[i - 1] == ':')
			return true;
	return false;
}

static int check_identity(const char *typed, const char *digest, const struct ref *image,
			  const struct policy *policy, struct err *e)
{
	struct ref r;
	struct err why;
	char name[REF_STR_SIZE], own[REF_STR_SIZE];
	if (policy->identity == IDENTITY_ANY)
		return 0;
	if (ref_parse(&r, typed, &why) < 0)
		return err_set(e, ERR_SIGNATURE, "it names no repository but '%.200s'", typed);
	snprintf(name, sizeof name, "%s/%s", r.host, r.path);
	snprintf(own, sizeof own, "%s/%s", image->host, image->path);
	const char *want = *policy->signed_as                    ? policy->signed_as
			   : policy->identity == IDENTITY_PREFIX ? policy->prefix
								 : own;
	bool fits = policy->identity == IDENTITY_PREFIX ? policy_covers(want, name)
							: strcasecmp(want, name) == 0;
	if (!fits)
		return err_set(e, ERR_SIGNATURE, "it is for '%.200s', not for '%.200s'", name,
			       want);
	if (policy->identity == IDENTITY_EXACT && has_tag(typed) && *image->tag &&
	    !*image->digest && strcmp(r.tag, image->tag) != 0)
		return err_set(e, ERR_SIGNATURE, "it is for the tag '%s', not for '%s'", r.tag,
			       image->tag);
	if (*r.digest && strcmp(r.digest, digest) != 0)
		return err_set(e, ERR_SIGNATURE, "it is for %s", r.digest);
	return 0;
}

static const char *member(json_t *j, const char *a, const char *b)
{
	const char *s = json_string_value(json_object_get(json_object_get(j, a), b));
	return s ? s : "";
}

int payload_check(const char *data, size_t len, const char *digest, const struct ref *image,
		  const struct policy *policy, struct err *e)
{
	struct err why;
	AUTO_JSON json_t *j = jsonx_parse(data, len, "payload", &why);
	if (!j)
		return err_set(e, ERR_SIGNATURE, "%.400s", why.msg);
	json_t *critical = json_object_get(j, "critical");
	const char *type = json_string_value(json_object_get(critical, "type"));
	if (!type || strcmp(type, PAYLOAD_TYPE) != 0)
		return err_set(e, ERR_SIGNATURE, "its type is '%.100s'", type ? type : "");
	const char *its = member(critical, "image", "docker-manifest-digest");
	if (strcmp(its, digest) != 0)
		return err_set(e, ERR_SIGNATURE, "it is for '%.100s'", its);
	return check_identity(member(critical, "identity", "docker-reference"), digest, image,
			      policy, e);
}
