/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "init.h"
#include "jsonx.h"
#include "log.h"
#include "ns.h"
#include "parent.h"
#include "podnet.h"
#include "ports.h"
#include "proc.h"
#include "sandbox.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

void pod_init(struct pod *p, struct tool_ctx *c, const char *id)
{
	*p = (struct pod){.c = c, .dir = -1};
	snprintf(p->id, sizeof p->id, "%s", id);
	p->run = xasprintf("%s/pods/%s", c->cfg.runroot, id);
	p->netns = xasprintf("%s/%s%s", NETNS_DIR, NETNS_PREFIX, id);
}

int pod_open(struct pod *p, struct tool_ctx *c, const char *id, struct err *e)
{
	pod_init(p, c, id);
	p->dir = object_open(&c->st, OBJ_POD, id, e);
	return p->dir < 0 ? -1 : 0;
}

void pod_release(struct pod *p)
{
	auto_close(&p->dir);
	free(TAKE(p->run));
	free(TAKE(p->netns));
	p->dir = -1;
}

int pod_lock_ms(const struct tool_ctx *c)
{
	/* Who holds it runs a few plugins at the most, each with its own clock. */
	if (c->timeout >= 0)
		return (int)(c->timeout < 1e6 ? c->timeout * 1000 : 1e9);
	return (int)c->cfg.network_timeout * 4000;
}

int pod_teardown(const struct pod *p, struct err *e)
{
	static const char *const pins[] = {"ns/ipc", "ns/uts", "ns/pid", "ns/user"};
	if (sandbox_remove(p, e) < 0 || init_kill(p, e) < 0)
		return -1;
	if (p->dir >= 0 && network_detach(p, e) < 0)
		return -1;
	ports_release(p->c, p->id);
	if (ns_unpin(p->netns, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(pins); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", p->run, pins[i]);
		if (ns_unpin(path, e) < 0)
			return -1;
	}
	AUTO_FREE char *shm = xasprintf("%s/shm", p->run);
	return ns_unmount(shm, e);
}

static void show_mount(const char *what, const char *path)
{
	if (access(path, F_OK) == 0)
		printf("%s %s\n", what, path);
}

void pod_show_holdings(const struct pod *p)
{
	static const char *const mounts[] = {"ns/ipc", "ns/uts", "ns/pid", "ns/user", "shm"};
	AUTO_JSON json_t *nets = network_records(p->dir);
	for (size_t i = json_array_size(nets); i-- > 0;) {
		json_t *net = json_array_get(nets, i);
		if (!json_is_object(net) || network_is_attached(net))
			printf("detach network %s\n", jsonx_opt_string(net, "name", "(damaged)"));
	}
	if (sandbox_exists(p))
		printf("remove the sandbox container\n");
	if (init_alive(p) > 0)
		printf("end podinit and every process of the pod\n");
	show_mount("unpin", p->netns);
	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", p->run, mounts[i]);
		show_mount("unmount", path);
	}
}

int pod_stop(const struct pod *p, struct err *e)
{
	struct err damage;
	AUTO_POD_RECORD struct pod_record r = {0};
	if (pod_teardown(p, e) < 0)
		return err_wrap(e, "pod %s", p->id);
	if (pod_record_read_at(p->dir, &r, &damage) == 0)
		parent_drop_init(p->c, r.cgroup_parent, p->id);
	else {
		log_warn("pod %s: %s: stopped without its record", p->id, damage.msg);
		return 0;
	}
	if (strcmp(r.state, "notready") == 0)
		return 0;
	if (!*r.reason || strcmp(r.state, "ready") == 0)
		record_set(&r.reason, strcmp(r.boot_id, state_boot_id()) != 0
					      ? "the host was rebooted"
					      : "stopped");
	record_set(&r.state, "notready");
	record_set(&r.ip, "");
	json_array_clear(r.additional_ips);
	return pod_record_write(&p->c->st, &r, e);
}

/* A record that is damaged leaves the configuration to tell. */
static void prune_parent(const struct pod *p)
{
	struct err damage;
	AUTO_POD_RECORD struct pod_record r = {0};
	if (pod_record_read_at(p->dir, &r, &damage) == 0) {
		parent_drop_init(p->c, r.cgroup_parent, p->id);
		parent_prune(p->c, r.cgroup_parent, p->id);
		return;
	}
	AUTO_JSON json_t *config = object_config_read(p->dir, OBJ_POD, &damage);
	const char *parent =
		jsonx_opt_string(json_object_get(config, "linux"), "cgroup_parent", "");
	if (!config)
		return;
	parent_drop_init(p->c, parent, p->id);
	parent_prune(p->c, parent, p->id);
}

int pod_remove(const struct pod *p, struct err *e)
{
	if (pod_teardown(p, e) < 0)
		return err_wrap(e, "pod %s", p->id);
	prune_parent(p);
	if (object_discard(&p->c->st, OBJ_POD, p->id, e) < 0)
		return err_wrap(e, "pod %s", p->id);
	return 0;
}

static int names_pod(void *arg, const char *id, struct err *e)
{
	const struct pod *p = arg;
	struct err damage;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	if (strcmp(id, p->id) == 0 || ctr_record_read(&p->c->st, id, &r, &damage) < 0 ||
	    strcmp(r.pod_id, p->id) != 0)
		return 0;
	return err_set(e, ERR_BAD_STATE, "pod %s: container %s is still there", p->id, id);
}

int pod_has_no_containers(const struct pod *p, struct err *e)
{
	struct pod copy = *p; /* object_each takes no const argument */
	return object_each(&p->c->st, OBJ_CONTAINER, names_pod, &copy, e);
}

int pod_clean_abandoned(struct tool_ctx *c, const char *id, struct err *e)
{
	AUTO_POD_RECORD struct pod_record r = {0};
	struct err ignored;
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_CLOSE int lock = object_lock(&c->st, OBJ_POD, id, pod_lock_ms(c), e);
	if (lock < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (pod_open(&p, c, id, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	/* Somebody else may have judged the same and been faster, and made a new one under the id.
	 */
	if (pod_record_read_at(p.dir, &r, &ignored) == 0 && r.complete)
		return 0;
	/* A finished pod whose record was damaged looks abandoned, too. */
	if (pod_has_no_containers(&p, e) < 0)
		return -1;
	log_info("pod %s: removing what an interrupted creation left", id);
	return pod_remove(&p, e);
}
