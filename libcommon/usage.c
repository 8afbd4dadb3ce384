/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include "auto.h"
#include "xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

/* crun with systemd puts the container, and the limits, into a group of its own within the scope. */
#define SCOPE ".scope"
#define INNER "/container"

enum { TEXT_MAX = 16 << 10, PATH_SIZE = 1024, DEPTH_MAX = 32 };

static const char *const controllers[USAGE_CONTROLLERS] = {"cpu", "cpuacct", "memory", "pids",
							   "blkio"};

/* ---- where a group is ---- */

static bool is_v2(void)
{
	return access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0;
}

static bool lists(const char *list, size_t len, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = list, *end = list + len; at < end;) {
		size_t k = strcspn(at, ",:");
		if (k == n && memcmp(at, name, n) == 0)
			return true;
		at += k + 1;
	}
	return false;
}

/* Up to the end of the container's own part of the path, which contains id; 0 when none does. */
static size_t length_with(const char *path, const char *id)
{
	const char *at = strstr(path, id);
	if (!at || !*id)
		return 0;
	at += strcspn(at, "/");
	const char *below = at + sizeof INNER - 1;
	if (at - path > (long)sizeof SCOPE &&
	    memcmp(at - sizeof SCOPE + 1, SCOPE, sizeof SCOPE - 1) == 0 &&
	    strncmp(at, INNER, sizeof INNER - 1) == 0 && (*below == '/' || *below == '\0'))
		at = below;
	return (size_t)(at - path);
}

static void set_dir(struct usage_dirs *d, enum usage_controller c, const char *path, size_t len)
{
	free(d->of[c]);
	d->of[c] = xasprintf(CGROUP_ROOT "%s%s%.*s", d->v2 ? "" : "/", d->v2 ? "" : controllers[c],
			     (int)len, path);
	d->known = true;
}

/* One line: "4:cpu,cpuacct:/path". */
static void take_line(struct usage_dirs *d, const char *line, const char *id)
{
	const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
	if (!path || strstr(path, "/..") || path[1] != '/')
		return;
	size_t list_len = (size_t)(path - ++list), len = length_with(++path, id);
	if (!len)
		return;
	if (d->v2 && list_len == 0)
		set_dir(d, USAGE_CPU, path, len);
	for (int c = 0; !d->v2 && c < USAGE_CONTROLLERS; c++)
		if (lists(list, list_len, controllers[c]))
			set_dir(d, (enum usage_controller)c, path, len);
}

void usage_dirs_parse(struct usage_dirs *d, const char *text, const char *id, bool v2)
{
	*d = (struct usage_dirs){.v2 = v2};
	while (*text) {
		size_t len = strcspn(text, "\n");
		AUTO_FREE char *line = xstrndup(text, len);
		take_line(d, line, id);
		text += len + (text[len] == '\n');
	}
}

