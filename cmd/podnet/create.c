/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "choose.h"
#include "cidr.h"
#include "event.h"
#include "failed.h"
#include "fs.h"
#include "handler.h"
#include "init.h"
#include "journal.h"
#include "jsonx.h"
#include "log.h"
#include "ns.h"
#include "parent.h"
#include "pbjson.h"
#include "podnet.h"
#include "ports.h"
#include "sandbox.h"
#include "spec.h"
#include "userns.h"
#include "xalloc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

enum { RESOLV_MAX = 64 << 10 };

struct create_opts create_opts = {.handler = "", .origin = "hand"};

/* One creation: what is asked, and what has been made so far. */
struct creation {
	struct pod pod;
	int lock; /* the pod's, held until the end */
	const Runtime__V1__PodSandboxConfig *config;
	struct pod_spec *spec;
	json_t *networks; /* as networks_choose gives them; NULL for the host's */
	struct pod_record rec;
	struct ns_child child;
	const struct handler *handler;
	char *init; /* podinit, for a shared PID namespace; else NULL */
};

static void creation_release(struct creation *k)
{
	ns_end(&k->child);
	pod_record_release(&k->rec);
	json_decref(k->networks);
	free(k->init);
	pod_release(&k->pod);
	auto_close(&k->lock);
}

/* Ctrl-C and a manager's TERM are seen between two steps, so that what was begun is undone. */
static int check_cancelled(struct err *e)
{
	struct timespec none = {0};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sig = sigtimedwait(&set, NULL, &none);
	return sig > 0 ? err_set(e, ERR_CANCELLED, "interrupted by signal %d", sig) : 0;
}

/* Intent before effect: from here on the records name everything that will be made. */
static int write_intent(struct creation *k, struct err *e)
{
	struct pod_record *r = &k->rec;
	const struct pod_spec *s = k->spec;
	AUTO_JSON json_t *config = pbjson_write(&k->config->base, 0, e);
	if (!config || object_config_write(k->pod.dir, OBJ_POD, config, e) < 0)
		return -1;
	record_set(&r->id, k->pod.id);
	record_set(&r->state, "creating");
	record_set(&r->handler, create_opts.handler);
	record_set(&r->origin, create_opts.origin);
	record_set(&r->boot_id, state_boot_id());
	record_set(&r->netns, s->host_net ? "" : k->pod.netns);
	record_set(&r->network_mode, s->host_net ? "NODE" : "POD");
	record_set(&r->cgroup_parent, s->cgroup_parent);
	if (s->shared_pid)
		k->init = init_program(&k->pod.c->cfg);
	if (s->shared_pid && !k->init) {
		record_set(&r->reason,
			   "shared PID namespace is not available: podinit is not installed");
		log_warn("pod %s: %s: each container gets its own", k->pod.id, r->reason);
	}
	r->sandbox = k->handler->sandbox_container;
	r->additional_ips = json_array();
	r->created_at = record_now_ns();
	if (parent_intend(k->pod.c, s->cgroup_parent, k->pod.id, e) < 0 ||
	    pod_record_write(&k->pod.c->st, r, e) < 0)
		return -1;
	AUTO_CLOSE int run = object_open_run(&k->pod.c->st, OBJ_POD, k->pod.id, true, e);
	return run < 0 ? -1 : 0;
}

static int make_shm(const struct pod_spec *s, const char *path, struct err *e)
{
	AUTO_FREE char *options = xasprintf("mode=1777,size=67108864,uid=%" PRIu32 ",gid=%" PRIu32,
					    s->root_uid, s->root_gid);
	if (mkdir(path, 0700) < 0)
		return err_sys(e, "mkdir %s", path);
	if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
		return err_sys(e, "mount tmpfs on %s", path);
	return 0;
}

