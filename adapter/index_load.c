/* SPDX-License-Identifier: Apache-2.0 */
#include "index_load.h"

#include "auto.h"
#include "fs.h"
#include "jsonpool.h"
#include "jsonx.h"
#include "log.h"
#include "packed.h"
#include "pbjson.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>

enum { BUNDLE_CONFIG_MAX = 4 << 20, UPDATE_MAX = 1 << 20 };

/* The configuration as a message with what no reply needs left out, in `mem`; NULL with an error.
 */
static ProtobufCMessage *read_config(int dir, enum object_kind kind, struct arena *mem,
				     struct err *e)
{
	const ProtobufCMessageDescriptor *d = kind == OBJ_POD
						      ? &runtime__v1__pod_sandbox_config__descriptor
						      : &runtime__v1__container_config__descriptor;
	AUTO_JSON json_t *j = object_config_read(dir, kind, e);
	AUTO_PB ProtobufCMessage *full =
		j ? pbjson_read(d, j, kind == OBJ_POD ? "pod.json" : "container.json", e) : NULL;
	if (!full)
		return NULL;
	if (kind == OBJ_CONTAINER) {
		const Runtime__V1__ContainerConfig *c = (void *)full;
		Runtime__V1__LinuxContainerConfig linux_part;
		Runtime__V1__ContainerConfig lean = *c;
		lean.n_command = lean.n_args = lean.n_envs = lean.n_devices = 0;
		lean.n_cdi_devices = 0;
		lean.windows = NULL;
		if (c->linux) {
			linux_part = *c->linux;
			linux_part.security_context = NULL;
			lean.linux = &linux_part;
		}
		return packed_copy(&lean.base, mem);
	}
	return packed_copy(full, mem);
}

/* resources.json, which an update has left; NULL when there is none. */
static ProtobufCMessage *read_update(int dir, const ProtobufCMessageDescriptor *d,
				     struct arena *mem)
{
	struct err e;
	AUTO_JSON json_t *j = jsonx_read_at(dir, "resources.json", UPDATE_MAX, &e);
	AUTO_PB ProtobufCMessage *m = j ? pbjson_read(d, j, "resources.json", &e) : NULL;
	if (!m && e.kind != ERR_NOT_FOUND)
		log_warn("%s", e.msg);
	return m ? packed_copy(m, mem) : NULL;
}

static void take_pod_update(struct pod *p, int dir)
{
	Runtime__V1__UpdatePodSandboxResourcesRequest *u = (void *)read_update(
		dir, &runtime__v1__update_pod_sandbox_resources_request__descriptor, &p->mem);
	if (!u)
		return;
	if (!p->config->linux)
		p->config->linux = NEW_MSG(&p->mem, Runtime__V1__LinuxPodSandboxConfig,
					   runtime__v1__linux_pod_sandbox_config);
	if (u->overhead)
		p->config->linux->overhead = u->overhead;
	if (u->resources)
		p->config->linux->resources = u->resources;
}

static void take_ctr_update(struct ctr *c, int dir)
{
	Runtime__V1__LinuxContainerResources *u = (void *)read_update(
		dir, &runtime__v1__linux_container_resources__descriptor, &c->mem);
	if (!u)
		return;
	if (!c->config->linux)
		c->config->linux = NEW_MSG(&c->mem, Runtime__V1__LinuxContainerConfig,
					   runtime__v1__linux_container_config);
	c->config->linux->resources = u;
}

static void set_damage(char **damage, const char *kind, const char *id, const char *why)
{
	if (*damage)
		return;
	*damage = xstrdup(why);
	log_warn("%s %s: damaged: %s", kind, id, why);
}

static Runtime__V1__PodSandboxConfig *unknown_pod_config(struct pod *p)
{
	Runtime__V1__PodSandboxConfig *c =
		NEW_MSG(&p->mem, Runtime__V1__PodSandboxConfig, runtime__v1__pod_sandbox_config);
	c->metadata = NEW_MSG(&p->mem, Runtime__V1__PodSandboxMetadata,
			      runtime__v1__pod_sandbox_metadata);
	c->metadata->name = arena_printf(&p->mem, "damaged-%.12s", p->o.id);
	c->metadata->uid = p->o.id;
	c->metadata->namespace_ = arena_strdup(&p->mem, "default");
	return c;
}

static void pack_pod(struct pod *p)
{
	Runtime__V1__PodSandbox m = RUNTIME__V1__POD_SANDBOX__INIT;
	m.id = p->o.id;
	m.metadata = p->config->metadata;
	m.state = pod_ready(p) ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
			       : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
	m.created_at = p->rec.created_at;
	m.n_labels = p->config->n_labels;
	m.labels = (void *)p->config->labels;
	m.n_annotations = p->config->n_annotations;
	m.annotations = (void *)p->config->annotations;
	m.runtime_handler = p->rec.handler;
	p->packed = packed_element(&m.base, &p->packed_len);
}

