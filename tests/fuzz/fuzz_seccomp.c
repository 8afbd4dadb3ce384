/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp profile from the node: the first bytes are the container's capabilities. What comes out
 * is plain OCI, and itself a profile that means the same. */
#include "cmd/ocibundle/seccomp.h"

#include "jsonx.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t caps = 0;
	struct err e;
	size_t i;
	json_t *rule;
	if (size < 5)
		return 0;
	memcpy(&caps, data, 5);
	AUTO_JSON json_t *j = jsonx_parse((const char *)data + 5, size - 5, "profile", &e);
	AUTO_JSON json_t *out = j ? seccomp_convert(j, caps, "profile", &e) : NULL;
	if (!out)
		return 0;
	if (!json_is_string(json_object_get(out, "defaultAction")))
		abort();
	json_array_foreach (json_object_get(out, "syscalls"), i, rule)
		if (json_array_size(json_object_get(rule, "names")) == 0 ||
		    !json_is_string(json_object_get(rule, "action")) ||
		    json_object_get(rule, "includes") || json_object_get(rule, "excludes"))
			abort();
	AUTO_JSON json_t *again = seccomp_convert(out, caps, "profile", &e);
	if (!again || !json_equal(again, out))
		abort();
	return 0;
}
