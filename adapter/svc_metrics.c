/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "disk.h"
#include "fs.h"
#include "lister.h"
#include "metrics_names.h"
#include "packed.h"
#include "services.h"
#include "svc.h"
#include "usage.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* Of every pod and every container that runs. Pods have what their cgroup tells and the network. */

enum { BASE = 6, EXTRA_MAX = 4, DEVICES_MAX = 32, INTERFACES_MAX = 64, PIDS_MAX = 512 };
enum { FDS_MAX = 16384, LIMITS_MAX = 8192 };

enum label_set { NONE, CPU, DEVICE, BLKIO, FAILURE, INTERFACE, ULIMIT };

static const char *const base_labels[BASE] = {"container", "id",        "image",
					      "name",      "namespace", "pod"};
static const char *const extra_labels[][EXTRA_MAX + 1] = {
	[NONE] = {NULL},
	[CPU] = {"cpu", NULL},
	[DEVICE] = {"device", NULL},
	[BLKIO] = {"device", "major", "minor", "operation", NULL},
	[FAILURE] = {"failure_type", "scope", NULL},
	[INTERFACE] = {"interface", NULL},
	[ULIMIT] = {"ulimit", NULL},
};

#define ID(id, name, type, labels, help) M_##id,
enum metric { METRICS(ID) METRIC_COUNT };
#define DEF(id, name, type, labels, help) \
	{"container_" name, help, RUNTIME__V1__METRIC_TYPE__##type, labels},
static const struct {
	const char *name, *help;
	Runtime__V1__MetricType type;
	enum label_set labels;
} defs[METRIC_COUNT] = {METRICS(DEF)};

/* Metrics of one object, as they are added. */
struct sink {
	struct arena *a;
	char *base[BASE + EXTRA_MAX];
	Runtime__V1__Metric **list;
	size_t n, cap;
};

/* What is the same for all containers, looked at once. */
struct host {
	struct statvfs fs;
	bool has_fs;
	char device[64];
};

static size_t n_extra(enum label_set l)
{
	size_t n = 0;
	while (extra_labels[l][n])
		n++;
	return n;
}

/* The value may be NULL: it is known that there is one. Labels of the metric's own follow. */
static void put(struct sink *s, enum metric m, const uint64_t *value, char *const *extra)
{
	size_t n = n_extra(defs[m].labels);
	if (s->n == s->cap) {
		Runtime__V1__Metric **old = s->list;
		s->cap = s->cap ? 2 * s->cap : 96;
		s->list = arena_alloc(s->a, s->cap * sizeof(Runtime__V1__Metric *));
		if (old)
			memcpy(s->list, old, s->n * sizeof(Runtime__V1__Metric *));
	}
	Runtime__V1__Metric *one = NEW_MSG(s->a, Runtime__V1__Metric, runtime__v1__metric);
	one->name = (char *)defs[m].name;
	one->metric_type = defs[m].type;
	one->n_label_values = BASE + (extra ? n : 0);
	one->label_values = s->base;
	if (n && extra) {
		one->label_values = arena_alloc(s->a, (BASE + n) * sizeof(char *));
		memcpy(one->label_values, s->base, BASE * sizeof(char *));
		memcpy(one->label_values + BASE, extra, n * sizeof(char *));
	}
	if (value) {
		one->value = NEW_MSG(s->a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
		one->value->value = *value;
	}
	s->list[s->n++] = one;
}

static void add(struct sink *s, enum metric m, uint64_t value)
{
	value = value == USAGE_NO_LIMIT ? 0 : value;
	put(s, m, &value, NULL);
}

static void add_with(struct sink *s, enum metric m, uint64_t value, const char *label)
{
	put(s, m, &value, (char *[]){(char *)label});
}

static void add_seconds(struct sink *s, enum metric m, uint64_t ns)
{
	add(s, m, ns / 1000000000);
}

static void add_cpu(struct sink *s, const struct usage *u)
{
	if (!u->has_cpu)
		return;
	add_with(s, M_CPU_USAGE, u->cpu_ns / 1000000000, "total");
	add_seconds(s, M_CPU_USER, u->user_ns);
	add_seconds(s, M_CPU_SYSTEM, u->system_ns);
	add(s, M_CFS_PERIODS, u->periods);
	add(s, M_CFS_THROTTLED, u->throttled);
	add_seconds(s, M_CFS_THROTTLED_S, u->throttled_ns);
	add(s, M_CPU_PERIOD, u->period_us);
	add(s, M_CPU_SHARES, u->shares);
	if (u->quota_us)
		add(s, M_CPU_QUOTA, u->quota_us);
}

static void add_failure(struct sink *s, const char *type, const char *scope, uint64_t n)
{
	put(s, M_FAILURES, &n, (char *[]){(char *)type, (char *)scope});
}

static void add_memory(struct sink *s, const struct usage *u)
{
	if (!u->has_memory)
		return;
	add(s, M_MEMORY, u->memory);
	add(s, M_WORKING_SET, u->working_set);
	add(s, M_RSS, u->rss);
	add(s, M_CACHE, u->cache);
	add(s, M_MAPPED, u->mapped);
	add(s, M_KERNEL, u->kernel);
	add(s, M_SWAP, u->swap);
	add(s, M_FAILCNT, u->memory_failures);
	add(s, M_OOM, u->oom_kills);
	if (u->memory_peak)
		add(s, M_PEAK, u->memory_peak);
	add(s, M_MEMORY_LIMIT, u->memory_limit);
	add(s, M_SWAP_LIMIT, u->memswap_limit);
	add(s, M_RESERVATION, u->reservation);
	add_failure(s, "pgfault", "container", u->own_faults);
	add_failure(s, "pgmajfault", "container", u->own_major_faults);
	add_failure(s, "pgfault", "hierarchy", u->faults);
	add_failure(s, "pgmajfault", "hierarchy", u->major_faults);
}

static void add_pressure(struct sink *s, const struct usage *u)
{
	const struct usage_pressure *const of[] = {&u->cpu_pressure, &u->io_pressure,
						   &u->memory_pressure};
	static const enum metric full[] = {M_PSI_CPU_FULL, M_PSI_IO_FULL, M_PSI_MEMORY_FULL};
	static const enum metric some[] = {M_PSI_CPU_SOME, M_PSI_IO_SOME, M_PSI_MEMORY_SOME};
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		if (!of[i]->known)
			continue;
		add_seconds(s, full[i], 1000 * of[i]->full.total_us);
		add_seconds(s, some[i], 1000 * of[i]->some.total_us);
	}
}

/* "/dev/sda", or the numbers of what has no such name. */
static void device_name(unsigned major, unsigned minor, char out[64])
{
	char path[64], target[256];
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major, minor);
	ssize_t n = readlink(path, target, sizeof target - 1);
	target[n > 0 ? n : 0] = '\0';
	const char *slash = strrchr(target, '/');
	if (slash)
		snprintf(out, 64, "/dev/%.50s", slash + 1);
	else
		snprintf(out, 64, "%u:%u", major, minor);
}

