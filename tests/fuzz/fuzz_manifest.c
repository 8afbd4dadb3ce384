/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry may send: manifests, indexes, configurations, and challenges. */
#include "cmd/ocipull/auth.c"
#include "cmd/ocipull/manifest.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest m;
	static char hex[IMAGE_LAYERS_MAX][DIGEST_HEX_LEN + 1];
	struct platform p;
	struct descriptor d;
	struct auth_challenge c;
	struct err e;
	AUTO_FREE char *header = strndup((const char *)data, size);
	auth_challenge_parse(&c, header);
	struct auth a;
	struct auth_store store = {.cri = NULL};
	store.cri = jsonx_parse((const char *)data, size, "credentials", &e);
	(void)auth_find(&store, "r.io", "a/b", "r.io", &a, &e);
	auth_release(&a);
	json_t *cri = store.cri;
	store = (struct auth_store){.file = cri};
	(void)auth_find(&store, "r.io", "a/b", "r.io", &a, &e);
	auth_release(&a);
	if (!cri)
		return 0;
	(void)manifest_is_index(cri, "", &e);
	if (platform_parse(&p, "linux/amd64", &e) == 0 && index_choose(cri, &p, &d, &e) == 0 &&
	    !digest_parse(d.digest, &e))
		abort();
	if (manifest_parse(cri, &m, &e) == 0 && m.count > IMAGE_LAYERS_MAX)
		abort();
	for (size_t n = 0; n < 3; n++)
		(void)config_diff_ids(cri, n, hex, &e);
	json_decref(cri);
	return 0;
}
