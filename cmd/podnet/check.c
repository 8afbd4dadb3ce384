/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "init.h"
#include "jsonx.h"
#include "network_care.h"
#include "ns.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What a pod is recorded to have against what the kernel and the plugins say it has. */
struct check {
	const struct pod *p;
	const struct pod_record *r;
	json_t *lines; /* [{"ok", "what", "detail"}] */
	bool bad;
};

__attribute__((format(printf, 4, 5))) static void note(struct check *k, int ok, const char *what,
						       const char *fmt, ...)
{
	struct err text = {.msg = ""};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text.msg, sizeof text.msg, fmt, ap);
	va_end(ap);
	json_t *detail = json_string(text.msg);
	json_array_append_new(k->lines,
			      json_pack("{s:s, s:s, s:o}", "result",
					ok > 0    ? "ok"
					: ok == 0 ? "bad"
						  : "skip",
					"what", what, "detail", detail ? detail : json_string("")));
	k->bad = k->bad || ok == 0;
}

static void check_record(struct check *k)
{
	const struct pod_record *r = k->r;
	bool boot = strcmp(r->boot_id, state_boot_id()) == 0;
	bool ready = strcmp(r->state, "ready") == 0;
	note(k, ready && boot, "record", "%s%s", r->state,
	     ready && !boot ? ", but the host was rebooted" : "");
}

static void check_pin(struct check *k, const char *name, bool wanted)
{
	AUTO_FREE char *path = xasprintf("%s/ns/%s", k->p->run, name);
	const char *file = strcmp(name, "net") == 0 ? k->p->netns : path;
	bool there = ns_is_pinned(file);
	char what[32];
	if (!wanted && !there)
		return;
	snprintf(what, sizeof what, "%s namespace", name);
	note(k, there == wanted, what, "%s%s", file,
	     there == wanted ? ""
	     : wanted        ? " is not there"
			     : " is there, though the pod uses the host's");
}

static void check_namespaces(struct check *k, json_t *config)
{
	json_t *linux_part = json_object_get(config, "linux");
	json_t *options = json_object_get(json_object_get(linux_part, "security_context"),
					  "namespace_options");
	json_t *userns = json_object_get(options, "userns_options");
	bool host_net = strcmp(k->r->network_mode, "NODE") == 0;
	bool host_ipc = strcmp(jsonx_opt_string(options, "ipc", "POD"), "NODE") == 0;
	check_pin(k, "net", !host_net);
	check_pin(k, "ipc", !host_ipc);
	check_pin(k, "uts", !host_net);
	check_pin(k, "user", userns && strcmp(jsonx_opt_string(userns, "mode", "POD"), "POD") == 0);
	int alive = init_alive(k->p);
	if (alive >= 0) {
		check_pin(k, "pid", true);
		note(k, alive, "first process", alive ? "alive" : "gone");
	}
	struct stat in, out;
	AUTO_FREE char *shm = xasprintf("%s/shm", k->p->run);
	if (!host_ipc)
		note(k,
		     stat(shm, &in) == 0 && stat(k->p->run, &out) == 0 && in.st_dev != out.st_dev,
		     "shared memory", "%s", shm);
}

/* Whether the interface has the address; looked up in the current namespace. */
static bool has_address(const struct ifaddrs *all, const char *ifname, const char *ip)
{
	char text[INET6_ADDRSTRLEN];
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		int family = a->ifa_addr ? a->ifa_addr->sa_family : 0;
		if (strcmp(a->ifa_name, ifname) != 0 || (family != AF_INET && family != AF_INET6))
			continue;
		const void *raw =
			family == AF_INET
				? (const void *)&(
					  (const struct sockaddr_in *)(const void *)a->ifa_addr)
					  ->sin_addr
				: (const void *)&(
					  (const struct sockaddr_in6 *)(const void *)a->ifa_addr)
					  ->sin6_addr;
		if (inet_ntop(family, raw, text, sizeof text) && strcmp(text, ip) == 0)
			return true;
	}
	return false;
}

