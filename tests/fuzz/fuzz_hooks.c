/* SPDX-License-Identifier: Apache-2.0 */
/* A file of hooks_dir, and whether it matches. Patterns of one that is accepted always compile. */
#include "cmd/ocibundle/edit.h"

#include "jsonx.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char name[] = "/x/hook.json";
	struct err e;
	AUTO_JSON json_t *j = jsonx_parse((const char *)data, size, name, &e);
	AUTO_JSON json_t *file = j ? hook_file_parse(j, name, &e) : NULL;
	if (!file) {
		if (strncmp(e.msg, name, strlen(name)) != 0)
			abort();
		return 0;
	}
	AUTO_JSON json_t *annotations = json_pack("{s:s, s:s}", "gpu", "yes", "a.b/c", "");
	if (hook_matches(file, annotations, "/bin/sh", true, name, &e) < 0 ||
	    hook_matches(file, annotations, "", false, name, &e) < 0)
		abort();
	json_t *hook = json_object_get(file, "hook");
	if (jsonx_opt_string(hook, "path", "")[0] != '/' || jsonx_opt_int(hook, "timeout", 0) < 1)
		abort();
	return 0;
}
