/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "jsonx.h"

#include <string.h>

/* A plugin may answer in another version than it was asked in; the next one, and a DEL years later,
 * parse prevResult strictly by the network's. What differs between 0.3.1 and 1.1.0: addresses lost
 * their "version" with 1.0.0, interfaces and routes gained members with 1.1.0. */

static void strip(json_t *array, const char *const *members, size_t n)
{
	size_t i;
	json_t *one;
	json_array_foreach (array, i, one)
		for (size_t k = 0; k < n; k++)
			json_object_del(one, members[k]);
}

static void number_ips(json_t *ips)
{
	size_t i;
	json_t *ip;
	json_array_foreach (ips, i, ip) {
		const char *a = json_string_value(json_object_get(ip, "address"));
		if (a)
			json_object_set_new(ip, "version", json_string(strchr(a, ':') ? "6" : "4"));
	}
}

json_t *cni_result_convert(json_t *result, const char *version)
{
	static const char *const ip_old[] = {"version"};
	static const char *const iface_new[] = {"mtu", "socketPath", "pciID"};
	static const char *const route_new[] = {"mtu", "advmss", "priority", "table", "scope"};
	const char *from = json_string_value(json_object_get(result, "cniVersion"));
	json_t *out = json_deep_copy(result);
	json_object_set_new(out, "cniVersion", json_string(version));
	if (from && strcmp(from, version) == 0)
		return out;
	if (cni_version_at_least(version, "1.0.0"))
		strip(json_object_get(out, "ips"), ip_old, ARRAY_LEN(ip_old));
	else
		number_ips(json_object_get(out, "ips"));
	if (!cni_version_at_least(version, "1.1.0")) {
		strip(json_object_get(out, "interfaces"), iface_new, ARRAY_LEN(iface_new));
		strip(json_object_get(out, "routes"), route_new, ARRAY_LEN(route_new));
	}
	return out;
}
