/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"
#include "lister.h"
#include "packed.h"
#include "proc.h"
#include "services.h"
#include "svc.h"
#include "usage.h"

#include <stdio.h>
#include <string.h>

/* Usage from the cgroup that the container's first process is in, whichever driver and version made
 * it; a few small reads, nothing is started. A pod's is that of the group above its containers'. */

enum { SAMPLE_MIN_NS = 100 * 1000 * 1000, INTERFACES_MAX = 64 };

struct usage_dirs *stats_ctr_dirs(struct ctr *c)
{
	if (!c->dirs.known && c->rec.pid > 0 &&
	    proc_start_time((pid_t)c->rec.pid) == (unsigned long long)c->rec.pid_start)
		usage_dirs_of(&c->dirs, (pid_t)c->rec.pid, c->o.id);
	return &c->dirs;
}

static bool runs_in(const struct ctr *c, const struct pod *p)
{
	return c->state == CTR_RUNNING && strcmp(c->rec.pod_id, p->o.id) == 0;
}

struct usage_dirs *stats_pod_dirs(const struct crispd *d, struct pod *p)
{
	for (size_t i = 0; !p->dirs.known && i < index_n_ctrs(d->index); i++)
		if (runs_in(index_ctr_at(d->index, i), p))
			usage_dirs_above(&p->dirs, stats_ctr_dirs(index_ctr_at(d->index, i)));
	return &p->dirs;
}

