/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's own container, for a handler whose runtime wants one before the others: a program that
 * only waits, in a root of its own, made like any other container from a request that is written
 * here. Its id is the pod's. podnet create, which holds the pod's lock, asks for it. */
#include "ocibundle.h"

#include "auto.h"
#include "bundle.h"
#include "cap.h"
#include "fs.h"
#include "jsonx.h"
#include "pbjson.h"
#include "xalloc.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SOURCES_MAX = 1 << 20, NOBODY = 65534, PROGRAM_MAX = 4 << 20 };

/* podpause, as it is called inside. */
#define PROGRAM "pause"

struct making {
	struct tool_ctx *c;
	struct bundle b;
	struct handler handler;
	struct object_new obj;
	struct ctr_record rec;
	struct buf sources;
};

/* What the pod's containers may use together, and what the runtime needs beside them. */
static Runtime__V1__LinuxContainerResources *limits_of(const Runtime__V1__PodSandboxConfig *pod,
						       Runtime__V1__LinuxContainerResources *sum)
{
	const Runtime__V1__LinuxPodSandboxConfig *l = pod->linux;
	const Runtime__V1__LinuxContainerResources *own = l ? l->resources : NULL,
						   *more = l ? l->overhead : NULL;
	if (!own)
		return NULL;
	*sum = *own;
	if (more && own->memory_limit_in_bytes > 0 && more->memory_limit_in_bytes > 0) {
		sum->memory_limit_in_bytes += more->memory_limit_in_bytes;
		if (own->memory_swap_limit_in_bytes > 0)
			sum->memory_swap_limit_in_bytes += more->memory_limit_in_bytes;
	}
	if (more && own->cpu_quota > 0 && more->cpu_quota > 0 &&
	    own->cpu_period == more->cpu_period)
		sum->cpu_quota += more->cpu_quota;
	if (more && own->cpu_shares > 0 && more->cpu_shares > 0)
		sum->cpu_shares += more->cpu_shares;
	return sum;
}

/* Not from a constant initialiser: a bundle's request is never written to, but its type is not
 * const. */
struct request {
	Runtime__V1__ContainerConfig ctr;
	Runtime__V1__ContainerMetadata meta;
	Runtime__V1__ImageSpec image;
	Runtime__V1__LinuxContainerConfig lin;
	Runtime__V1__LinuxContainerSecurityContext sec;
	Runtime__V1__LinuxContainerResources res;
	Runtime__V1__Capability caps;
	Runtime__V1__Int64Value user, group;
	char name[8], program[16], all[4], ports[24];
	char *command[1], *drop[1], *add[1];
};

/* A runtime that keeps the processes to itself serves them from a process of its own, which has the
 * capabilities of this container on the host: with --network=host it is runsc's sandbox that binds a
 * port below 1024. Without this one no container could; and it gets no more, because that process is
 * what stands between the containers and the host. */
static void keep_port_right(struct request *r)
{
	if (!(cap_bounding() >> CAP_NET_BIND_SERVICE & 1))
		return;
	snprintf(r->ports, sizeof r->ports, "NET_BIND_SERVICE");
	r->add[0] = r->ports;
	r->caps.n_add_capabilities = 1;
	r->caps.add_capabilities = r->add;
}