/* The list of the pod's namespace; NULL when it cannot be entered. */
static struct ifaddrs *addresses_in(const char *netns)
{
	struct ifaddrs *all = NULL;
	AUTO_CLOSE int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int theirs = open(netns, O_RDONLY | O_CLOEXEC);
	if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return NULL;
	if (getifaddrs(&all) < 0)
		all = NULL;
	if (setns(own, CLONE_NEWNET) < 0)
		abort(); /* anything else we do would be done in the pod */
	return all;
}

static void check_addresses(struct check *k, json_t *net)
{
	const char *ifname = jsonx_opt_string(net, "ifname", "eth0");
	struct ifaddrs *all = addresses_in(k->p->netns);
	size_t i;
	json_t *ip;
	AUTO_JSON json_t *ips = json_array();
	/* The pod's are those of its record; the attachment has told them once. */
	bool first = jsonx_opt_int(net, "index", 0) == 0;
	if (first && *k->r->ip)
		json_array_append_new(ips, json_string(k->r->ip));
	json_array_extend(ips, first ? k->r->additional_ips : json_object_get(net, "ips"));
	json_array_foreach (ips, i, ip) {
		bool there = all && has_address(all, ifname, json_string_value(ip));
		note(k, there, "address", "%s %s %s", json_string_value(ip),
		     there ? "is on" : "is not on", ifname);
	}
	if (all)
		freeifaddrs(all);
}

static void check_network(struct check *k, json_t *net)
{
	json_t *plugins = json_object_get(json_object_get(net, "config"), "plugins");
	const char *stage = jsonx_opt_string(net, "stage", "missing");
	const char *skipped = network_check_skipped(net);
	struct err e;
	note(k, strcmp(stage, "attached") == 0, "attachment", "network '%s': %s",
	     jsonx_opt_string(net, "name", ""), stage);
	check_addresses(k, net);
	if (skipped)
		note(k, -1, "CNI CHECK", "%s", skipped);
	for (size_t i = 0; !skipped && i < json_array_size(plugins); i++) {
		int r = network_check(k->p, net, i, &e);
		note(k, r == 0, "CNI CHECK", "%s",
		     r == 0 ? jsonx_opt_string(json_array_get(plugins, i), "type", "") : e.msg);
	}
}

static void check_networks(struct check *k, json_t *nets)
{
	size_t i;
	json_t *net;
	if (json_array_size(nets) == 0)
		note(k, 0, "attachment", "there is no record of it");
	json_array_foreach (nets, i, net)
		check_network(k, net);
}

static void print(const struct check *k)
{
	size_t i;
	json_t *l;
	if (k->p->c->json) {
		json_dumpf(k->lines, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	json_array_foreach (k->lines, i, l)
		printf("%-4s %s: %s\n", jsonx_opt_string(l, "result", ""),
		       jsonx_opt_string(l, "what", ""), jsonx_opt_string(l, "detail", ""));
}

int cmd_check(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	struct err none;
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_POD_RECORD struct pod_record r = {0};
	AUTO_JSON json_t *lines = json_array();
	(void)argc;
	if (object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0)
		return -1;
	/* Nobody may take it away meanwhile. */
	AUTO_CLOSE int lock = object_lock(&c->st, OBJ_POD, id, pod_lock_ms(c), e);
	if (lock < 0 || pod_open(&p, c, id, e) < 0 || pod_record_read_at(p.dir, &r, e) < 0)
		return -1;
	struct check k = {.p = &p, .r = &r, .lines = lines};
	AUTO_JSON json_t *config = object_config_read(p.dir, OBJ_POD, &none);
	AUTO_JSON json_t *nets = network_records(p.dir);
	check_record(&k);
	if (strcmp(r.state, "ready") == 0) {
		check_namespaces(&k, config);
		if (strcmp(r.network_mode, "NODE") != 0)
			check_networks(&k, nets);
	}
	print(&k);
	return k.bad ? err_exit_status(&(struct err){.kind = ERR_FAILED}) : 0;
}