static int make_files(const struct creation *k, struct err *e)
{
	AUTO_BUF struct buf resolv = BUF_INIT(RESOLV_MAX);
	AUTO_BUF struct buf name = BUF_INIT(256);
	AUTO_FREE char *shm = xasprintf("%s/shm", k->pod.run);
	AUTO_CLOSE int run = open(k->pod.run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct err none;
	if (run < 0)
		return err_sys(e, "open %s", k->pod.run);
	if (k->spec->resolv && buf_addstr(&resolv, k->spec->resolv, e) < 0)
		return -1;
	/* A host without the file has no resolver to pass on. */
	if (!k->spec->resolv && fs_read_at(AT_FDCWD, "/etc/resolv.conf", &resolv, &none) < 0 &&
	    none.errnum != ENOENT)
		log_warn("pod %s: empty resolv.conf: %s", k->pod.id, none.msg);
	if (buf_addf(&name, e, "%s\n", k->spec->hostname) < 0)
		return -1;
	if (fs_replace_file_at(run, "resolv.conf", 0644, resolv.data ? resolv.data : "", resolv.len,
			       FS_NEW, e) < 0 ||
	    fs_replace_file_at(run, "hostname", 0644, name.data, name.len, FS_NEW, e) < 0)
		return -1;
	/* The files are bound into containers, whose users are not ours: no umask on them. */
	if (fchmodat(run, "resolv.conf", 0644, 0) < 0 || fchmodat(run, "hostname", 0644, 0) < 0)
		return err_sys(e, "chmod in %s", k->pod.run);
	if (k->spec->uid_map && (state_let_through(&k->pod.c->st, e) < 0 ||
				 state_let_group_through(run, ".", k->spec->root_gid, e) < 0))
		return -1;
	/* What is the pod's own belongs to its root. */
	if (fchownat(run, "resolv.conf", k->spec->root_uid, k->spec->root_gid, 0) < 0 ||
	    fchownat(run, "hostname", k->spec->root_uid, k->spec->root_gid, 0) < 0)
		return err_sys(e, "chown in %s", k->pod.run);
	return k->spec->host_ipc ? 0 : make_shm(k->spec, shm, e);
}

static int pin_namespaces(struct creation *k, const struct ns_plan *plan, struct err *e)
{
	AUTO_FREE char *user = xasprintf("%s/ns/user", k->pod.run);
	AUTO_FREE char *ipc = xasprintf("%s/ns/ipc", k->pod.run);
	AUTO_FREE char *uts = xasprintf("%s/ns/uts", k->pod.run);
	AUTO_FREE char *pid = xasprintf("%s/ns/pid", k->pod.run);
	const struct ns_child *c = &k->child;
	if (k->init)
		parent_take_init(k->pod.c, k->spec->cgroup_parent, k->pod.id, c->init);
	if (k->init && (init_adopt(&k->pod, c->init, c->init_sock, e) < 0 ||
			ns_pin(c, "pid_for_children", pid, e) < 0))
		return -1;
	if (plan->uid_map && ns_pin(c, "user", user, e) < 0)
		return -1;
	if (plan->net && ns_pin(c, "net", k->pod.netns, e) < 0)
		return -1;
	if (plan->ipc && ns_pin(c, "ipc", ipc, e) < 0)
		return -1;
	return plan->uts ? ns_pin(c, "uts", uts, e) : 0;
}

static int make_namespaces(struct creation *k, struct err *e)
{
	const struct pod_spec *s = k->spec;
	AUTO_FREE char *ns = xasprintf("%s/ns", k->pod.run);
	const char *init_argv[] = {k->init, k->pod.id, NULL};
	struct ns_plan plan = {
		.net = !s->host_net,
		.ipc = !s->host_ipc,
		.uts = !s->host_net,
		.uid_map = s->uid_map,
		.gid_map = s->gid_map,
		.hostname = s->hostname,
		.sysctls = s->sysctls,
		.init_argv = k->init ? init_argv : NULL,
	};
	if (mkdir(ns, 0700) < 0)
		return err_sys(e, "mkdir %s", ns);
	if (!plan.net && !plan.ipc && !plan.init_argv)
		return 0;
	if (plan.net && ns_prepare_dir(NETNS_DIR, e) < 0)
		return -1;
	return ns_start(&k->child, &plan, e) < 0 ? -1 : pin_namespaces(k, &plan, e);
}

static json_t *plan_networks(const struct creation *k)
{
	json_t *nets = json_array(), *one;
	AUTO_JSON json_t *names = json_array();
	AUTO_FREE char *args =
		xasprintf("%s;K8S_POD_INFRA_CONTAINER_ID=%s", k->spec->k8s_args, k->pod.id);
	size_t i;
	json_array_foreach (k->networks, i, one)
		json_array_append(names, json_object_get(one, "name"));
	json_array_foreach (k->networks, i, one) {
		struct network_plan plan = {
			.list = json_object_get(one, "config"),
			.file = jsonx_opt_string(one, "file", ""),
			.ifname = jsonx_opt_string(one, "ifname", ""),
			.args = args,
			.runtime = k->spec->runtime,
			.networks = names,
		};
		json_array_append_new(nets, network_plan(&k->pod, i, &plan));
	}
	return nets;
}

static int make_network(struct creation *k, struct err *e)
{
	AUTO_JSON json_t *nets = plan_networks(k);
	AUTO_JSON json_t *ips = NULL;
	if (network_add(&k->pod, nets, &ips, e) < 0)
		return -1;
	record_set(&k->rec.ip, json_string_value(json_array_get(ips, 0)));
	json_array_remove(ips, 0);
	json_array_extend(k->rec.additional_ips, ips);
	return 0;
}

static int build(struct creation *k, struct err *e)
{
	if (write_intent(k, e) < 0 || check_cancelled(e) < 0)
		return -1;
	if (!k->spec->host_net &&
	    ports_claim(&k->pod, json_object_get(k->spec->runtime, "portMappings"), e) < 0)
		return -1;
	if (make_files(k, e) < 0 || make_namespaces(k, e) < 0 || check_cancelled(e) < 0)
		return -1;
	if (!k->spec->host_net && make_network(k, e) < 0)
		return -1;
	if (ns_finish(&k->child, e) < 0)
		return -1;
	if (check_cancelled(e) < 0)
		return -1;
	if (k->rec.sandbox && sandbox_start(&k->pod, k->handler, e) < 0)
		return -1;
	if (check_cancelled(e) < 0)
		return -1;
	record_set(&k->rec.state, "ready");
	k->rec.complete = true;
	return pod_record_write(&k->pod.c->st, &k->rec, e);
}

/* Claim the pod's name; what a dead creator left is removed first. */
static int claim(struct tool_ctx *c, const struct pod_spec *s, struct object_new *o, struct err *e)
{
	for (int i = 0; i < 8; i++) {
		if (object_create(&c->st, OBJ_POD, s->claim, strlen(s->claim), create_opts.id, o,
				  e) < 0)
			return -1;
		if (o->claim == CLAIM_NEW)
			return 0;
		if (o->claim == CLAIM_EXISTS)
			return err_set(e, ERR_EXISTS, "pod exists already: %s", o->id);
		if (o->claim == CLAIM_BUSY) {
			if (object_wait_unlocked(&c->st, OBJ_POD, o->id, pod_lock_ms(c), e) < 0)
				return err_set(e, ERR_EXISTS, "pod is being created: %s", o->id);
			continue;
		}
		if (pod_clean_abandoned(c, o->id, e) < 0)
			return err_wrap(e, "remove an interrupted creation");
	}
	return err_set(e, ERR_UNAVAILABLE, "the pod's name changes hands again and again");
}

/* Undoing would take away a namespace that another root pinned under the same id. */
static int check_netns_is_free(const struct creation *k, struct err *e)
{
	struct err ignored;
	if (k->spec->host_net || access(k->pod.netns, F_OK) < 0)
		return 0;
	object_discard(&k->pod.c->st, OBJ_POD, k->pod.id, &ignored);
	return err_set(e, ERR_EXISTS, "%s exists already: another --root has this id",
		       k->pod.netns);
}

static void undo(struct creation *k)
{
	struct err e;
	ns_end(&k->child);
	if (pod_remove(&k->pod, &e) < 0)
		log_warn("undo: %s (the next creation or podnet gc tries again)", e.msg);
}

/* Nothing is left that could tell, once it is undone. */
static void note_failure(const struct creation *k, int64_t began, const struct err *e)
{
	const Runtime__V1__PodSandboxMetadata *m = k->config->metadata;
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "id", k->pod.id, "name",
			      m->name, "namespace", m->namespace_, "uid", m->uid, "attempt",
			      (json_int_t)m->attempt, "handler", create_opts.handler, "origin",
			      create_opts.origin);
	if (j)
		failed_append(&k->pod.c->st, j, began, e);
}

