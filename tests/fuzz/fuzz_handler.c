/* SPDX-License-Identifier: Apache-2.0 */
/* A file of handlers_dir. Its patch, over any document, is one that changes nothing the second
 * time. */
#include "cmd/ocibundle/edit.h"

#include "handler.h"
#include "jsonx.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char name[] = "/x/handler.json";
	struct err e;
	AUTO_HANDLER struct handler h = {0};
	AUTO_JSON json_t *j = jsonx_parse((const char *)data, size, name, &e);
	if (!j || handler_parse(&h, j, name, &e) < 0) {
		if (strncmp(e.msg, name, strlen(name)) != 0)
			abort();
		return 0;
	}
	if (h.path[0] != '/' || (h.root && h.root[0] != '/') || !json_is_array(h.args))
		abort();
	if (!h.patch)
		return 0;
	AUTO_JSON json_t *doc = json_pack("{s:{s:[i], s:s}, s:i}", "a", "b", 1, "c", "d", "e", 2);
	doc = merge_patch(doc, h.patch);
	AUTO_JSON json_t *again = merge_patch(json_deep_copy(doc), h.patch);
	if (!json_equal(doc, again))
		abort();
	return 0;
}