static void add_io(struct sink *s, const struct usage_dirs *dirs)
{
	struct usage_io io[DEVICES_MAX];
	size_t n = usage_io_read(dirs, io, DEVICES_MAX);
	for (size_t i = 0; i < n; i++) {
		char name[64];
		device_name(io[i].major, io[i].minor, name);
		char *device = arena_strdup(s->a, name);
		add_with(s, M_FS_READ_BYTES, io[i].read_bytes, device);
		add_with(s, M_FS_WRITE_BYTES, io[i].write_bytes, device);
		add_with(s, M_FS_READS, io[i].reads, device);
		add_with(s, M_FS_WRITES, io[i].writes, device);
		char *labels[] = {device, arena_printf(s->a, "%u", io[i].major),
				  arena_printf(s->a, "%u", io[i].minor), (char *)"Read"};
		put(s, M_BLKIO, &io[i].read_bytes, labels);
		labels[3] = (char *)"Write";
		put(s, M_BLKIO, &io[i].write_bytes, labels);
	}
}

static void add_group(struct sink *s, struct usage_dirs *dirs)
{
	struct usage u;
	usage_read(dirs, USAGE_ALL, &u);
	add_cpu(s, &u);
	add_memory(s, &u);
	add_pressure(s, &u);
	add_io(s, dirs);
	if (!u.has_tasks)
		return;
	add(s, M_THREADS, u.tasks);
	add(s, M_THREADS_MAX, u.tasks_max);
}

static void count_descriptors(pid_t pid, uint64_t *all, uint64_t *sockets)
{
	char path[32], target[16];
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	AUTO_CLOSEDIR DIR *d = opendir(path);
	const struct dirent *de;
	while (d && *all < FDS_MAX && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		++*all;
		ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof target);
		*sockets += n > 7 && memcmp(target, "socket:", 7) == 0;
	}
}

