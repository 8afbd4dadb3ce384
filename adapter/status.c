/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "pbjson.h"
#include "svc.h"
#include "xalloc.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The CRI numbers signals by name, Linux by history. */
static Runtime__V1__Signal signal_of(const struct ctr *c)
{
	char name[40];
	int64_t n = c->rec.stop_signal ? c->rec.stop_signal : SIGTERM;
	const char *abbrev = n > 0 && n < SIGRTMIN ? sigabbrev_np((int)n) : NULL;
	if (c->config->stop_signal)
		return c->config->stop_signal;
	if (abbrev)
		snprintf(name, sizeof name, "SIGNAL_SIG%s", abbrev);
	else if (n == SIGRTMIN)
		snprintf(name, sizeof name, "SIGNAL_SIGRTMIN");
	else if (n == SIGRTMAX)
		snprintf(name, sizeof name, "SIGNAL_SIGRTMAX");
	else if (n <= SIGRTMIN + 15)
		snprintf(name, sizeof name, "SIGNAL_SIGRTMINPLUS%d", (int)n - SIGRTMIN);
	else
		snprintf(name, sizeof name, "SIGNAL_SIGRTMAXMINUS%d", SIGRTMAX - (int)n);
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(
		&runtime__v1__signal__descriptor, name);
	return v ? (Runtime__V1__Signal)v->value : RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT;
}

/* As configured; an image that is mounted is told with the id that it had then: its name may be
 * another's by now, or nobody's. */
static Runtime__V1__Mount **mounts_of(const struct ctr *c, struct arena *a)
{
	size_t n = c->config->n_mounts, k = 0;
	Runtime__V1__Mount **list = arena_alloc(a, (n + 1) * sizeof(Runtime__V1__Mount *));
	for (size_t i = 0; i < n; i++) {
		Runtime__V1__Mount *m = c->config->mounts[i];
		list[i] = m;
		if (!m->image || !*m->image->image)
			continue;
		const char *id = json_string_value(json_array_get(c->rec.mount_images, k++));
		if (!id)
			continue;
		list[i] = arena_alloc(a, sizeof *m);
		*list[i] = *m;
		list[i]->image = arena_alloc(a, sizeof *m->image);
		*list[i]->image = *m->image;
		list[i]->image->image_ref = arena_strdup(a, id);
	}
	return list;
}

static Runtime__V1__ContainerUser *user_of(const struct crispd *d, struct ctr *c, struct arena *a)
{
	const struct ctr_user *u = ctr_user(c, &d->st);
	if (!u->known)
		return NULL;
	Runtime__V1__ContainerUser *m =
		NEW_MSG(a, Runtime__V1__ContainerUser, runtime__v1__container_user);
	m->linux = NEW_MSG(a, Runtime__V1__LinuxContainerUser, runtime__v1__linux_container_user);
	m->linux->uid = u->uid;
	m->linux->gid = u->gid;
	m->linux->n_supplemental_groups = u->n_groups;
	m->linux->supplemental_groups = u->groups;
	return m;
}

static Runtime__V1__ContainerResources *resources_of(const struct ctr *c, struct arena *a)
{
	if (!c->config->linux || !c->config->linux->resources)
		return NULL;
	Runtime__V1__ContainerResources *m =
		NEW_MSG(a, Runtime__V1__ContainerResources, runtime__v1__container_resources);
	m->linux = c->config->linux->resources;
	return m;
}

static void fill_exit(const struct ctr *c, Runtime__V1__ContainerStatus *m)
{
	const struct exit_record *x = &c->exit;
	m->started_at = c->rec.started_at;
	if (c->damage) {
		m->reason = (char *)"Damaged";
		m->message = c->damage;
	}
	if (c->state != CTR_EXITED || c->damage)
		return;
	if (x->started_at)
		m->started_at = x->started_at;
	/* Nobody saw the end of one that was lost; the kubelet wants a time all the same. */
	m->finished_at = x->finished_at  ? x->finished_at
			 : m->started_at ? m->started_at
					 : c->rec.created_at;
	m->exit_code = (int32_t)x->exit_code;
	m->reason = x->reason;
	m->message = x->message;
}

Runtime__V1__ContainerStatus *status_ctr(struct crispd *d, struct ctr *c, struct arena *a)
{
	Runtime__V1__ContainerStatus *m =
		NEW_MSG(a, Runtime__V1__ContainerStatus, runtime__v1__container_status);
	m->id = c->o.id;
	m->metadata = c->config->metadata;
	m->state = ctr_cri_state(c);
	m->created_at = c->rec.created_at;
	m->image = arena_alloc(a, sizeof *m->image);
	ctr_image_spec(c, m->image);
	m->image_id = c->rec.image_id;
	m->image_ref = *c->rec.image_id ? c->rec.image_id : m->image->image;
	m->n_labels = c->config->n_labels;
	m->labels = (void *)c->config->labels;
	m->n_annotations = c->config->n_annotations;
	m->annotations = (void *)c->config->annotations;
	m->n_mounts = c->config->n_mounts;
	m->mounts = mounts_of(c, a);
	m->log_path = c->rec.log_path;
	m->resources = resources_of(c, a);
	m->user = user_of(d, c, a);
	m->stop_signal = signal_of(c);
	fill_exit(c, m);
	return m;
}