static Runtime__V1__UInt64Value *value(struct arena *a, uint64_t n)
{
	Runtime__V1__UInt64Value *v =
		NEW_MSG(a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
	v->value = n;
	return v;
}

/* The rate since the last look (the first: since the start), kept when the looks follow each other
 * too closely. */
static uint64_t cpu_rate(struct cpu_sample *s, uint64_t used, int64_t started, int64_t now)
{
	if (!s->at) {
		s->at = started;
		s->ns = 0;
	}
	int64_t passed = now - s->at;
	if (!s->at || passed < 0) {
		*s = (struct cpu_sample){.ns = used, .at = now, .rate = s->rate};
		return s->rate;
	}
	if (passed < SAMPLE_MIN_NS)
		return s->rate;
	if (used >= s->ns)
		s->rate = (uint64_t)((double)(used - s->ns) * 1e9 / (double)passed);
	s->ns = used;
	s->at = now;
	return s->rate;
}

static Runtime__V1__PsiData *psi_data(const struct usage_psi *p, struct arena *a)
{
	Runtime__V1__PsiData *m = NEW_MSG(a, Runtime__V1__PsiData, runtime__v1__psi_data);
	m->total = 1000 * p->total_us;
	m->avg10 = p->avg10;
	m->avg60 = p->avg60;
	m->avg300 = p->avg300;
	return m;
}

static Runtime__V1__PsiStats *psi(const struct usage_pressure *p, struct arena *a)
{
	if (!p->known)
		return NULL;
	Runtime__V1__PsiStats *m = NEW_MSG(a, Runtime__V1__PsiStats, runtime__v1__psi_stats);
	m->some = psi_data(&p->some, a);
	m->full = psi_data(&p->full, a);
	return m;
}

static Runtime__V1__CpuUsage *cpu_of(const struct usage *u, struct cpu_sample *s, int64_t started,
				     struct arena *a)
{
	if (!u->has_cpu)
		return NULL;
	Runtime__V1__CpuUsage *m = NEW_MSG(a, Runtime__V1__CpuUsage, runtime__v1__cpu_usage);
	m->timestamp = record_now_ns();
	m->usage_core_nano_seconds = value(a, u->cpu_ns);
	m->usage_nano_cores = value(a, cpu_rate(s, u->cpu_ns, started, m->timestamp));
	m->psi = psi(&u->cpu_pressure, a);
	return m;
}

static Runtime__V1__MemoryUsage *memory_of(const struct usage *u, struct arena *a)
{
	if (!u->has_memory)
		return NULL;
	Runtime__V1__MemoryUsage *m =
		NEW_MSG(a, Runtime__V1__MemoryUsage, runtime__v1__memory_usage);
	m->timestamp = record_now_ns();
	m->usage_bytes = value(a, u->memory);
	m->working_set_bytes = value(a, u->working_set);
	m->rss_bytes = value(a, u->rss);
	m->page_faults = value(a, u->faults);
	m->major_page_faults = value(a, u->major_faults);
	if (u->memory_limit != USAGE_NO_LIMIT)
		m->available_bytes = value(
			a, u->memory_limit > u->working_set ? u->memory_limit - u->working_set : 0);
	m->psi = psi(&u->memory_pressure, a);
	return m;
}

static Runtime__V1__SwapUsage *swap_of(const struct usage *u, struct arena *a)
{
	if (!u->has_memory)
		return NULL;
	Runtime__V1__SwapUsage *m = NEW_MSG(a, Runtime__V1__SwapUsage, runtime__v1__swap_usage);
	m->timestamp = record_now_ns();
	m->swap_usage_bytes = value(a, u->swap);
	if (u->swap_limit != USAGE_NO_LIMIT)
		m->swap_available_bytes =
			value(a, u->swap_limit > u->swap ? u->swap_limit - u->swap : 0);
	return m;
}

static Runtime__V1__IoUsage *io_of(const struct usage *u, struct arena *a)
{
	if (!u->io_pressure.known)
		return NULL;
	Runtime__V1__IoUsage *m = NEW_MSG(a, Runtime__V1__IoUsage, runtime__v1__io_usage);
	m->timestamp = record_now_ns();
	m->psi = psi(&u->io_pressure, a);
	return m;
}

/* As the last walk found it; nothing is known before the first. */
static Runtime__V1__FilesystemUsage *layer_of(const struct crispd *d, const struct ctr *c,
					      struct arena *a)
{
	Runtime__V1__FilesystemUsage *m =
		NEW_MSG(a, Runtime__V1__FilesystemUsage, runtime__v1__filesystem_usage);
	m->timestamp = c->disk_at ? c->disk_at : record_now_ns();
	m->fs_id =
		NEW_MSG(a, Runtime__V1__FilesystemIdentifier, runtime__v1__filesystem_identifier);
	m->fs_id->mountpoint = arena_printf(a, "%s/containers", d->cfg.root);
	if (c->disk_at) {
		m->used_bytes = value(a, c->disk_bytes);
		m->inodes_used = value(a, c->disk_inodes);
	}
	return m;
}

Runtime__V1__ContainerStats *stats_ctr(struct crispd *d, struct ctr *c, struct arena *a)
{
	struct usage u;
	Runtime__V1__ContainerStats *m =
		NEW_MSG(a, Runtime__V1__ContainerStats, runtime__v1__container_stats);
	Runtime__V1__ContainerAttributes *at =
		NEW_MSG(a, Runtime__V1__ContainerAttributes, runtime__v1__container_attributes);
	m->attributes = at;
	at->id = c->o.id;
	at->metadata = c->config->metadata;
	at->n_labels = c->config->n_labels;
	at->labels = (void *)c->config->labels;
	at->n_annotations = c->config->n_annotations;
	at->annotations = (void *)c->config->annotations;
	m->writable_layer = layer_of(d, c, a);
	if (c->state != CTR_RUNNING)
		return m;
	usage_read(stats_ctr_dirs(c), USAGE_BASIC, &u);
	m->cpu = cpu_of(&u, &c->cpu, c->rec.started_at, a);
	m->memory = memory_of(&u, a);
	m->swap = swap_of(&u, a);
	m->io = io_of(&u, a);
	return m;
}

size_t stats_interfaces(const struct crispd *d, const struct pod *p, struct usage_interface *list,
			size_t max)
{
	if (!*p->rec.netns)
		return 0;
	for (size_t i = 0; i < index_n_ctrs(d->index); i++) {
		const struct ctr *c = index_ctr_at(d->index, i);
		if (!runs_in(c, p))
			continue;
		size_t n = usage_interfaces((pid_t)c->rec.pid, list, max);
		/* Looked at afterwards: then it was this process until now. */
		if (proc_start_time((pid_t)c->rec.pid) == (unsigned long long)c->rec.pid_start)
			return n;
	}
	return 0;
}

static void fill_interface(Runtime__V1__NetworkInterfaceUsage *m, const struct usage_interface *i,
			   struct arena *a)
{
	m->name = arena_strdup(a, i->name);
	m->rx_bytes = value(a, i->rx_bytes);
	m->rx_errors = value(a, i->rx_errors);
	m->tx_bytes = value(a, i->tx_bytes);
	m->tx_errors = value(a, i->tx_errors);
}

/* Seen by a process in the pod's network; the first interface is the one that CNI gave first. */
static Runtime__V1__NetworkUsage *network_of(const struct crispd *d, const struct pod *p,
					     struct arena *a)
{
	struct usage_interface list[INTERFACES_MAX];
	size_t n = stats_interfaces(d, p, list, INTERFACES_MAX), first = 0;
	if (!n)
		return NULL;
	Runtime__V1__NetworkUsage *m =
		NEW_MSG(a, Runtime__V1__NetworkUsage, runtime__v1__network_usage);
	m->timestamp = record_now_ns();
	m->interfaces = arena_alloc(a, n * sizeof(Runtime__V1__NetworkInterfaceUsage *));
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, "eth0") == 0)
			first = i;
	for (size_t i = 0; i < n; i++) {
		Runtime__V1__NetworkInterfaceUsage *one =
			NEW_MSG(a, Runtime__V1__NetworkInterfaceUsage,
				runtime__v1__network_interface_usage);
		fill_interface(one, &list[i], a);
		if (i == first)
			m->default_interface = one;
		else
			m->interfaces[m->n_interfaces++] = one;
	}
	return m;
}

