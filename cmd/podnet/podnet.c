/* SPDX-License-Identifier: Apache-2.0 */
#include "podnet.h"

#include "auto.h"
#include "cidr.h"
#include "event.h"
#include "journal.h"
#include "network_care.h"
#include "ports.h"

#include <stdio.h>
#include <string.h>

static bool gone(int r, const struct err *e)
{
	return r < 0 && e->kind == ERR_NOT_FOUND;
}

int cmd_stop(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	AUTO_POD struct pod p = {.dir = -1};
	int64_t began = record_now_ns();
	(void)argc;
	int r = object_resolve(&c->st, OBJ_POD, argv[0], id, e);
	if (r < 0)
		return gone(r, e) ? 0 : -1;
	AUTO_CLOSE int lock = object_lock(&c->st, OBJ_POD, id, pod_lock_ms(c), e);
	if (lock < 0)
		return gone(lock, e) ? 0 : -1;
	if (pod_open(&p, c, id, e) < 0)
		return -1;
	if (c->dry_run) {
		pod_show_holdings(&p);
		return 0;
	}
	r = pod_stop(&p, e);
	const char *words[] = {"stop", id, NULL};
	journal_by_hand(&c->st, id, words, NULL, began, r < 0 ? e : NULL);
	if (r == 0)
		event_publish(&c->st, "changed", "pod", id, id, false);
	return r;
}

int cmd_rm(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	AUTO_POD struct pod p = {.dir = -1};
	(void)argc;
	int r = object_resolve(&c->st, OBJ_POD, argv[0], id, e);
	if (r < 0)
		return gone(r, e) ? 0 : -1;
	AUTO_CLOSE int lock = object_lock(&c->st, OBJ_POD, id, pod_lock_ms(c), e);
	if (lock < 0)
		return gone(lock, e) ? 0 : -1;
	if (pod_open(&p, c, id, e) < 0 || pod_has_no_containers(&p, e) < 0)
		return -1;
	if (c->dry_run) {
		pod_show_holdings(&p);
		printf("remove %s/pods/%s\n", c->cfg.root, id);
		return 0;
	}
	if (pod_remove(&p, e) < 0)
		return -1;
	event_publish(&c->st, "removed", "pod", id, id, false);
	return 0;
}

static const struct opt create_table[] = {
	{"id", 0, OPT_STRING, &create_opts.id, "ID", "use this id (64 hex digits)"},
	{"handler", 0, OPT_STRING, &create_opts.handler, "NAME",
	 "runtime handler of its containers (default: the configured one)"},
	{"network", 0, OPT_STRINGS, &create_opts.networks, "NAME[=INTERFACE]",
	 "attach it to this network, as eth0; again for eth1 and so on"},
	{"origin", 0, OPT_STRING, &create_opts.origin, "cri|hand",
	 "who made it; hand-made pods are not shown to a kubelet (default: hand)"},
	{0},
};

static const struct verb verbs[] = {
	{"create", "FILE|-", "make a pod from a PodSandboxConfig in JSON; prints its id",
	 create_table, 1, 1, cmd_create},
	{"status", "POD", "print a pod as JSON", NULL, 1, 1, cmd_status},
	{"stop", "POD", "give back address, ports and namespaces; keep the record", NULL, 1, 1,
	 cmd_stop},
	{"rm", "POD", "stop and remove a pod that has no containers", NULL, 1, 1, cmd_rm},
	{"inspect", "POD", "print everything that is known of a pod and what it holds", NULL, 1, 1,
	 cmd_inspect},
	{"check", "POD", "compare a pod's record with the kernel and with CNI's CHECK", NULL, 1, 1,
	 cmd_check},
	{"exec", "POD -- COMMAND...", "run a command of the host in a pod's namespaces", NULL, 2,
	 -1, cmd_exec},
	{"ports", "[POD]", "list the host ports that are taken, and by whom", ports_opts, 0, 1,
	 cmd_ports},
	{"network", "", "name the network of new pods, or say why there is none", NULL, 0, 0,
	 cmd_network},
	{"cidr", "CIDR[,CIDR...]", "tell the node's pod address ranges; renders network_template",
	 NULL, 1, 1, cmd_cidr},
	{"update", "POD FILE|-", "store other resources and overhead of a pod", NULL, 2, 2,
	 cmd_update},
	{"ls", "", "list the pods", ls_opts, 0, 0, cmd_ls},
	{"gc", "", "pay debts of failed detachments, remove what no pod owns", NULL, 0, 0, cmd_gc},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tool tool = {
		.name = "podnet",
		.summary = "pod sandboxes: pinned namespaces, network, /dev/shm",
		.flags = TOOL_STATE | TOOL_JSON | TOOL_TIMEOUT | TOOL_DRY_RUN,
		.verbs = verbs,
	};
	return tool_main(&tool, argc, argv);
}