static void blank_pod_record(struct pod_record *r, const char *id)
{
	char **const all[] = {
		&r->id,    &r->state,        &r->handler, &r->origin,        &r->boot_id,
		&r->netns, &r->network_mode, &r->ip,      &r->cgroup_parent, &r->reason};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		record_set(all[i], "");
	record_set(&r->id, id);
	if (!r->additional_ips)
		r->additional_ips = json_array();
}

static bool sandbox_runs(const struct state *s, const char *id)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	return ctr_record_read(s, id, &r, &ignored) == 0 && ctr_effective(s, &r, &x) == CTR_RUNNING;
}

static struct pod *load_pod(const struct state *s, const char *id)
{
	struct err e;
	AUTO_CLOSE int dir = object_open(s, OBJ_POD, id, &e);
	if (dir < 0 && e.kind == ERR_NOT_FOUND)
		return NULL;
	struct pod *p = xcalloc(1, sizeof *p);
	memcpy(p->o.id, id, ID_SIZE);
	if (dir < 0 || pod_record_read_at(dir, &p->rec, &e) < 0) {
		blank_pod_record(&p->rec, id);
		/* No record yet: a creation under way, or one that died at its very beginning. */
		if (e.kind != ERR_NOT_FOUND)
			set_damage(&p->damage, "pod", id, e.msg);
	}
	if (dir >= 0)
		p->config = (void *)read_config(dir, OBJ_POD, &p->mem, &e);
	if (!p->config && p->rec.complete)
		set_damage(&p->damage, "pod", id, e.msg);
	if (!p->config || !p->config->metadata)
		p->config = unknown_pod_config(p);
	if (dir >= 0)
		take_pod_update(p, dir);
	if (!p->rec.created_at)
		p->rec.created_at = 1;
	p->sandbox_ended =
		p->rec.sandbox && strcmp(p->rec.state, "ready") == 0 && !sandbox_runs(s, id);
	pack_pod(p);
	return p;
}

struct pod *pod_load(const struct state *s, const char *id)
{
	jsonpool_begin();
	struct pod *p = load_pod(s, id);
	if (p)
		p->rec.additional_ips = jsonpool_keep(p->rec.additional_ips);
	jsonpool_end();
	return p;
}

void pod_free(struct pod *p)
{
	pod_record_release(&p->rec);
	free(p->damage);
	free(p->packed);
	usage_dirs_release(&p->dirs);
	arena_release(&p->mem);
	free(p);
}

static Runtime__V1__ContainerConfig *unknown_ctr_config(struct ctr *c)
{
	Runtime__V1__ContainerConfig *m =
		NEW_MSG(&c->mem, Runtime__V1__ContainerConfig, runtime__v1__container_config);
	m->metadata =
		NEW_MSG(&c->mem, Runtime__V1__ContainerMetadata, runtime__v1__container_metadata);
	m->metadata->name = arena_printf(&c->mem, "damaged-%.12s", c->o.id);
	return m;
}

Runtime__V1__ContainerState ctr_cri_state(const struct ctr *c)
{
	if (c->damage)
		return RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN;
	switch (c->state) {
	case CTR_PREPARED:
	case CTR_CREATED:
		return RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
	case CTR_RUNNING:
		return RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
	case CTR_EXITED:
		return RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
	case CTR_UNKNOWN:
		break;
	}
	return RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN;
}

void ctr_image_spec(const struct ctr *c, Runtime__V1__ImageSpec *out)
{
	const Runtime__V1__ImageSpec *said = c->config->image;
	runtime__v1__image_spec__init(out);
	if (said) {
		*out = *said;
		out->base.n_unknown_fields = 0;
		/* All handlers share one store: an image in use must not look like another one. */
		out->runtime_handler = (char *)"";
	}
	if (*c->rec.image)
		out->image = c->rec.image;
	if (!*out->image)
		out->image = *c->rec.image_id ? c->rec.image_id : (char *)"unknown";
}

static void pack_ctr(struct ctr *c)
{
	Runtime__V1__Container m = RUNTIME__V1__CONTAINER__INIT;
	Runtime__V1__ImageSpec image;
	ctr_image_spec(c, &image);
	m.id = c->o.id;
	m.pod_sandbox_id = c->rec.pod_id;
	m.metadata = c->config->metadata;
	m.image = &image;
	m.image_ref = m.image_id = c->rec.image_id;
	m.state = ctr_cri_state(c);
	m.created_at = c->rec.created_at;
	m.n_labels = c->config->n_labels;
	m.labels = (void *)c->config->labels;
	m.n_annotations = c->config->n_annotations;
	m.annotations = (void *)c->config->annotations;
	c->packed = packed_element(&m.base, &c->packed_len);
}

static void blank_ctr_record(struct ctr_record *r, const char *id)
{
	char **const all[] = {&r->id,           &r->pod_id,   &r->state,    &r->handler,
			      &r->runtime,      &r->origin,   &r->boot_id,  &r->image,
			      &r->runtime_root, &r->image_id, &r->log_path, &r->cgroup_path,
			      &r->start_error};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		record_set(all[i], "");
	record_set(&r->id, id);
}