/* The soft limit in a line of /proc/PID/limits; false when there is none. */
static bool soft_limit(pid_t pid, const char *what, uint64_t *out)
{
	struct err ignored;
	char path[32];
	AUTO_BUF struct buf b = BUF_INIT(LIMITS_MAX);
	snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
	if (fs_read_at(AT_FDCWD, path, &b, &ignored) < 0 || !b.data)
		return false;
	const char *line = strstr(b.data, what);
	const char *at = line ? line + strlen(what) + strspn(line + strlen(what), " ") : "";
	*out = strtoull(at, NULL, 10);
	return *at >= '0' && *at <= '9';
}

static void add_processes(struct sink *s, struct ctr *c)
{
	pid_t pids[PIDS_MAX];
	size_t n = usage_processes(stats_ctr_dirs(c), pids, PIDS_MAX);
	uint64_t fds = 0, sockets = 0, limit;
	for (size_t i = 0; i < n && i < PIDS_MAX; i++)
		count_descriptors(pids[i], &fds, &sockets);
	add(s, M_PROCESSES, n);
	add(s, M_FDS, fds);
	add(s, M_SOCKETS, sockets);
	if (soft_limit((pid_t)c->rec.pid, "Max open files", &limit))
		add_with(s, M_ULIMITS, limit, "max_open_files");
}

static void add_filesystem(struct sink *s, const struct host *h, const struct ctr *c)
{
	char *device = arena_strdup(s->a, h->device);
	put(s, M_FS_USAGE, c->disk_at ? &c->disk_bytes : NULL, (char *[]){device});
	if (!h->has_fs)
		return;
	add_with(s, M_FS_LIMIT, (uint64_t)h->fs.f_blocks * h->fs.f_frsize, device);
	add_with(s, M_INODES_TOTAL, h->fs.f_files, device);
	add_with(s, M_INODES_FREE, h->fs.f_ffree, device);
}

static void add_network(struct sink *s, const struct crispd *d, const struct pod *p)
{
	struct usage_interface list[INTERFACES_MAX];
	size_t n = stats_interfaces(d, p, list, INTERFACES_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct usage_interface *f = &list[i];
		char *name = arena_strdup(s->a, f->name);
		add_with(s, M_RX_BYTES, f->rx_bytes, name);
		add_with(s, M_RX_PACKETS, f->rx_packets, name);
		add_with(s, M_RX_ERRORS, f->rx_errors, name);
		add_with(s, M_RX_DROPPED, f->rx_dropped, name);
		add_with(s, M_TX_BYTES, f->tx_bytes, name);
		add_with(s, M_TX_PACKETS, f->tx_packets, name);
		add_with(s, M_TX_ERRORS, f->tx_errors, name);
		add_with(s, M_TX_DROPPED, f->tx_dropped, name);
	}
}

static void add_times(struct sink *s, int64_t started)
{
	add_seconds(s, M_LAST_SEEN, (uint64_t)record_now_ns());
	add_seconds(s, M_START_TIME, (uint64_t)started);
}

/* The group's path, as /proc/PID/cgroup has it. */
static char *group_path(const struct usage_dirs *dirs, struct arena *a)
{
	static const char root[] = "/sys/fs/cgroup/";
	const char *dir = dirs->of[dirs->v2 ? USAGE_CPU : USAGE_MEMORY];
	const char *path = dir ? dir + sizeof root - 2 : "";
	if (dir && !dirs->v2)
		path = strchr(path + 1, '/');
	return arena_strdup(a, path ? path : "");
}

static Runtime__V1__ContainerMetrics *ctr_metrics(const struct host *h, struct ctr *c,
						  const struct pod *p, struct arena *a)
{
	const Runtime__V1__PodSandboxMetadata *meta = p->config->metadata;
	Runtime__V1__ContainerMetrics *m =
		NEW_MSG(a, Runtime__V1__ContainerMetrics, runtime__v1__container_metrics);
	struct sink *s = arena_alloc(a, sizeof *s);
	*s = (struct sink){.a = a,
			   .base = {c->config->metadata->name, group_path(stats_ctr_dirs(c), a),
				    c->rec.image, c->o.id, meta->namespace_, meta->name}};
	add_group(s, stats_ctr_dirs(c));
	add_processes(s, c);
	add_filesystem(s, h, c);
	add_times(s, c->rec.started_at);
	m->container_id = c->o.id;
	m->metrics = s->list;
	m->n_metrics = s->n;
	return m;
}

