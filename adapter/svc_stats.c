/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "proc.h"
#include "svc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Usage from the cgroup that the container's first process is in, whichever driver and version made
 * it; a few small reads, nothing is started. */

enum { FILE_MAX = 16 << 10, SAMPLE_MIN_NS = 100 * 1000 * 1000 };

struct cgroup {
	bool v2;
	char cpu[PATH_MAX], memory[PATH_MAX]; /* directories; "" = none */
};

static bool read_file(const char *dir, const char *name, struct buf *b)
{
	struct err ignored;
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
	return n > 0 && (size_t)n < sizeof path && fs_read_at(AT_FDCWD, path, b, &ignored) == 0 &&
	       b->data;
}

static bool has_controller(const char *list, size_t len, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = list; at < list + len;) {
		size_t k = strcspn(at, ",:");
		if (k == n && memcmp(at, name, n) == 0)
			return true;
		at += k + 1;
	}
	return false;
}

/* One line of /proc/PID/cgroup: "4:cpu,cpuacct:/path". */
static void take_line(struct cgroup *g, const char *line)
{
	const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
	if (!path || strstr(path, "/.."))
		return;
	size_t len = (size_t)(path - ++list);
	int n = 0;
	if (g->v2 && len == 0) {
		n = snprintf(g->cpu, sizeof g->cpu, "/sys/fs/cgroup%s", path + 1);
		memcpy(g->memory, g->cpu, sizeof g->memory);
	} else if (has_controller(list, len, "cpuacct")) {
		n = snprintf(g->cpu, sizeof g->cpu, "/sys/fs/cgroup/cpuacct%s", path + 1);
	} else if (has_controller(list, len, "memory")) {
		n = snprintf(g->memory, sizeof g->memory, "/sys/fs/cgroup/memory%s", path + 1);
	}
	if (n >= PATH_MAX)
		g->cpu[0] = g->memory[0] = '\0';
}

static bool find_cgroup(const struct ctr *c, struct cgroup *g)
{
	char path[64];
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	memset(g, 0, sizeof *g);
	if (c->rec.pid <= 0 ||
	    proc_start_time((pid_t)c->rec.pid) != (unsigned long long)c->rec.pid_start)
		return false;
	g->v2 = faccessat(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", F_OK, 0) == 0;
	snprintf(path, sizeof path, "/proc/%lld/cgroup", (long long)c->rec.pid);
	if (!read_file(path, "", &b))
		return false;
	for (char *line = b.data, *end; *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		take_line(g, line);
	}
	return true;
}

static bool read_number(const char *dir, const char *name, uint64_t *out)
{
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	char *end;
	if (!*dir || !read_file(dir, name, &b))
		return false;
	errno = 0;
	*out = strtoull(b.data, &end, 10);
	return errno == 0 && end != b.data; /* "max" is no number */
}

/* The value of `key` in a file of "key value" lines; 0 when there is none. */
static uint64_t field(const struct buf *b, const char *key)
{
	size_t n = strlen(key);
	for (const char *line = b->data; line && *line;) {
		if (strncmp(line, key, n) == 0 && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return 0;
}

static Runtime__V1__UInt64Value *value(struct arena *a, uint64_t n)
{
	Runtime__V1__UInt64Value *v =
		NEW_MSG(a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
	v->value = n;
	return v;
}

/* The rate since the last look, kept when the looks follow each other too closely. */
static uint64_t cpu_rate(struct ctr *c, uint64_t used, int64_t now)
{
	int64_t passed = now - c->cpu_at;
	if (c->cpu_at && passed < SAMPLE_MIN_NS)
		return c->cpu_rate;
	if (c->cpu_at && used >= c->cpu_ns)
		c->cpu_rate = (uint64_t)((double)(used - c->cpu_ns) * 1e9 / (double)passed);
	c->cpu_ns = used;
	c->cpu_at = now;
	return c->cpu_rate;
}

static void add_cpu(struct ctr *c, const struct cgroup *g, Runtime__V1__ContainerStats *m,
		    struct arena *a)
{
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	uint64_t used = 0;
	if (g->v2 && *g->cpu && read_file(g->cpu, "cpu.stat", &b))
		used = 1000 * field(&b, "usage_usec");
	else if (g->v2 || !read_number(g->cpu, "cpuacct.usage", &used))
		return;
	m->cpu = NEW_MSG(a, Runtime__V1__CpuUsage, runtime__v1__cpu_usage);
	m->cpu->timestamp = record_now_ns();
	m->cpu->usage_core_nano_seconds = value(a, used);
	m->cpu->usage_nano_cores = value(a, cpu_rate(c, used, m->cpu->timestamp));
}

static void add_memory(const struct cgroup *g, Runtime__V1__ContainerStats *m, struct arena *a)
{
	const uint64_t no_limit = 1ULL << 62;
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	uint64_t used, limit;
	if (!read_number(g->memory, g->v2 ? "memory.current" : "memory.usage_in_bytes", &used) ||
	    !read_file(g->memory, "memory.stat", &b))
		return;
	uint64_t idle = field(&b, g->v2 ? "inactive_file" : "total_inactive_file");
	uint64_t set = used > idle ? used - idle : 0;
	m->memory = NEW_MSG(a, Runtime__V1__MemoryUsage, runtime__v1__memory_usage);
	m->memory->timestamp = record_now_ns();
	m->memory->usage_bytes = value(a, used);
	m->memory->working_set_bytes = value(a, set);
	m->memory->rss_bytes = value(a, field(&b, g->v2 ? "anon" : "total_rss"));
	m->memory->page_faults = value(a, field(&b, g->v2 ? "pgfault" : "total_pgfault"));
	m->memory->major_page_faults =
		value(a, field(&b, g->v2 ? "pgmajfault" : "total_pgmajfault"));
	if (read_number(g->memory, g->v2 ? "memory.max" : "memory.limit_in_bytes", &limit) &&
	    limit < no_limit)
		m->memory->available_bytes = value(a, limit > set ? limit - set : 0);
}

Runtime__V1__ContainerStats *stats_ctr(struct crispd *d, struct ctr *c, struct arena *a)
{
	struct cgroup g;
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
	m->writable_layer = NEW_MSG(a, Runtime__V1__FilesystemUsage, runtime__v1__filesystem_usage);
	m->writable_layer->timestamp = record_now_ns();
	m->writable_layer->fs_id =
		NEW_MSG(a, Runtime__V1__FilesystemIdentifier, runtime__v1__filesystem_identifier);
	m->writable_layer->fs_id->mountpoint = arena_printf(a, "%s/containers", d->cfg.root);
	if (c->state == CTR_RUNNING && find_cgroup(c, &g)) {
		add_cpu(c, &g, m, a);
		add_memory(&g, m, a);
	}
	return m;
}
