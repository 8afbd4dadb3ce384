/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "jsonx.h"

/* The members of `runtime` whose names are true in the plugin's capabilities. */
static json_t *asked_for(json_t *plugin, json_t *runtime)
{
	json_t *out = json_object(), *value;
	json_t *caps = json_object_get(plugin, "capabilities");
	const char *name;
	json_object_foreach (runtime, name, value)
		if (json_is_true(json_object_get(caps, name)))
			json_object_set(out, name, value);
	return out;
}

json_t *cni_plugin_input(json_t *list, size_t index, json_t *runtime, json_t *prev)
{
	json_t *plugin = json_array_get(json_object_get(list, "plugins"), index);
	json_t *in = json_copy(plugin);
	AUTO_JSON json_t *rc = asked_for(plugin, runtime);
	json_object_set(in, "cniVersion", json_object_get(list, "cniVersion"));
	json_object_set(in, "name", json_object_get(list, "name"));
	json_object_del(in, "cniVersions");
	json_object_del(in, "capabilities");
	if (json_object_size(rc) > 0)
		json_object_set(in, "runtimeConfig", rc);
	if (prev)
		json_object_set_new(
			in, "prevResult",
			cni_result_convert(prev, jsonx_opt_string(list, "cniVersion", "")));
	return in;
}
