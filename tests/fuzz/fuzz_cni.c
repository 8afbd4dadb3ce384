/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a plugin prints or a network file holds: no crash, no leak, and an answer or an error.
 */
#include "cmd/podnet/cni_convert.c"
#include "cmd/podnet/cni_input.c"
#include "cmd/podnet/cni_result.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct err e;
	char line[1024];
	json_int_t code;
	cni_error_text(text, size, text, size, line, sizeof line, &code);
	AUTO_JSON json_t *result = cni_result_parse(text, size, &e);
	if (result) {
		json_decref(cni_result_ips(result, "eth0", &e));
		json_decref(cni_result_convert(result, "0.3.1"));
		json_decref(cni_result_convert(result, "1.1.0"));
	}
	AUTO_JSON json_t *doc = jsonx_parse(text, size, "fuzz", &e);
	AUTO_JSON json_t *list = doc ? cni_list_of(doc, "fuzz", &e) : NULL;
	for (size_t i = 0; i < json_array_size(json_object_get(list, "plugins")); i++)
		json_decref(cni_plugin_input(list, i, doc, doc));
	return 0;
}