static void write_request(struct request *r, const Runtime__V1__PodSandboxConfig *pod,
			  bool serves_others)
{
	runtime__v1__container_config__init(&r->ctr);
	runtime__v1__container_metadata__init(&r->meta);
	runtime__v1__image_spec__init(&r->image);
	runtime__v1__linux_container_config__init(&r->lin);
	runtime__v1__linux_container_security_context__init(&r->sec);
	runtime__v1__capability__init(&r->caps);
	runtime__v1__int64_value__init(&r->user);
	runtime__v1__int64_value__init(&r->group);
	/* Capitals: no container of Kubernetes can have that name. */
	snprintf(r->name, sizeof r->name, "POD");
	snprintf(r->program, sizeof r->program, "/" PROGRAM);
	snprintf(r->all, sizeof r->all, "ALL");
	r->command[0] = r->program;
	r->drop[0] = r->all;
	r->meta.name = r->name;
	r->caps.n_drop_capabilities = 1;
	r->caps.drop_capabilities = r->drop;
	if (serves_others)
		keep_port_right(r);
	r->user.value = r->group.value = NOBODY;
	r->sec.run_as_user = &r->user;
	r->sec.run_as_group = &r->group;
	r->sec.capabilities = &r->caps;
	r->sec.no_new_privs = r->sec.readonly_rootfs = true;
	r->lin.security_context = &r->sec;
	r->lin.resources = limits_of(pod, &r->res);
	r->ctr.metadata = &r->meta;
	r->ctr.image = &r->image;
	r->ctr.linux = &r->lin;
	r->ctr.n_command = 1;
	r->ctr.command = r->command;
}

static int read_pod(struct making *k, const char *typed, Runtime__V1__PodSandboxConfig **pod,
		    struct err *e)
{
	char id[ID_SIZE];
	struct bundle *b = &k->b;
	if (object_resolve(b->st, OBJ_POD, typed, id, e) < 0 ||
	    pod_record_read(b->st, id, &b->pod_rec, e) < 0)
		return -1;
	if (strcmp(b->pod_rec.state, "creating") != 0 && !k->c->dry_run)
		return err_set(e, ERR_BAD_STATE,
			       "pod %s is %s: its sandbox container is made when it is created", id,
			       b->pod_rec.state);
	AUTO_CLOSE int dir = object_open(b->st, OBJ_POD, id, e);
	AUTO_JSON json_t *j = dir < 0 ? NULL : object_config_read(dir, OBJ_POD, e);
	if (j)
		*pod = (Runtime__V1__PodSandboxConfig *)pbjson_read(
			&runtime__v1__pod_sandbox_config__descriptor, j, "pod.json", e);
	if (!*pod || handler_find(&k->handler, b->cfg, b->pod_rec.handler, e) < 0)
		return err_wrap(e, "pod %s", id);
	if (!k->handler.sandbox_container)
		return err_set(e, ERR_BAD_INPUT, "runtime handler '%s' needs no sandbox container",
			       k->handler.name);
	memcpy(b->id, id, ID_SIZE);
	return 0;
}

static int claim(struct making *k, struct err *e)
{
	AUTO_FREE char *name = xasprintf("%s\nsandbox", k->b.id);
	for (int i = 0; i < 2; i++) {
		if (object_create(k->b.st, OBJ_CONTAINER, name, strlen(name), k->b.id, &k->obj, e) <
		    0)
			return -1;
		if (k->obj.claim == CLAIM_NEW)
			return 0;
		if (k->obj.claim != CLAIM_ABANDONED)
			break;
		if (remove_remains(k->b.st, k->obj.id, e) < 0)
			return -1;
	}
	return err_set(e, ERR_EXISTS, "pod %s has a sandbox container", k->b.id);
}

static int write_record(struct making *k, bool complete, struct err *e)
{
	struct ctr_record *r = &k->rec;
	const struct bundle *b = &k->b;
	const struct {
		char **member;
		const char *value;
	} set[] = {
		{&r->id, b->id},
		{&r->pod_id, b->id},
		{&r->state, "prepared"},
		{&r->handler, k->handler.name},
		{&r->runtime, k->handler.path},
		{&r->runtime_root, k->handler.root},
		{&r->origin, ORIGIN_SANDBOX},
		{&r->boot_id, state_boot_id()},
		{&r->cgroup_path, b->cgroup_path},
	};
	for (size_t i = 0; i < ARRAY_LEN(set); i++)
		record_set(set[i].member, set[i].value);
	r->created_at = record_now_ns();
	r->complete = complete;
	return ctr_record_write(b->st, r, e);
}

