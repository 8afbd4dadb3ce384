/* SPDX-License-Identifier: Apache-2.0 */
#include "gc_survey.h"

#include "auto.h"
#include "debt.h"
#include "fs.h"
#include "jsonx.h"
#include "network_care.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LEASES_DIR "/var/lib/cni/networks"

static bool exists_at(int dir, const char *in, const char *id, const char *ext)
{
	AUTO_FREE char *path = xasprintf("%s/%s%s", in, id, ext);
	return faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static const char *judge_record(const struct pod *p, const char **action)
{
	struct err e;
	AUTO_POD_RECORD struct pod_record r = {0};
	int read = pod_record_read_at(p->dir, &r, &e);
	if (read < 0 && e.kind == ERR_BAD_STATE)
		return "its pod's record is damaged";
	if (read < 0 || !r.complete) {
		if (fs_is_locked_at(p->dir, "lock", &e) > 0)
			return "its pod is being created";
		*action = "remove";
		return "its pod's creation was interrupted";
	}
	if (strcmp(r.state, "ready") != 0)
		return "its pod is stopped, podnet rm ends it";
	if (strcmp(r.boot_id, state_boot_id()) == 0)
		return "its pod is ready";
	*action = "remove";
	return "the host was rebooted";
}

/* Why something with the pod's id on it stays ("keep") or goes ("remove"). */
static const char *judge(struct tool_ctx *c, const char *id, const char **action)
{
	struct err e;
	AUTO_POD struct pod p = {.dir = -1};
	*action = "keep";
	if (debt_owed(c, id)) {
		*action = "remove";
		return "its pod's detachment is a debt";
	}
	if (pod_open(&p, c, id, &e) == 0)
		return judge_record(&p, action);
	if (!exists_at(c->st.run, "pods", id, ""))
		return "no pod of this root has that id";
	*action = "remove";
	return "its pod has no record";
}

void gc_survey_add(struct tool_ctx *c, json_t *lines, const char *kind, const char *what,
		   const char *id)
{
	const char *action;
	const char *why = judge(c, id, &action);
	json_t *name = json_string(what);
	json_array_append_new(lines,
			      json_pack("{s:s, s:s, s:o, s:s, s:s}", "action", action, "kind", kind,
					"id", name ? name : json_null(), "reason", why, "pod", id));
}

static void namespaces(struct tool_ctx *c, json_t *lines)
{
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *d = opendir(NETNS_DIR);
	while (d && (de = readdir(d))) {
		const char *id = de->d_name + strlen(NETNS_PREFIX);
		if (strncmp(de->d_name, NETNS_PREFIX, strlen(NETNS_PREFIX)) == 0 && id_is_valid(id))
			gc_survey_add(c, lines, "namespace", de->d_name, id);
	}
}

/* One of host-local's files: its name is the address, its first line the container's id. */
static void lease(struct tool_ctx *c, json_t *lines, json_t *owners, int dir, const char *name)
{
	unsigned char raw[16];
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(4096);
	if (inet_pton(strchr(name, ':') ? AF_INET6 : AF_INET, name, raw) != 1 ||
	    fs_read_at(dir, name, &b, &ignored) < 0 || !b.data)
		return;
	b.data[strcspn(b.data, "\r\n")] = '\0';
	if (!id_is_valid(b.data))
		return;
	AUTO_FREE char *what = xasprintf("%s of %.13s", name, b.data);
	gc_survey_add(c, lines, "lease", what, b.data);
	json_object_set_new(owners, name, json_string(b.data));
}

static void leases_of(struct tool_ctx *c, json_t *lines, json_t *owners, const char *path)
{
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *d = opendir(path);
	while (d && (de = readdir(d)))
		lease(c, lines, owners, dirfd(d), de->d_name);
}

/* Where host-local keeps the leases of a network, into the set of such places. */
static void places_of(json_t *places, json_t *list)
{
	json_t *plugin, *ipam;
	size_t i;
	json_array_foreach (json_object_get(list, "plugins"), i, plugin) {
		ipam = json_object_get(plugin, "ipam");
		if (strcmp(jsonx_opt_string(ipam, "type", ""), "host-local") != 0)
			continue;
		AUTO_FREE char *path =
			xasprintf("%s/%s", jsonx_opt_string(ipam, "dataDir", LEASES_DIR),
				  jsonx_opt_string(list, "name", ""));
		json_object_set_new(places, path, json_true());
	}
}

/* The networks that pods are attached to, that a new one would get, and that debts are about.
 * owners[address] becomes the id of whose it is. */
static void leases(struct tool_ctx *c, json_t *lines, json_t *owners)
{
	AUTO_JSON json_t *networks = networks_in_use(c);
	AUTO_JSON json_t *debtors = debt_list(c);
	AUTO_JSON json_t *places = json_object();
	const char *name;
	json_t *one, *id, *debt;
	size_t i, k;
	json_object_foreach (networks, name, one)
		places_of(places, json_object_get(one, "config"));
	json_array_foreach (debtors, i, id) {
		AUTO_JSON json_t *debts = debt_records(c, json_string_value(id));
		json_array_foreach (debts, k, debt)
			places_of(places,
				  json_object_get(json_object_get(debt, "network"), "config"));
	}
	json_object_foreach (places, name, one)
		leases_of(c, lines, owners, name);
}

void gc_survey(struct tool_ctx *c, json_t *lines)
{
	AUTO_JSON json_t *owners = json_object();
	namespaces(c, lines);
	leases(c, lines, owners);
	gc_survey_rules(c, lines, owners);
}
