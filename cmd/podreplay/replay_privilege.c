/* SPDX-License-Identifier: Apache-2.0 */
/* What lets a container at the machine that it runs on. */
#include "replay.h"

#include "auto.h"
#include "jsonx.h"

#include <string.h>
#include <strings.h>

/* /proc and /sys without these is a way to the host for a container's root. */
static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/sys/firmware"};
static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
				       "/proc/sysrq-trigger"};

static bool has_all(const json_t *list, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!jsonx_has_string(list, words[i]))
			return false;
	return true;
}

/* Without lists the usual ones are taken, unless a kubelet asks (ocibundle, spec.c); with one of them
 * the other is what it is. */
static bool is_unmasked(json_t *config, json_t *context)
{
	bool kubelet = json_object_get(json_object_get(config, "labels"),
				       "io.kubernetes.container.name") != NULL;
	const json_t *m = json_object_get(context, "masked_paths"),
		     *r = json_object_get(context, "readonly_paths");
	return (m || r || kubelet) && !(has_all(m, masked, ARRAY_LEN(masked)) &&
					has_all(r, readonly, ARRAY_LEN(readonly)));
}

static const char *without_head(const char *cap)
{
	return strncasecmp(cap, "CAP_", 4) == 0 ? cap + 4 : cap;
}

static bool adds_capabilities(json_t *caps, const char *list, const json_t *usual)
{
	size_t i, k;
	json_t *cap, *known;
	json_array_foreach (json_object_get(caps, list), i, cap) {
		bool found = false;
		json_array_foreach (usual, k, known)
			found = found || (json_is_string(cap) && json_is_string(known) &&
					  strcasecmp(without_head(json_string_value(cap)),
						     without_head(json_string_value(known))) == 0);
		if (!found)
			return true;
	}
	return false;
}

static bool names_devices(json_t *config)
{
	const char *key;
	json_t *v;
	json_object_foreach (json_object_get(config, "annotations"), key, v)
		if (strncmp(key, "cdi.k8s.io/", 11) == 0)
			return true;
	return json_array_size(json_object_get(config, "devices")) > 0 ||
	       json_array_size(json_object_get(config, "CDI_devices")) > 0;
}

const char *replay_privilege(json_t *config, const json_t *usual)
{
	static const char *const namespaces[] = {"network", "pid", "ipc"};
	json_t *context = json_object_get(json_object_get(config, "linux"), "security_context");
	json_t *options = json_object_get(context, "namespace_options");
	json_t *caps = json_object_get(context, "capabilities");
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		if (strcmp(jsonx_opt_string(options, namespaces[i], ""), "NODE") == 0)
			return "a namespace of the host";
	if (jsonx_opt_bool(context, "privileged", false))
		return "to be privileged";
	if (names_devices(config))
		return "devices of the host";
	if (is_unmasked(config, context))
		return "an open /proc";
	if (adds_capabilities(caps, "add_capabilities", usual) ||
	    adds_capabilities(caps, "add_ambient_capabilities", usual))
		return "more capabilities than are usual here";
	return NULL;
}