static int open_text(const char *dir, const char *name)
{
	char path[PATH_SIZE];
	int n = dir ? snprintf(path, sizeof path, "%s/%s", dir, name) : -1;
	if (n < 0 || (size_t)n >= sizeof path)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* The first bytes of a file, whose text is made when it is read from the beginning. */
static bool read_fd(int fd, char text[TEXT_MAX])
{
	size_t len = 0;
	while (fd >= 0 && len < TEXT_MAX - 1) {
		ssize_t k = pread(fd, text + len, TEXT_MAX - 1 - len, (off_t)len);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return false;
		if (k == 0)
			break;
		len += (size_t)k;
	}
	text[len] = '\0';
	return fd >= 0;
}

static bool read_text(const char *dir, const char *name, char text[TEXT_MAX])
{
	AUTO_CLOSE int fd = open_text(dir, name);
	return read_fd(fd, text);
}

/* Half of what we may open is for others. */
static bool is_scarce(int fd)
{
	struct rlimit r;
	return getrlimit(RLIMIT_NOFILE, &r) < 0 || (rlim_t)fd >= r.rlim_cur / 2;
}

static bool read_hot(struct usage_dirs *d, enum usage_hot which, const char *dir, const char *name,
		     char text[TEXT_MAX])
{
	int *slot = &d->hot[which];
	if (*slot) {
		if (read_fd(*slot - 1, text))
			return true;
		/* The group went; there may be another of its name. */
		close(*slot - 1);
		*slot = 0;
	}
	int fd = open_text(dir, name);
	bool ok = read_fd(fd, text);
	if (ok && !is_scarce(fd))
		*slot = fd + 1;
	else if (fd >= 0)
		close(fd);
	return ok;
}

void usage_dirs_of(struct usage_dirs *d, pid_t pid, const char *id)
{
	char dir[32], text[TEXT_MAX];
	*d = (struct usage_dirs){.known = false};
	snprintf(dir, sizeof dir, "/proc/%d", (int)pid);
	if (read_text(dir, "cgroup", text))
		usage_dirs_parse(d, text, id, is_v2());
}

void usage_dirs_at(struct usage_dirs *d, const char *path)
{
	*d = (struct usage_dirs){.v2 = is_v2()};
	if (*path != '/' || !path[1] || strstr(path, "/.."))
		return;
	for (int c = 0; c < (d->v2 ? 1 : USAGE_CONTROLLERS); c++)
		set_dir(d, (enum usage_controller)c, path, strlen(path));
}

void usage_dirs_above(struct usage_dirs *d, const struct usage_dirs *below)
{
	*d = (struct usage_dirs){.v2 = below->v2};
	for (int c = 0; below->known && c < USAGE_CONTROLLERS; c++) {
		const char *dir = below->of[c];
		size_t root = strlen(CGROUP_ROOT) + (d->v2 ? 0 : 1 + strlen(controllers[c]));
		if (!dir || strlen(dir) <= root)
			continue;
		const char *end = strrchr(dir, '/'), *scope = strstr(dir, SCOPE INNER);
		if (scope && strcmp(scope, SCOPE INNER) == 0)
			end = memrchr(dir, '/', (size_t)(scope - dir));
		if ((size_t)(end - dir) > root)
			set_dir(d, (enum usage_controller)c, dir + root,
				(size_t)(end - dir) - root);
	}
}

void usage_dirs_release(struct usage_dirs *d)
{
	for (int c = 0; c < USAGE_CONTROLLERS; c++)
		free(d->of[c]);
	for (int i = 0; i < USAGE_HOT_FILES; i++)
		if (d->hot[i])
			close(d->hot[i] - 1);
	*d = (struct usage_dirs){.known = false};
}

/* ---- numbers ---- */

uint64_t usage_field(const char *text, const char *key)
{
	size_t n = strlen(key);
	while (text && *text) {
		if (strncmp(text, key, n) == 0 && text[n] == ' ')
			return strtoull(text + n + 1, NULL, 10);
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return 0;
}

/* "max" and what v1 writes for no limit are USAGE_NO_LIMIT. */
static bool parse_number(const char *text, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (strncmp(text, "max", 3) == 0 || *text == '-' || *out >= 1ULL << 62)
		*out = USAGE_NO_LIMIT;
	else if (end == text || errno)
		return false;
	return true;
}

static bool read_number(const char *dir, const char *name, uint64_t *out)
{
	char text[TEXT_MAX];
	return read_text(dir, name, text) && parse_number(text, out);
}

static uint64_t number(const char *dir, const char *name, uint64_t otherwise)
{
	uint64_t n;
	return read_number(dir, name, &n) ? n : otherwise;
}

static void parse_psi(struct usage_psi *p, const char *line)
{
	static const char *const keys[] = {" avg10=", " avg60=", " avg300="};
	double *const values[] = {&p->avg10, &p->avg60, &p->avg300};
	size_t len = strcspn(line, "\n");
	AUTO_FREE char *text = xstrndup(line, len);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *at = strstr(text, keys[i]);
		*values[i] = at ? strtod(at + strlen(keys[i]), NULL) : 0;
	}
	const char *total = strstr(text, " total=");
	p->total_us = total ? strtoull(total + 7, NULL, 10) : 0;
}

void usage_pressure_parse(struct usage_pressure *p, const char *text)
{
	*p = (struct usage_pressure){.known = false};
	while (*text) {
		if (strncmp(text, "some ", 5) == 0) {
			parse_psi(&p->some, text);
			p->known = true;
		} else if (strncmp(text, "full ", 5) == 0) {
			parse_psi(&p->full, text);
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

static void read_pressure(const char *dir, const char *name, struct usage_pressure *p)
{
	char text[TEXT_MAX];
	/* A file that is there may still be refused: pressure can be turned off at boot. */
	if (read_text(dir, name, text))
		usage_pressure_parse(p, text);
}

/* ---- cgroup v1 ---- */

static void cpu_v1(struct usage_dirs *d, enum usage_depth depth, struct usage *u)
{
	char text[TEXT_MAX];
	const char *acct = d->of[USAGE_CPUACCT], *cpu = d->of[USAGE_CPU];
	u->has_cpu = read_hot(d, USAGE_HOT_CPU, acct, "cpuacct.usage", text) &&
		     parse_number(text, &u->cpu_ns);
	if (depth == USAGE_BASIC)
		return;
	u->user_ns = number(acct, "cpuacct.usage_user", 0);
	u->system_ns = number(acct, "cpuacct.usage_sys", 0);
	u->shares = number(cpu, "cpu.shares", 0);
	u->period_us = number(cpu, "cpu.cfs_period_us", 0);
	u->quota_us = number(cpu, "cpu.cfs_quota_us", 0);
	if (u->quota_us == USAGE_NO_LIMIT)
		u->quota_us = 0;
	if (!read_text(cpu, "cpu.stat", text))
		return;
	u->periods = usage_field(text, "nr_periods");
	u->throttled = usage_field(text, "nr_throttled");
	u->throttled_ns = usage_field(text, "throttled_time");
}

static void memory_v1(struct usage_dirs *d, enum usage_depth depth, struct usage *u)
{
	char text[TEXT_MAX];
	const char *dir = d->of[USAGE_MEMORY];
	if (!read_hot(d, USAGE_HOT_MEMORY, dir, "memory.usage_in_bytes", text) ||
	    !parse_number(text, &u->memory) ||
	    !read_hot(d, USAGE_HOT_STAT, dir, "memory.stat", text))
		return;
	u->has_memory = true;
	uint64_t idle = usage_field(text, "total_inactive_file");
	u->working_set = u->memory > idle ? u->memory - idle : 0;
	u->rss = usage_field(text, "total_rss");
	u->cache = usage_field(text, "total_cache");
	u->mapped = usage_field(text, "total_mapped_file");
	u->swap = usage_field(text, "total_swap");
	u->faults = usage_field(text, "total_pgfault");
	u->major_faults = usage_field(text, "total_pgmajfault");
	u->own_faults = usage_field(text, "pgfault");
	u->own_major_faults = usage_field(text, "pgmajfault");
	/* Here, and not by two more files: what holds in the groups above as well. */
	u->memory_limit = usage_field(text, "hierarchical_memory_limit");
	u->memswap_limit = usage_field(text, "hierarchical_memsw_limit");
	if (!u->memory_limit || u->memory_limit >= 1ULL << 62)
		u->memory_limit = USAGE_NO_LIMIT;
	if (!u->memswap_limit || u->memswap_limit >= 1ULL << 62)
		u->memswap_limit = USAGE_NO_LIMIT;
	u->swap_limit = u->memswap_limit == USAGE_NO_LIMIT || u->memory_limit == USAGE_NO_LIMIT
				? USAGE_NO_LIMIT
			: u->memswap_limit > u->memory_limit ? u->memswap_limit - u->memory_limit
							     : 0;
	if (depth == USAGE_BASIC)
		return;
	u->memory_peak = number(dir, "memory.max_usage_in_bytes", 0);
	u->memory_failures = number(dir, "memory.failcnt", 0);
	u->kernel = number(dir, "memory.kmem.usage_in_bytes", 0);
	u->reservation = number(dir, "memory.soft_limit_in_bytes", USAGE_NO_LIMIT);
	if (read_text(dir, "memory.oom_control", text))
		u->oom_kills = usage_field(text, "oom_kill");
}

/* ---- cgroup v2 ---- */

/* "max 100000" */
static void read_cpu_max(const char *dir, struct usage *u)
{
	char text[TEXT_MAX];
	if (!read_text(dir, "cpu.max", text))
		return;
	const char *blank = strchr(text, ' ');
	u->quota_us = *text == 'm' ? 0 : strtoull(text, NULL, 10);
	u->period_us = blank ? strtoull(blank, NULL, 10) : 0;
}

static void cpu_v2(struct usage_dirs *d, enum usage_depth depth, struct usage *u)
{
	char text[TEXT_MAX];
	uint64_t weight;
	const char *dir = d->of[USAGE_CPU];
	if (!read_hot(d, USAGE_HOT_CPU, dir, "cpu.stat", text))
		return;
	u->has_cpu = true;
	u->cpu_ns = 1000 * usage_field(text, "usage_usec");
	u->user_ns = 1000 * usage_field(text, "user_usec");
	u->system_ns = 1000 * usage_field(text, "system_usec");
	u->periods = usage_field(text, "nr_periods");
	u->throttled = usage_field(text, "nr_throttled");
	u->throttled_ns = 1000 * usage_field(text, "throttled_usec");
	read_pressure(dir, "cpu.pressure", &u->cpu_pressure);
	read_pressure(dir, "memory.pressure", &u->memory_pressure);
	read_pressure(dir, "io.pressure", &u->io_pressure);
	if (depth == USAGE_BASIC)
		return;
	read_cpu_max(dir, u);
	/* The inverse of what runtimes do: 2..262144 onto 1..10000. */
	if (read_number(dir, "cpu.weight", &weight) && weight > 0)
		u->shares = 2 + (weight - 1) * 262142 / 9999;
}

static void memory_v2(struct usage_dirs *d, enum usage_depth depth, struct usage *u)
{
	char text[TEXT_MAX];
	const char *dir = d->of[USAGE_CPU];
	if (!read_hot(d, USAGE_HOT_MEMORY, dir, "memory.current", text) ||
	    !parse_number(text, &u->memory) ||
	    !read_hot(d, USAGE_HOT_STAT, dir, "memory.stat", text))
		return;
	u->has_memory = true;
	uint64_t idle = usage_field(text, "inactive_file");
	u->working_set = u->memory > idle ? u->memory - idle : 0;
	u->rss = usage_field(text, "anon");
	u->cache = usage_field(text, "file");
	u->mapped = usage_field(text, "file_mapped");
	u->kernel = usage_field(text, "kernel");
	u->faults = u->own_faults = usage_field(text, "pgfault");
	u->major_faults = u->own_major_faults = usage_field(text, "pgmajfault");
	u->memory_limit = number(dir, "memory.max", USAGE_NO_LIMIT);
	u->swap = number(dir, "memory.swap.current", 0);
	u->swap_limit = number(dir, "memory.swap.max", USAGE_NO_LIMIT);
	u->memswap_limit = u->memory_limit == USAGE_NO_LIMIT || u->swap_limit == USAGE_NO_LIMIT
				   ? USAGE_NO_LIMIT
				   : u->memory_limit + u->swap_limit;
	if (depth == USAGE_BASIC)
		return;
	u->memory_peak = number(dir, "memory.peak", 0);
	u->reservation = number(dir, "memory.low", 0);
	if (read_text(dir, "memory.events", text)) {
		u->memory_failures = usage_field(text, "max");
		u->oom_kills = usage_field(text, "oom_kill");
	}
}

void usage_read(struct usage_dirs *d, enum usage_depth depth, struct usage *u)
{
	*u = (struct usage){.has_cpu = false};
	if (!d->known)
		return;
	if (d->v2) {
		cpu_v2(d, depth, u);
		memory_v2(d, depth, u);
	} else {
		cpu_v1(d, depth, u);
		memory_v1(d, depth, u);
	}
	if (depth == USAGE_BASIC)
		return;
	const char *pids = d->of[d->v2 ? USAGE_CPU : USAGE_PIDS];
	u->has_tasks = read_number(pids, "pids.current", &u->tasks);
	u->tasks_max = number(pids, "pids.max", USAGE_NO_LIMIT);
}

/* ---- devices ---- */

static struct usage_io *io_of(struct usage_io *list, size_t *n, size_t max, const char *line)
{
	char *end;
	unsigned major = (unsigned)strtoul(line, &end, 10);
	if (end == line || *end != ':')
		return NULL;
	const char *text = end + 1;
	unsigned minor = (unsigned)strtoul(text, &end, 10);
	if (end == text || *end != ' ')
		return NULL;
	for (size_t i = 0; i < *n; i++)
		if (list[i].major == major && list[i].minor == minor)
			return &list[i];
	if (*n == max)
		return NULL;
	list[*n] = (struct usage_io){.major = major, .minor = minor};
	return &list[(*n)++];
}

static const char *next_line(const char *text)
{
	text += strcspn(text, "\n");
	return text + (*text == '\n');
}

size_t usage_blkio_parse(struct usage_io *list, size_t n, size_t max, const char *text, bool bytes)
{
	for (; *text; text = next_line(text)) {
		struct usage_io *io = io_of(list, &n, max, text);
		const char *what = strchr(text, ' ');
		if (!io || !what)
			continue;
		if (strncmp(what, " Read ", 6) == 0)
			*(bytes ? &io->read_bytes : &io->reads) = strtoull(what + 6, NULL, 10);
		else if (strncmp(what, " Write ", 7) == 0)
			*(bytes ? &io->write_bytes : &io->writes) = strtoull(what + 7, NULL, 10);
	}
	return n;
}

static uint64_t assigned(const char *line, const char *key)
{
	size_t len = strcspn(line, "\n");
	const char *at = memmem(line, len, key, strlen(key));
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

size_t usage_iostat_parse(struct usage_io *list, size_t n, size_t max, const char *text)
{
	for (; *text; text = next_line(text)) {
		struct usage_io *io = io_of(list, &n, max, text);
		if (!io)
			continue;
		io->read_bytes = assigned(text, " rbytes=");
		io->write_bytes = assigned(text, " wbytes=");
		io->reads = assigned(text, " rios=");
		io->writes = assigned(text, " wios=");
	}
	return n;
}

size_t usage_io_read(const struct usage_dirs *d, struct usage_io *list, size_t max)
{
	char text[TEXT_MAX];
	size_t n = 0;
	if (d->v2)
		return read_text(d->of[USAGE_CPU], "io.stat", text)
			       ? usage_iostat_parse(list, 0, max, text)
			       : 0;
	if (read_text(d->of[USAGE_BLKIO], "blkio.throttle.io_service_bytes_recursive", text))
		n = usage_blkio_parse(list, n, max, text, true);
	if (read_text(d->of[USAGE_BLKIO], "blkio.throttle.io_serviced_recursive", text))
		n = usage_blkio_parse(list, n, max, text, false);
	return n;
}

/* ---- processes ---- */

static size_t processes_below(const char *dir, pid_t *list, size_t max, size_t n, int depth);

/* The numbers in the text, and the groups within. */
static size_t take_processes(const char *text, const char *dir, pid_t *list, size_t max, size_t n,
			     int depth)
{
	struct stat st;
	char *end;
	for (const char *at = text; *at; at = end + (*end == '\n')) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (list && n < max)
			list[n] = (pid_t)pid;
		n++;
	}
	/* A group without groups in it has two links. */
	if (depth >= DEPTH_MAX || stat(dir, &st) < 0 || st.st_nlink <= 2)
		return n;
	AUTO_CLOSEDIR DIR *d = opendir(dir);
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		AUTO_FREE char *sub = xasprintf("%s/%s", dir, de->d_name);
		n = processes_below(sub, list, max, n, depth + 1);
	}
	return n;
}

static size_t processes_below(const char *dir, pid_t *list, size_t max, size_t n, int depth)
{
	char text[TEXT_MAX];
	return read_text(dir, "cgroup.procs", text) ? take_processes(text, dir, list, max, n, depth)
						    : n;
}

size_t usage_processes(struct usage_dirs *d, pid_t *list, size_t max)
{
	char text[TEXT_MAX];
	const char *dir = d->of[d->v2 ? USAGE_CPU : USAGE_MEMORY];
	if (!d->known || !dir)
		return 0;
	/* Version 1 shows a file that stays open the list of its last read for as long as that is not a second
	 * ago (kernel/cgroup/cgroup-v1.c, pidlists): who reads often would read the same for ever. */
	bool ok = d->v2 ? read_hot(d, USAGE_HOT_PROCS, dir, "cgroup.procs", text)
			: read_text(dir, "cgroup.procs", text);
	return ok ? take_processes(text, dir, list, max, 0, 0) : 0;
}

/* ---- network ---- */

size_t usage_netdev_parse(struct usage_interface *list, size_t max, const char *text)
{
	size_t n = 0;
	for (; *text && n < max; text = next_line(text)) {
		const char *name = text + strspn(text, " ");
		size_t len = strcspn(name, ":\n");
		uint64_t v[16];
		size_t k = 0;
		struct usage_interface *i = &list[n];
		if (name[len] != ':' || len == 0 || len >= sizeof i->name)
			continue;
		char *end = (char *)name + len + 1;
		for (const char *at = end; k < 16; at = end) {
			at += strspn(at, " ");
			v[k] = strtoull(at, &end, 10);
			if (end == at || *at == '\n')
				break;
			k++;
		}
		if (k < 16 || (len == 2 && memcmp(name, "lo", 2) == 0))
			continue;
		*i = (struct usage_interface){
			.rx_bytes = v[0],
			.rx_packets = v[1],
			.rx_errors = v[2],
			.rx_dropped = v[3],
			.tx_bytes = v[8],
			.tx_packets = v[9],
			.tx_errors = v[10],
			.tx_dropped = v[11],
		};
		memcpy(i->name, name, len);
		n++;
	}
	return n;
}

size_t usage_interfaces(pid_t pid, struct usage_interface *list, size_t max)
{
	char dir[32], text[TEXT_MAX];
	snprintf(dir, sizeof dir, "/proc/%d/net", (int)pid);
	return read_text(dir, "dev", text) ? usage_netdev_parse(list, max, text) : 0;
}