static Runtime__V1__PodSandboxMetrics *pod_metrics(struct crispd *d, const struct host *h,
						   struct pod *p, struct arena *a)
{
	const Runtime__V1__PodSandboxMetadata *meta = p->config->metadata;
	size_t all = index_n_ctrs(d->index);
	Runtime__V1__PodSandboxMetrics *m =
		NEW_MSG(a, Runtime__V1__PodSandboxMetrics, runtime__v1__pod_sandbox_metrics);
	struct sink *s = arena_alloc(a, sizeof *s);
	*s = (struct sink){.a = a,
			   .base = {(char *)"", group_path(stats_pod_dirs(d, p), a), (char *)"",
				    p->o.id, meta->namespace_, meta->name}};
	add_group(s, stats_pod_dirs(d, p));
	add_network(s, d, p);
	add_times(s, p->rec.created_at);
	m->pod_sandbox_id = p->o.id;
	m->metrics = s->list;
	m->n_metrics = s->n;
	m->container_metrics = arena_alloc(a, (all + 1) * sizeof(Runtime__V1__ContainerMetrics *));
	for (size_t i = 0; i < all; i++) {
		struct ctr *c = index_ctr_at(d->index, i);
		if (ctr_visible(c) && c->state == CTR_RUNNING &&
		    strcmp(c->rec.pod_id, p->o.id) == 0)
			m->container_metrics[m->n_container_metrics++] = ctr_metrics(h, c, p, a);
	}
	return m;
}

static void look_at_host(const struct crispd *d, struct host *h)
{
	struct stat st = {.st_dev = 0};
	AUTO_FREE char *path = xasprintf("%s/containers", d->cfg.root);
	h->has_fs = statvfs(path, &h->fs) == 0 && stat(path, &st) == 0;
	device_name(major(st.st_dev), minor(st.st_dev), h->device);
}

static bool is_measured(const struct pod *p)
{
	return pod_visible(p) && pod_ready(p);
}

void svc_list_pod_sandbox_metrics(struct call *c, const ProtobufCMessage *request)
{
	Runtime__V1__ListPodSandboxMetricsResponse reply =
		RUNTIME__V1__LIST_POD_SANDBOX_METRICS_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	size_t all = index_n_pods(d->index);
	struct host h;
	AUTO_ARENA struct arena a = {0};
	(void)request;
	disk_wanted(d->disk);
	look_at_host(d, &h);
	reply.pod_metrics = arena_alloc(&a, (all + 1) * sizeof(Runtime__V1__PodSandboxMetrics *));
	for (size_t i = 0; i < all; i++) {
		struct pod *p = index_pod_at(d->index, i);
		if (is_measured(p))
			reply.pod_metrics[reply.n_pod_metrics++] = pod_metrics(d, &h, p, &a);
	}
	call_reply(c, &reply.base);
}

static uint8_t *metrics_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct host h;
	struct pod *p = index_pod(d->index, id);
	look_at_host(d, &h);
	return p ? packed_in(&pod_metrics(d, &h, p, a)->base, a, len) : NULL;
}

void svc_stream_pod_sandbox_metrics(struct call *c, const ProtobufCMessage *request)
{
	const struct index *ix = call_daemon(c)->index;
	struct lister *l = lister_new(c, metrics_element, index_n_pods(ix));
	(void)request;
	disk_wanted(call_daemon(c)->disk);
	for (size_t i = 0; i < index_n_pods(ix); i++)
		if (is_measured(index_pod_at(ix, i)))
			lister_add(l, index_pod_at(ix, i)->o.id);
	lister_send(l);
}

void svc_list_metric_descriptors(struct call *c, const ProtobufCMessage *request)
{
	Runtime__V1__ListMetricDescriptorsResponse reply =
		RUNTIME__V1__LIST_METRIC_DESCRIPTORS_RESPONSE__INIT;
	AUTO_ARENA struct arena a = {0};
	(void)request;
	reply.descriptors = arena_alloc(&a, METRIC_COUNT * sizeof(Runtime__V1__MetricDescriptor *));
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		size_t n = n_extra(defs[i].labels);
		Runtime__V1__MetricDescriptor *m =
			NEW_MSG(&a, Runtime__V1__MetricDescriptor, runtime__v1__metric_descriptor);
		m->name = (char *)defs[i].name;
		m->help = (char *)defs[i].help;
		m->n_label_keys = BASE + n;
		m->label_keys = arena_alloc(&a, (BASE + n) * sizeof(char *));
		for (size_t k = 0; k < BASE + n; k++)
			m->label_keys[k] =
				(char *)(k < BASE ? base_labels[k]
						  : extra_labels[defs[i].labels][k - BASE]);
		reply.descriptors[reply.n_descriptors++] = m;
	}
	call_reply(c, &reply.base);
}