static int create(struct tool_ctx *c, struct creation *k, struct err *e)
{
	struct object_new o;
	int64_t began = record_now_ns();
	if (check_cancelled(e) < 0 || (!k->spec->host_net && boot_settle(c, e) < 0) ||
	    claim(c, k->spec, &o, e) < 0)
		return -1;
	k->lock = o.lock;
	pod_init(&k->pod, c, o.id);
	k->pod.dir = o.dir;
	if (check_netns_is_free(k, e) < 0)
		return -1;
	if (build(k, e) < 0) {
		undo(k);
		note_failure(k, began, e);
		return -1;
	}
	AUTO_FREE char *file = xasprintf("%s/pods/%s/pod.json", c->cfg.root, k->pod.id);
	enum { FIXED = 9 };
	const char *argv[FIXED + 2 * NETWORKS_MAX] = {
		"create",          "--id", k->pod.id, "--handler", create_opts.handler, "--origin",
		create_opts.origin};
	size_t n = 7;
	for (int i = 0; i < create_opts.networks.count && i < NETWORKS_MAX; i++) {
		argv[n++] = "--network";
		argv[n++] = create_opts.networks.v[i];
	}
	argv[n] = "-";
	journal_by_hand(&c->st, k->pod.id, argv, file, began, NULL);
	event_publish(&c->st, "created", "pod", k->pod.id, k->pod.id, false);
	printf("%s\n", k->pod.id);
	return 0;
}

