/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry may send: manifests, indexes and configurations. */
#include "cmd/ocipull/manifest.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest m;
	static char hex[IMAGE_LAYERS_MAX][DIGEST_HEX_LEN + 1];
	struct platform p;
	struct descriptor d;
	struct err e;
	AUTO_JSON json_t *j = jsonx_parse((const char *)data, size, "manifest", &e);
	if (!j)
		return 0;
	(void)manifest_is_index(j, "", &e);
	if (platform_parse(&p, "linux/amd64", &e) == 0 && index_choose(j, &p, &d, &e) == 0 &&
	    !digest_parse(d.digest, &e))
		abort();
	if (manifest_parse(j, &m, &e) == 0 && m.count > IMAGE_LAYERS_MAX)
		abort();
	for (size_t n = 0; n < 3; n++)
		(void)config_diff_ids(j, n, hex, &e);
	manifest_release(&m);
	return 0;
}