/* The monitor's process, when it lives: proof that the container does, and what is watched then. It
 * holds its lock until its end, so the number that was pinned before the lock was seen is still its own.
 * Its start time would say so too, but a look into /proc takes twice as long. */
static int open_monitor(const struct state *s, const struct ctr_record *r)
{
	if (r->monitor <= 0 || *r->start_error || strcmp(r->boot_id, state_boot_id()) != 0)
		return -1;
	AUTO_CLOSE int fd = pidfd_open((pid_t)r->monitor, 0);
	return fd >= 0 && ctr_monitor_lives(s, r->id) ? TAKE_FD(fd) : -1;
}

static void take_ctr_state(struct ctr *c, const struct state *s, int dir)
{
	/* The directory's name is the id, whatever the record says. */
	record_set(&c->rec.id, c->o.id);
	c->monitor = open_monitor(s, &c->rec);
	c->state = ctr_effective_at(s, dir, &c->rec, c->monitor >= 0, &c->exit);
}

static struct ctr *load_ctr(const struct state *s, const char *id)
{
	struct err e;
	AUTO_CLOSE int dir = object_open(s, OBJ_CONTAINER, id, &e);
	if (dir < 0 && e.kind == ERR_NOT_FOUND)
		return NULL;
	struct ctr *c = xcalloc(1, sizeof *c);
	c->monitor = -1;
	memcpy(c->o.id, id, ID_SIZE);
	if (dir < 0 || ctr_record_read_at(dir, &c->rec, &e) < 0) {
		blank_ctr_record(&c->rec, id);
		c->state = CTR_UNKNOWN;
		if (e.kind != ERR_NOT_FOUND)
			set_damage(&c->damage, "container", id, e.msg);
		else
			c->state = CTR_PREPARED;
	} else {
		take_ctr_state(c, s, dir);
	}
	if (dir >= 0)
		c->config = (void *)read_config(dir, OBJ_CONTAINER, &c->mem, &e);
	if (!c->config && c->rec.complete)
		set_damage(&c->damage, "container", id, e.msg);
	if (!c->config || !c->config->metadata)
		c->config = unknown_ctr_config(c);
	if (dir >= 0)
		take_ctr_update(c, dir);
	if (!c->rec.created_at)
		c->rec.created_at = 1;
	pack_ctr(c);
	return c;
}

struct ctr *ctr_load(const struct state *s, const char *id)
{
	jsonpool_begin();
	struct ctr *c = load_ctr(s, id);
	if (c)
		c->rec.mount_images = jsonpool_keep(c->rec.mount_images);
	jsonpool_end();
	return c;
}

void ctr_free(struct ctr *c)
{
	ctr_record_release(&c->rec);
	exit_record_release(&c->exit);
	auto_close(&c->monitor);
	free(c->damage);
	free(c->packed);
	free(c->user.groups);
	usage_dirs_release(&c->dirs);
	arena_release(&c->mem);
	free(c);
}

void ctr_inherit(struct ctr *c, struct ctr *old)
{
	c->user = old->user;
	old->user = (struct ctr_user){0};
	/* Of one that has ended it is no more than open files of a group that is gone. */
	if (c->state == CTR_RUNNING) {
		c->dirs = old->dirs;
		old->dirs = (struct usage_dirs){.known = false};
	}
	c->cpu = old->cpu;
	c->disk_bytes = old->disk_bytes;
	c->disk_inodes = old->disk_inodes;
	c->disk_at = old->disk_at;
	c->disk_asked = old->disk_asked;
}

void pod_inherit(struct pod *p, struct pod *old)
{
	if (pod_ready(p)) {
		p->dirs = old->dirs;
		old->dirs = (struct usage_dirs){.known = false};
	}
	p->cpu = old->cpu;
}

static void read_user(struct ctr_user *u, json_t *process)
{
	const json_t *user = json_object_get(process, "user"), *gids, *gid;
	size_t i;
	if (!json_is_object(user))
		return;
	u->known = true;
	u->uid = jsonx_opt_int((json_t *)user, "uid", 0);
	u->gid = jsonx_opt_int((json_t *)user, "gid", 0);
	gids = json_object_get(user, "additionalGids");
	u->groups = xcalloc(json_array_size(gids) + 1, sizeof *u->groups);
	json_array_foreach (gids, i, gid)
		u->groups[u->n_groups++] = json_integer_value(gid);
}

const struct ctr_user *ctr_user(struct ctr *c, const struct state *s)
{
	struct err e;
	if (c->user.known || c->damage)
		return &c->user;
	AUTO_CLOSE int dir = object_open_run(s, OBJ_CONTAINER, c->o.id, false, &e);
	AUTO_JSON json_t *j =
		dir < 0 ? NULL : jsonx_read_at(dir, "bundle/config.json", BUNDLE_CONFIG_MAX, &e);
	read_user(&c->user, json_object_get(j, "process"));
	return &c->user;
}