/* The containers that run, and how many processes there are in them. */
static uint64_t add_ctrs(struct crispd *d, const struct pod *p,
			 Runtime__V1__LinuxPodSandboxStats *l, struct arena *a)
{
	size_t all = index_n_ctrs(d->index);
	uint64_t processes = 0;
	l->containers = arena_alloc(a, (all + 1) * sizeof(Runtime__V1__ContainerStats *));
	for (size_t i = 0; i < all; i++) {
		struct ctr *c = index_ctr_at(d->index, i);
		if (!ctr_visible(c) || !runs_in(c, p))
			continue;
		l->containers[l->n_containers++] = stats_ctr(d, c, a);
		processes += usage_processes(stats_ctr_dirs(c), NULL, 0);
	}
	return processes;
}

Runtime__V1__PodSandboxStats *stats_pod(struct crispd *d, struct pod *p, struct arena *a)
{
	struct usage u;
	Runtime__V1__PodSandboxStats *m =
		NEW_MSG(a, Runtime__V1__PodSandboxStats, runtime__v1__pod_sandbox_stats);
	Runtime__V1__PodSandboxAttributes *at =
		NEW_MSG(a, Runtime__V1__PodSandboxAttributes, runtime__v1__pod_sandbox_attributes);
	Runtime__V1__LinuxPodSandboxStats *l =
		NEW_MSG(a, Runtime__V1__LinuxPodSandboxStats, runtime__v1__linux_pod_sandbox_stats);
	m->attributes = at;
	at->id = p->o.id;
	at->metadata = p->config->metadata;
	at->n_labels = p->config->n_labels;
	at->labels = (void *)p->config->labels;
	at->n_annotations = p->config->n_annotations;
	at->annotations = (void *)p->config->annotations;
	m->linux = l;
	if (!pod_ready(p))
		return m;
	usage_read(stats_pod_dirs(d, p), USAGE_BASIC, &u);
	l->cpu = cpu_of(&u, &p->cpu, p->rec.created_at, a);
	l->memory = memory_of(&u, a);
	l->io = io_of(&u, a);
	l->network = network_of(d, p, a);
	l->process = NEW_MSG(a, Runtime__V1__ProcessUsage, runtime__v1__process_usage);
	l->process->timestamp = record_now_ns();
	l->process->process_count = value(a, add_ctrs(d, p, l, a));
	return m;
}

/* ---- the requests ---- */

static bool stats_match(const struct ctr *c, const Runtime__V1__ContainerStatsFilter *f)
{
	if (!ctr_visible(c) || c->state != CTR_RUNNING)
		return false;
	if (!f)
		return true;
	if (*f->id && strncmp(c->o.id, f->id, strlen(f->id)) != 0)
		return false;
	if (*f->pod_sandbox_id &&
	    strncmp(c->rec.pod_id, f->pod_sandbox_id, strlen(f->pod_sandbox_id)) != 0)
		return false;
	return svc_labels_match(f->n_label_selector, (void **)f->label_selector,
				c->config->n_labels, (void **)c->config->labels);
}

