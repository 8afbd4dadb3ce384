/* SPDX-License-Identifier: Apache-2.0 */
#include "gc_survey.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "network_care.h"
#include "proc.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LEASES_DIR "/var/lib/cni/networks"
enum { RULES_MAX = 64 << 20, RULES_MS = 30000 };

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
	if (exists_at(c->st.root, "debts", id, ".json")) {
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

static void add(struct tool_ctx *c, json_t *lines, const char *kind, const char *what,
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
			add(c, lines, "namespace", de->d_name, id);
	}
}

/* One of host-local's files: its name is the address, its first line the container's id. */
static void lease(struct tool_ctx *c, json_t *lines, int dir, const char *name)
{
	unsigned char raw[16];
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(4096);
	if (inet_pton(strchr(name, ':') ? AF_INET6 : AF_INET, name, raw) != 1 ||
	    fs_read_at(dir, name, &b, &ignored) < 0 || !b.data)
		return;
	b.data[strcspn(b.data, "\r\n")] = '\0';
	if (id_is_valid(b.data))
		add(c, lines, "lease", name, b.data);
}

static void leases_of(struct tool_ctx *c, json_t *lines, const char *network, json_t *plugin)
{
	json_t *ipam = json_object_get(plugin, "ipam");
	const struct dirent *de;
	if (strcmp(jsonx_opt_string(ipam, "type", ""), "host-local") != 0)
		return;
	AUTO_FREE char *path =
		xasprintf("%s/%s", jsonx_opt_string(ipam, "dataDir", LEASES_DIR), network);
	AUTO_CLOSEDIR DIR *d = opendir(path);
	while (d && (de = readdir(d)))
		lease(c, lines, dirfd(d), de->d_name);
}

static void leases(struct tool_ctx *c, json_t *lines)
{
	AUTO_JSON json_t *networks = networks_in_use(c);
	const char *name;
	json_t *n, *plugin;
	size_t i;
	json_object_foreach (networks, name, n)
		json_array_foreach (json_object_get(json_object_get(n, "config"), "plugins"), i,
				    plugin)
			leases_of(c, lines, name, plugin);
}

/* Rules that name a pod's id in their comment, as those of the plugins portmap and bridge do. */
static void count_rules(json_t *counts, const char *text)
{
	static const char mark[] = "id: \\\"";
	for (const char *at = text; (at = strstr(at, mark)); at++) {
		char id[ID_SIZE];
		snprintf(id, sizeof id, "%.64s", at + strlen(mark));
		if (id_is_valid(id))
			json_object_set_new(
				counts, id,
				json_integer(1 + json_integer_value(json_object_get(counts, id))));
	}
}

static void rules(struct tool_ctx *c, json_t *lines)
{
	static const char *const programs[] = {"/usr/sbin/iptables-save",
					       "/usr/sbin/ip6tables-save"};
	AUTO_JSON json_t *counts = json_object();
	const char *id;
	json_t *count;
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		AUTO_BUF struct buf out = BUF_INIT(RULES_MAX);
		AUTO_BUF struct buf errout = BUF_INIT(4096);
		struct proc_result r;
		struct err ignored;
		const char *argv[] = {programs[i], NULL};
		struct proc_spec spec = PROC_SPEC(argv);
		if (access(programs[i], X_OK) == 0 &&
		    proc_run(&spec, NULL, 0, &out, &errout, RULES_MS, &r, &ignored) == 0)
			count_rules(counts, out.data ? out.data : "");
	}
	json_object_foreach (counts, id, count) {
		char what[32];
		snprintf(what, sizeof what, "%d of %.13s", (int)json_integer_value(count), id);
		add(c, lines, "rules", what, id);
	}
}

void gc_survey(struct tool_ctx *c, json_t *lines)
{
	namespaces(c, lines);
	leases(c, lines);
	rules(c, lines);
}