/* --dry-run: what would be made, as JSON. */
static int show_plan(const struct creation *k, struct err *e)
{
	const struct pod_spec *s = k->spec;
	AUTO_JSON json_t *ns = json_array();
	json_t *config = pbjson_write(&k->config->base, 0, e);
	if (!config)
		return -1;
	if (!s->host_net) {
		json_array_append_new(ns, json_string("net"));
		json_array_append_new(ns, json_string("uts"));
	}
	if (!s->host_ipc)
		json_array_append_new(ns, json_string("ipc"));
	if (s->shared_pid)
		json_array_append_new(ns, json_string("pid"));
	if (s->uid_map)
		json_array_append_new(ns, json_string("user"));
	AUTO_JSON json_t *out =
		json_pack("{s:s, s:O, s:O, s:s?, s:o}", "hostname", s->hostname, "namespaces", ns,
			  "sysctls", s->sysctls, "resolv_conf", s->resolv, "config", config);
	if (k->networks) {
		json_object_set(out, "networks", k->networks);
		json_object_set(out, "runtime", s->runtime);
	}
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

/* Told while there is nothing to undo: no container could be made in the pod. */
static int check_userns(struct tool_ctx *c, const struct handler *h, const struct pod_spec *s,
			struct err *e)
{
	AUTO_FREE char *layers = xasprintf("%s/layers", c->cfg.root);
	if (!s->uid_map)
		return 0;
	AUTO_JSON json_t *can = handler_can(&c->cfg, h);
	if (handler_can_do(can, "user_namespaces") == 0)
		return err_set(e, ERR_UNSUPPORTED,
			       "namespace_options.userns_options: the runtime of handler '%s' has "
			       "no user namespaces",
			       h->name);
	if (idmap_probe(layers, e) < 0)
		return err_wrap(e, "namespace_options.userns_options");
	return 0;
}

static int check_options(struct tool_ctx *c, struct handler *h, const struct pod_spec *s,
			 struct err *e)
{
	if (strcmp(create_opts.origin, "cri") != 0 && strcmp(create_opts.origin, "hand") != 0)
		return err_set(e, ERR_USAGE, "--origin: '%s' is not cri or hand",
			       create_opts.origin);
	if (create_opts.id && !id_is_valid(create_opts.id))
		return err_set(e, ERR_BAD_INPUT, "--id: '%.80s' is not an id (64 hex digits)",
			       create_opts.id);
	return handler_find(h, &c->cfg, create_opts.handler, e) < 0 ? -1 : check_userns(c, h, s, e);
}

static int choose_networks(struct tool_ctx *c, struct creation *k, const struct handler *h,
			   struct err *e)
{
	AUTO_JSON json_t *typed = json_array();
	for (int i = 0; i < create_opts.networks.count; i++)
		json_array_append_new(typed, json_string(create_opts.networks.v[i]));
	if (k->spec->host_net && create_opts.networks.count > 0)
		return err_set(e, ERR_BAD_INPUT, "--network: the pod uses the host's network");
	if (k->spec->host_net)
		return 0;
	json_t *ranges = cidr_ranges(c);
	if (ranges)
		json_object_set_new(k->spec->runtime, "ipRanges", ranges);
	k->networks = networks_choose(c, typed, h->networks, e);
	return k->networks ? 0 : -1;
}

int cmd_create(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PB Runtime__V1__PodSandboxConfig *m = NULL;
	AUTO_POD_SPEC struct pod_spec spec = {0};
	AUTO_HANDLER struct handler h = {0};
	__attribute__((cleanup(creation_release))) struct creation k = {
		.pod = {.dir = -1},
		.lock = -1,
		.spec = &spec,
		.child = NS_CHILD_NONE,
	};
	(void)argc;
	m = (Runtime__V1__PodSandboxConfig *)pbjson_load(
		&runtime__v1__pod_sandbox_config__descriptor, argv[0], e);
	if (!m || pod_spec_of(&spec, m, &c->cfg, e) < 0 || check_options(c, &h, &spec, e) < 0)
		return -1;
	k.config = m;
	k.handler = &h;
	if (choose_networks(c, &k, &h, e) < 0)
		return -1;
	return c->dry_run ? show_plan(&k, e) : create(c, &k, e);
}
