/* SPDX-License-Identifier: Apache-2.0 */
/* A CDI specification: the first byte says whether it is JSON or YAML. Each device of one that is
 * accepted can be asked for by its name. */
#include "cmd/ocibundle/edit.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	size_t i;
	json_t *device;
	if (size < 1)
		return 0;
	const char *file = data[0] & 1 ? "/x/spec.json" : "/x/spec.yaml";
	AUTO_JSON json_t *j = cdi_spec_parse((const char *)data + 1, size - 1, file, &e);
	if (!j) {
		if (strncmp(e.msg, file, strlen(file)) != 0)
			abort();
		return 0;
	}
	json_array_foreach (json_object_get(j, "devices"), i, device) {
		AUTO_FREE char *name = xasprintf("%s=%s", jsonx_opt_string(j, "kind", ""),
						 jsonx_opt_string(device, "name", ""));
		if (!cdi_is_qualified(name))
			abort();
	}
	return 0;
}