static int copy_program(const struct making *k, int rootfs, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(PROGRAM_MAX);
	AUTO_FREE char *path = config_tool(&k->c->cfg, "podpause", e);
	if (!path || fs_read_at(AT_FDCWD, path, &b, e) < 0)
		return err_wrap(e, "the sandbox container's program");
	if (fs_replace_file_at(rootfs, PROGRAM, 0755, b.data ? b.data : "", b.len, 0, e) < 0)
		return -1;
	return fchmodat(rootfs, PROGRAM, 0755, 0) < 0 ? err_sys(e, "chmod " PROGRAM) : 0;
}

/* On the file system of runroot, as the bundle itself: there is nothing in it that must last. */
static int make_rootfs(struct making *k, int run, struct err *e)
{
	static const char *const dirs[] = {"bundle/rootfs/proc", "bundle/rootfs/dev",
					   "bundle/rootfs/sys", "bundle/rootfs/etc"};
	if (mkdirat(run, "bundle", 0700) < 0 || mkdirat(run, "bundle/rootfs", 0755) < 0)
		return err_sys(e, "make bundle/rootfs");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (mkdirat(run, dirs[i], 0755) < 0)
			return err_sys(e, "make %s", dirs[i]);
	k->b.rootfs = fs_open_dir(run, "bundle/rootfs", e);
	return k->b.rootfs < 0 ? -1 : copy_program(k, k->b.rootfs, e);
}

static int make_bundle(struct making *k, struct err *e)
{
	struct bundle *b = &k->b;
	AUTO_JSON json_t *config = pbjson_write(&b->ctr->base, 0, e);
	AUTO_CLOSE int run = object_open_run(b->st, OBJ_CONTAINER, b->id, true, e);
	if (!config || run < 0 || make_rootfs(k, run, e) < 0 ||
	    object_config_write(k->obj.dir, OBJ_CONTAINER, config, e) < 0)
		return -1;
	AUTO_JSON json_t *spec = spec_build(b, e);
	AUTO_CLOSE int bundle = spec ? fs_open_dir(run, "bundle", e) : -1;
	if (bundle < 0 ||
	    fs_replace_file_at(bundle, "sources", 0600, b->why->data ? b->why->data : "",
			       b->why->len, FS_NEW, e) < 0)
		return -1;
	return jsonx_replace_at(bundle, "config.json", 0600, spec, FS_NEW, e);
}

static int make(struct making *k, struct err *e)
{
	struct err undo;
	if (claim(k, e) < 0)
		return -1;
	if (write_record(k, false, e) == 0 && make_bundle(k, e) == 0 &&
	    write_record(k, true, e) == 0)
		return printf("%s\n", k->b.id) < 0 ? -1 : 0;
	if (remove_remains(k->b.st, k->b.id, &undo) < 0)
		err_wrap(e, "(not undone: %.200s)", undo.msg);
	return -1;
}

int run_sandbox(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PB Runtime__V1__PodSandboxConfig *pod = NULL;
	struct request request;
	struct making k = {.c = c,
			   .obj = {.dir = -1, .lock = -1},
			   .sources = BUF_INIT(SOURCES_MAX),
			   .b = {.cfg = &c->cfg, .st = &c->st, .rootfs = -1, .sandbox = true}};
	(void)argc;
	int r = read_pod(&k, argv[0], &pod, e);
	if (r == 0 && pod) {
		write_request(&request, pod, k.handler.sandboxed);
		k.b.pod = pod;
		k.b.ctr = &request.ctr;
		k.b.why = &k.sources;
		k.b.handler = &k.handler;
		k.b.mount_images = json_array();
		bundle_derive(&k.b);
		r = make(&k, e);
	}
	auto_close(&k.obj.dir);
	auto_close(&k.obj.lock);
	ctr_record_release(&k.rec);
	bundle_release(&k.b);
	handler_release(&k.handler);
	buf_release(&k.sources);
	return r;
}
