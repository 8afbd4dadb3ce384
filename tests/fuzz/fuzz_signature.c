/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a registry and "signed": manifests of signatures, payloads, PEM files, policies.
 * Nothing may crash; no payload speaks for an image whose digest it does not name. */
#include "cmd/ocipull/manifest.c"
#include "cmd/ocipull/policy.c"
#include "cmd/ocipull/signature.c"

#include <stdint.h>

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void check_payload(const char *text, size_t size)
{
	static const struct policy policies[] = {
		{.identity = IDENTITY_EXACT},
		{.identity = IDENTITY_REPOSITORY, .signed_as = "r.io/a/b"},
		{.identity = IDENTITY_PREFIX, .prefix = "r.io"},
		{.identity = IDENTITY_ANY},
	};
	struct ref image;
	struct err e;
	if (ref_parse(&image, "r.io/a/b:1", &e) < 0)
		abort();
	bool before = false;
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		bool ok = payload_check(text, size, DIGEST, &image, &policies[i], &e) == 0;
		if (!ok && e.kind != ERR_SIGNATURE)
			abort();
		if (ok && !memmem(text, size, "0123456789abcdef", 16) && !memchr(text, '\\', size))
			abort();
		/* Each takes what the one before took. */
		if (i > 0 && before && !ok)
			abort();
		before = ok;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct signature_list list;
	const char *text = (const char *)data;
	struct sigkey key;
	struct policy policy;
	struct err e;
	check_payload(text, size);
	if (sigkey_parse(&key, text, size, "k.pub", &e) == 0 &&
	    sigkey_verify(&key, text, size, data, size < 64 ? size : 64))
		abort();
	EVP_PKEY_free(key.pkey);
	AUTO_JSON json_t *j = jsonx_parse(text, size, "input", &e);
	if (!j)
		return 0;
	if (signature_list_parse(&list, j, "", &e) == 0 &&
	    (list.count > list.found || list.count > SIGNATURES_MAX))
		abort();
	if (policy_parse(&policy, j, "p.json", &e) == 0 && policy.rule == POLICY_REQUIRE &&
	    (policy.signers < 1 || policy.signers > (json_int_t)json_array_size(policy.keys)))
		abort();
	policy_release(&policy);
	return 0;
}
