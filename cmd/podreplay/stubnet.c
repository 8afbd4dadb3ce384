/* SPDX-License-Identifier: Apache-2.0 */
/* A CNI plugin that gives a pod the addresses that it had, on a wire that leads nowhere. Its network has
 * one plugin, with the recorded result in it:
 *
 *	{ "type": "podreplay-stub", "recorded": {"interfaces": […], "ips": […], …} } */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { INPUT_MAX = 4 << 20, CODE_FAILED = 100 };

static const char *variable(const char *name)
{
	const char *v = getenv(name);
	return v ? v : "";
}

static int answer(const json_t *j)
{
	json_dumpf(j, stdout, JSON_COMPACT);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int refuse(const char *version, const struct err *e)
{
	AUTO_JSON json_t *j = json_pack("{s:s, s:i, s:s}", "cniVersion", version, "code",
					CODE_FAILED, "msg", e->msg);
	(void)answer(j);
	return 1;
}

/* The interface of the pod in the recorded result, by the name that it has now; the first otherwise. */
static json_t *inside_of(json_t *recorded, const char *ifname)
{
	size_t i;
	json_t *one, *any = NULL;
	json_array_foreach (json_object_get(recorded, "interfaces"), i, one) {
		if (!*jsonx_opt_string(one, "sandbox", ""))
			continue;
		if (strcmp(jsonx_opt_string(one, "name", ""), ifname) == 0)
			return one;
		any = any ? any : one;
	}
	return any;
}

/* The recorded result, as of this namespace: one interface, which has all the addresses. */
static json_t *result_of(json_t *conf, json_t *recorded, const char *ifname, const char *mac)
{
	size_t i;
	json_t *ip;
	json_t *ips = json_array();
	json_array_foreach (json_object_get(recorded, "ips"), i, ip) {
		json_t *copy = json_copy(ip);
		json_object_set_new(copy, "interface", json_integer(0));
		json_array_append_new(ips, copy);
	}
	json_t *out = json_pack("{s:O?, s:[{s:s, s:s, s:s}], s:o}", "cniVersion",
				json_object_get(conf, "cniVersion"), "interfaces", "name", ifname,
				"mac", mac, "sandbox", variable("CNI_NETNS"), "ips", ips);
	json_object_set(out, "routes", json_object_get(recorded, "routes"));
	json_object_set(out, "dns", json_object_get(recorded, "dns"));
	return out;
}

static int add(json_t *conf, struct err *e)
{
	size_t i;
	json_t *ip, *recorded = json_object_get(conf, "recorded");
	const char *ifname = variable("CNI_IFNAME");
	const char *mac = jsonx_opt_string(inside_of(recorded, ifname), "mac", "");
	AUTO_JSON json_t *addresses = json_array();
	AUTO_CLOSE int ns = open(variable("CNI_NETNS"), O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		return err_sys(e, "network namespace %s", variable("CNI_NETNS"));
	json_array_foreach (json_object_get(recorded, "ips"), i, ip)
		json_array_append(addresses, json_object_get(ip, "address"));
	if (stubnet_link(ifname, mac, addresses, e) < 0)
		return -1;
	AUTO_JSON json_t *result = result_of(conf, recorded, ifname, mac);
	return answer(result);
}

int stubnet_main(void)
{
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(INPUT_MAX);
	const char *command = variable("CNI_COMMAND");
	AUTO_JSON json_t *conf = fs_read_operand("-", &b, &e) < 0
					 ? NULL
					 : jsonx_parse(b.data ? b.data : "", b.len, "input", &e);
	const char *version = jsonx_opt_string(conf, "cniVersion", "1.0.0");
	if (!conf)
		return refuse(version, &e);
	if (strcmp(command, "VERSION") == 0) {
		AUTO_JSON json_t *j =
			json_pack("{s:s, s:[s,s,s,s]}", "cniVersion", version, "supportedVersions",
				  "0.3.1", "0.4.0", "1.0.0", "1.1.0");
		return answer(j);
	}
	/* The interface goes with its namespace. */
	if (strcmp(command, "ADD") != 0)
		return 0;
	return add(conf, &e) < 0 ? refuse(version, &e) : 0;
}