void svc_list_container_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ListContainerStatsRequest *r = (const void *)request;
	Runtime__V1__ListContainerStatsResponse reply =
		RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	AUTO_ARENA struct arena a = {0};
	disk_wanted(d->disk);
	reply.stats = arena_alloc(&a, (index_n_ctrs(d->index) + 1) *
					      sizeof(Runtime__V1__ContainerStats *));
	for (size_t i = 0; i < index_n_ctrs(d->index); i++) {
		struct ctr *k = index_ctr_at(d->index, i);
		if (stats_match(k, r->filter))
			reply.stats[reply.n_stats++] = stats_ctr(d, k, &a);
	}
	call_reply(c, &reply.base);
}

static uint8_t *stats_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct ctr *k = index_ctr(d->index, id);
	return k ? packed_in(&stats_ctr(d, k, a)->base, a, len) : NULL;
}

void svc_stream_container_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StreamContainerStatsRequest *r = (const void *)request;
	const struct index *ix = call_daemon(c)->index;
	struct lister *l = lister_new(c, stats_element, index_n_ctrs(ix));
	disk_wanted(call_daemon(c)->disk);
	for (size_t i = 0; i < index_n_ctrs(ix); i++)
		if (stats_match(index_ctr_at(ix, i), r->filter))
			lister_add(l, index_ctr_at(ix, i)->o.id);
	lister_send(l);
}

void svc_container_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ContainerStatsRequest *r = (const void *)request;
	Runtime__V1__ContainerStatsResponse reply = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
	struct ctr *k = svc_need_ctr(c, r->container_id);
	AUTO_ARENA struct arena a = {0};
	if (!k)
		return;
	disk_wanted(call_daemon(c)->disk);
	reply.stats = stats_ctr(call_daemon(c), k, &a);
	call_reply(c, &reply.base);
}

static bool pod_stats_match(const struct pod *p, const Runtime__V1__PodSandboxStatsFilter *f)
{
	if (!pod_visible(p) || !pod_ready(p))
		return false;
	if (!f)
		return true;
	if (*f->id && strncmp(p->o.id, f->id, strlen(f->id)) != 0)
		return false;
	return svc_labels_match(f->n_label_selector, (void **)f->label_selector,
				p->config->n_labels, (void **)p->config->labels);
}

void svc_list_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ListPodSandboxStatsRequest *r = (const void *)request;
	Runtime__V1__ListPodSandboxStatsResponse reply =
		RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	AUTO_ARENA struct arena a = {0};
	disk_wanted(d->disk);
	reply.stats = arena_alloc(&a, (index_n_pods(d->index) + 1) *
					      sizeof(Runtime__V1__PodSandboxStats *));
	for (size_t i = 0; i < index_n_pods(d->index); i++) {
		struct pod *p = index_pod_at(d->index, i);
		if (pod_stats_match(p, r->filter))
			reply.stats[reply.n_stats++] = stats_pod(d, p, &a);
	}
	call_reply(c, &reply.base);
}

static uint8_t *pod_stats_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct pod *p = index_pod(d->index, id);
	return p ? packed_in(&stats_pod(d, p, a)->base, a, len) : NULL;
}

void svc_stream_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StreamPodSandboxStatsRequest *r = (const void *)request;
	const struct index *ix = call_daemon(c)->index;
	struct lister *l = lister_new(c, pod_stats_element, index_n_pods(ix));
	disk_wanted(call_daemon(c)->disk);
	for (size_t i = 0; i < index_n_pods(ix); i++)
		if (pod_stats_match(index_pod_at(ix, i), r->filter))
			lister_add(l, index_pod_at(ix, i)->o.id);
	lister_send(l);
}

void svc_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__PodSandboxStatsRequest *r = (const void *)request;
	Runtime__V1__PodSandboxStatsResponse reply = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	AUTO_ARENA struct arena a = {0};
	if (!p)
		return;
	disk_wanted(call_daemon(c)->disk);
	reply.stats = stats_pod(call_daemon(c), p, &a);
	call_reply(c, &reply.base);
}