Runtime__V1__ContainerStatus **status_ctrs_of(struct crispd *d, const char *pod_id, size_t *n,
					      struct arena *a)
{
	size_t all = index_n_ctrs(d->index);
	Runtime__V1__ContainerStatus **list =
		arena_alloc(a, (all + 1) * sizeof(Runtime__V1__ContainerStatus *));
	*n = 0;
	for (size_t i = 0; i < all; i++) {
		struct ctr *k = index_ctr_at(d->index, i);
		if (ctr_visible(k) && strcmp(k->rec.pod_id, pod_id) == 0)
			list[(*n)++] = status_ctr(d, k, a);
	}
	return list;
}

static Runtime__V1__PodSandboxNetworkStatus *network_of(const struct pod *p, struct arena *a)
{
	size_t i, n = json_array_size(p->rec.additional_ips);
	json_t *ip;
	Runtime__V1__PodSandboxNetworkStatus *m = NEW_MSG(a, Runtime__V1__PodSandboxNetworkStatus,
							  runtime__v1__pod_sandbox_network_status);
	m->ip = p->rec.ip;
	m->additional_ips = arena_alloc(a, (n + 1) * sizeof(Runtime__V1__PodIP *));
	json_array_foreach (p->rec.additional_ips, i, ip) {
		Runtime__V1__PodIP *one = NEW_MSG(a, Runtime__V1__PodIP, runtime__v1__pod_ip);
		if (!json_is_string(ip))
			continue;
		one->ip = (char *)json_string_value(ip);
		m->additional_ips[m->n_additional_ips++] = one;
	}
	return m;
}

Runtime__V1__PodSandboxStatus *status_pod(struct pod *p, struct arena *a)
{
	const Runtime__V1__LinuxPodSandboxConfig *l = p->config->linux;
	Runtime__V1__PodSandboxStatus *m =
		NEW_MSG(a, Runtime__V1__PodSandboxStatus, runtime__v1__pod_sandbox_status);
	m->id = p->o.id;
	m->metadata = p->config->metadata;
	m->state = pod_ready(p) ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
				: RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
	m->created_at = p->rec.created_at;
	m->network = network_of(p, a);
	m->linux = NEW_MSG(a, Runtime__V1__LinuxPodSandboxStatus,
			   runtime__v1__linux_pod_sandbox_status);
	m->linux->namespaces = NEW_MSG(a, Runtime__V1__Namespace, runtime__v1__namespace);
	m->linux->namespaces->options =
		l && l->security_context && l->security_context->namespace_options
			? l->security_context->namespace_options
			: NEW_MSG(a, Runtime__V1__NamespaceOption, runtime__v1__namespace_option);
	m->n_labels = p->config->n_labels;
	m->labels = (void *)p->config->labels;
	m->n_annotations = p->config->n_annotations;
	m->annotations = (void *)p->config->annotations;
	m->runtime_handler = p->rec.handler;
	return m;
}

static char *info_text(json_t *info, const ProtobufCMessage *config)
{
	struct err e;
	AUTO_JSON json_t *j = info;
	json_t *c = pbjson_write(config, 0, &e);
	if (c)
		json_object_set_new(j, "config", c);
	char *text = json_dumps(j, JSON_COMPACT);
	return text ? text : xstrdup("{}");
}

char *status_ctr_info(const struct ctr *c)
{
	const struct ctr_record *r = &c->rec;
	return info_text(json_pack("{s:s s:I s:I s:s s:s s:s s:s s:s s:s s:s}", "sandboxID",
				   r->pod_id, "pid", (json_int_t)r->pid, "monitor",
				   (json_int_t)r->monitor, "state", ctr_state_name(c->state),
				   "runtimeHandler", r->handler, "runtime", r->runtime,
				   "runtimeRoot", r->runtime_root, "cgroupPath", r->cgroup_path,
				   "origin", r->origin, "damage", c->damage ? c->damage : ""),
			 &c->config->base);
}

char *status_pod_info(const struct pod *p)
{
	const struct pod_record *r = &p->rec;
	return info_text(json_pack("{s:s s:s s:s s:s s:s s:s s:s s:s}", "state", r->state, "reason",
				   r->reason, "runtimeHandler", r->handler, "netns", r->netns,
				   "networkMode", r->network_mode, "cgroupParent", r->cgroup_parent,
				   "origin", r->origin, "damage", p->damage ? p->damage : ""),
			 &p->config->base);
}
