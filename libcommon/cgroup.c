/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include "auto.h"
#include "fs.h"
#include "sdunit.h"
#include "xalloc.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
enum { PROCS_MAX = 1 << 20, DEPTH_MAX = 32 };

bool cgroup_is_v2(void)
{
	return access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0;
}

/* Is it in the list "cpu,cpuacct", which ends at `end`? That of v2 is empty, as its controller is. */
static bool is_listed(const char *list, const char *end, const char *controller)
{
	size_t n = strlen(controller);
	for (;;) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		size_t len = (size_t)((comma ? comma : end) - list);
		if (len == n && memcmp(list, controller, n) == 0)
			return true;
		if (!comma)
			return false;
		list = comma + 1;
	}
}

/* The path in the line of /proc/PID/cgroup that names `controller` ("" for v2), or NULL. */
static char *path_of(const char *text, const char *controller)
{
	for (const char *line = text; line && *line;) {
		const char *end = strchrnul(line, '\n');
		const char *list = memchr(line, ':', (size_t)(end - line));
		const char *path = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
		if (path && is_listed(list + 1, path, controller))
			return xstrndup(path + 1, (size_t)(end - path - 1));
		line = *end ? end + 1 : NULL;
	}
	return NULL;
}

bool cgroup_has_controller(const char *name)
{
	struct err ignored;
	size_t n = strlen(name);
	AUTO_BUF struct buf b = BUF_INIT(4096);
	if (!cgroup_is_v2()) {
		AUTO_FREE char *dir = xasprintf(CGROUP_ROOT "/%s", name);
		return access(dir, F_OK) == 0;
	}
	if (fs_read_at(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", &b, &ignored) < 0)
		return false;
	for (const char *at = b.data; at && *at; at += strspn(at, " \n")) {
		size_t len = strcspn(at, " \n");
		if (len == n && memcmp(at, name, n) == 0)
			return true;
		at += len;
	}
	return false;
}

bool cgroup_has_page_size(const char *size)
{
	static const char units[] = "KMG";
	char *end;
	errno = 0;
	unsigned long long kib = strtoull(size, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (end == size || errno || !unit || strcmp(end + 1, "B") != 0 || kib > 1 << 20)
		return false;
	for (; unit > units; unit--)
		kib *= 1024;
	AUTO_FREE char *dir = xasprintf("/sys/kernel/mm/hugepages/hugepages-%llukB", kib);
	return access(dir, F_OK) == 0;
}

/* The absolute path of its group, below each hierarchy. */
static char *group_path(pid_t pid, const char *id, const char *controller, struct err *e)
{
	char file[64];
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
	if (fs_read_at(AT_FDCWD, file, &b, e) < 0)
		return NULL;
	bool v2 = cgroup_is_v2();
	AUTO_FREE char *path = path_of(b.data, v2 ? "" : controller);
	if (!path || !strstr(path, id))
		return err_set_p(e, ERR_NOT_FOUND, "process %d has no cgroup of its own", (int)pid);
	return xasprintf(CGROUP_ROOT "%s%s%s", v2 ? "" : "/", v2 ? "" : controller, path);
}

int cgroup_open_with(pid_t pid, const char *id, const char *controller, struct err *e)
{
	AUTO_FREE char *path = group_path(pid, id, controller, e);
	return path ? fs_open_dir(AT_FDCWD, path, e) : -1;
}

int cgroup_open_of(pid_t pid, const char *id, struct err *e)
{
	return cgroup_open_with(pid, id, "memory", e);
}

int cgroup_fence(pid_t pid, const char *id, const char *name, struct err *e)
{
	char text[16];
	AUTO_CLOSE int parent = cgroup_open_with(pid, id, "freezer", e);
	if (parent < 0)
		return -1;
	if (mkdirat(parent, name, 0700) < 0)
		return err_sys(e, "cgroup %s", name);
	AUTO_CLOSE int dir = fs_open_dir(parent, name, e);
	AUTO_CLOSE int procs = dir < 0 ? -1 : openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof text, "%d", (int)pid);
	if (procs >= 0 && write(procs, text, (size_t)n) == n)
		return TAKE_FD(parent);
	err_sys(e, "cgroup %s", name);
	unlinkat(parent, name, AT_REMOVEDIR);
	return -1;
}

void cgroup_unfence(int parent, const char *name, bool kill)
{
	struct err ignored;
	struct timespec nap = {.tv_nsec = 1000000};
	AUTO_CLOSE int dir = kill ? fs_open_dir(parent, name, &ignored) : -1;
	/* A process that forks while it is being killed leaves a child for the next look. */
	for (int i = 0; dir >= 0 && cgroup_kill_at(dir) && i < 1000; i++)
		nanosleep(&nap, NULL);
	unlinkat(parent, name, AT_REMOVEDIR);
}

/* "oom_kill_disable 0" comes first in v1: the blank ends the name. */
static int64_t oom_kills_in(const char *text)
{
	const char *at = strstr(text, "oom_kill ");
	return at ? strtoll(at + 9, NULL, 10) : 0;
}

int64_t cgroup_oom_kills_at(int dir)
{
	static const char *const files[] = {"memory.oom_control", "memory.events"};
	struct err ignored;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_BUF struct buf b = BUF_INIT(4096);
		if (fs_read_at(dir, files[i], &b, &ignored) == 0 && b.data)
			return oom_kills_in(b.data);
	}
	return -1;
}

int cgroup_events_above(pid_t pid, const char *id, struct err *e)
{
	AUTO_FREE char *path = group_path(pid, id, "memory", e);
	if (!path)
		return -1;
	char *at = strstr(path, id);
	while (at > path && *at != '/')
		at--;
	*at = '\0';
	AUTO_FREE char *file = xasprintf("%s/memory.events", path);
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(e, "%s", file) : fd;
}

int64_t cgroup_events_oom_kills(int fd)
{
	char text[1024];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	if (n < 0)
		return -1;
	text[n] = '\0';
	return oom_kills_in(text);
}

/* ---- what is counted ---- */

int cgroup_hold(struct cgroup_dirs *d, pid_t pid, const char *id, struct err *e)
{
	struct err ignored;
	*d = CGROUP_DIRS_NONE;
	d->memory = cgroup_open_of(pid, id, e);
	if (d->memory < 0 || cgroup_is_v2())
		return d->memory < 0 ? -1 : 0;
	d->cpu = cgroup_open_with(pid, id, "cpu", &ignored);
	d->pids = cgroup_open_with(pid, id, "pids", &ignored);
	return 0;
}

void cgroup_release(struct cgroup_dirs *d)
{
	auto_close(&d->memory);
	auto_close(&d->cpu);
	auto_close(&d->pids);
	*d = CGROUP_DIRS_NONE;
}

#define COUNTER(name) \
	{ \
#name, offsetof(struct cgroup_counts, name) \
	}
const struct cgroup_counter cgroup_counters[] = {
	COUNTER(peak_memory),      COUNTER(peak_swap),
	COUNTER(peak_memory_swap), COUNTER(memory_failures),
	COUNTER(peak_pids),        COUNTER(pids_failures),
	COUNTER(cpu_periods),      COUNTER(cpu_throttled),
	COUNTER(cpu_throttled_ns), {NULL, 0}};

int64_t cgroup_count(const struct cgroup_counts *c, const struct cgroup_counter *k)
{
	return *(const int64_t *)(const void *)((const char *)c + k->offset);
}

/* The number that is the file, or in it behind `key` at the beginning of a line; -1 = not there. */
static int64_t counted(int dir, const char *file, const char *key)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(4096);
	if (fs_read_at(dir, file, &b, &ignored) < 0 || !b.data)
		return -1;
	size_t n = key ? strlen(key) : 0;
	for (const char *line = b.data; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key ? key : "", n) == 0 && (!key || line[n] == ' '))
			return strtoll(line + n, NULL, 10);
	}
	return -1;
}

void cgroup_counts_read(const struct cgroup_dirs *d, struct cgroup_counts *c)
{
	int memory = d->memory, cpu = d->cpu < 0 ? memory : d->cpu;
	int pids = d->pids < 0 ? memory : d->pids;
	const struct {
		int dir;
		const char *file, *key;
		int64_t *to, unit;
	} all[] = {
		{memory, "memory.max_usage_in_bytes", NULL, &c->peak_memory, 1},
		{memory, "memory.peak", NULL, &c->peak_memory, 1},
		{memory, "memory.swap.peak", NULL, &c->peak_swap, 1},
		{memory, "memory.memsw.max_usage_in_bytes", NULL, &c->peak_memory_swap, 1},
		{memory, "memory.failcnt", NULL, &c->memory_failures, 1},
		{memory, "memory.events", "max", &c->memory_failures, 1},
		{pids, "pids.peak", NULL, &c->peak_pids, 1},
		{pids, "pids.events", "max", &c->pids_failures, 1},
		{cpu, "cpu.stat", "nr_periods", &c->cpu_periods, 1},
		{cpu, "cpu.stat", "nr_throttled", &c->cpu_throttled, 1},
		{cpu, "cpu.stat", "throttled_time", &c->cpu_throttled_ns, 1},
		{cpu, "cpu.stat", "throttled_usec", &c->cpu_throttled_ns, 1000},
	};
	*c = (struct cgroup_counts){0};
	for (size_t i = 0; memory >= 0 && i < ARRAY_LEN(all); i++) {
		int64_t n = counted(all[i].dir, all[i].file, all[i].key);
		if (n > 0 && n <= INT64_MAX / all[i].unit)
			*all[i].to = n * all[i].unit;
	}
}

/* signo 0 counts. */
static int signal_below(int dir, int signo, int depth)
{
	struct err ignored;
	int count = 0;
	AUTO_BUF struct buf b = BUF_INIT(PROCS_MAX);
	if (fs_read_at(dir, "cgroup.procs", &b, &ignored) == 0 && b.data) {
		for (char *p = b.data, *end; *p; p = end) {
			long pid = strtol(p, &end, 10);
			if (end == p)
				break;
			/* 0 stands for a process that our pid namespace does not show. */
			if (pid > 1 && kill((pid_t)pid, signo) == 0)
				count++;
		}
	}
	int fd = depth < DEPTH_MAX ? fs_open_dir(dir, ".", &ignored) : -1;
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		AUTO_CLOSE int sub = fs_open_dir(dir, de->d_name, &ignored);
		if (sub >= 0)
			count += signal_below(sub, signo, depth + 1);
	}
	return count;
}

int cgroup_kill_at(int dir)
{
	/* At one stroke, whatever forks meanwhile (v2, Linux 5.14). */
	AUTO_CLOSE int all = openat(dir, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (all >= 0 && write(all, "1", 1) < 0)
		errno = 0;
	return signal_below(dir, SIGKILL, 0);
}

/* In config.json's form; NULL when it is not the container's own. */
static char *own_path(const char *path, const char *id)
{
	char *own = *path == '/' ? xstrdup(path) : sdunit_scope_path(path);
	if (own && strstr(own, id) && !strstr(own, "/../"))
		return own;
	free(own);
	return NULL;
}

/* Hosts cover a hierarchy with a tmpfs, and then the runtime writes plain files there. */
static bool is_cgroup_mount(int dirfd, const char *name)
{
	struct statfs fs;
	AUTO_CLOSE int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

/* Calls fn for each hierarchy's directory of the group; the last failure is the answer. */
static int each_hierarchy(const char *path, int (*fn)(const char *full, void *arg, struct err *e),
			  void *arg, struct err *e)
{
	int r = 0;
	if (cgroup_is_v2()) {
		AUTO_FREE char *full = xasprintf(CGROUP_ROOT "%s", path);
		return fn(full, arg, e);
	}
	AUTO_CLOSEDIR DIR *d = opendir(CGROUP_ROOT);
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.' || de->d_type == DT_LNK ||
		    !is_cgroup_mount(dirfd(d), de->d_name))
			continue;
		AUTO_FREE char *full = xasprintf(CGROUP_ROOT "/%s%s", de->d_name, path);
		if (fn(full, arg, e) < 0)
			r = -1;
	}
	return r;
}

static int kill_group(const char *full, void *arg, struct err *e)
{
	struct err ignored;
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, full, &ignored);
	(void)e;
	if (dir >= 0)
		*(int *)arg += cgroup_kill_at(dir);
	return 0;
}

int cgroup_kill(const char *path, const char *id)
{
	struct err ignored;
	int count = 0;
	AUTO_FREE char *own = own_path(path, id);
	if (own)
		each_hierarchy(own, kill_group, &count, &ignored);
	return count;
}

static void remove_below(const char *full, int depth)
{
	AUTO_CLOSEDIR DIR *d = depth < DEPTH_MAX ? opendir(full) : NULL;
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		AUTO_FREE char *sub = xasprintf("%s/%s", full, de->d_name);
		remove_below(sub, depth + 1);
		rmdir(sub);
	}
}

static int remove_group(const char *full, void *arg, struct err *e)
{
	(void)arg;
	if (rmdir(full) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	if (errno == EROFS)
		return 0;
	remove_below(full, 0);
	if (rmdir(full) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return err_set(e, ERR_UNAVAILABLE, "cgroup %s still holds processes", full);
}

int cgroup_remove(const char *path, const char *id, struct err *e)
{
	AUTO_FREE char *own = own_path(path, id);
	return own ? each_hierarchy(own, remove_group, NULL, e) : 0;
}

bool cgroup_exists(const char *path)
{
	bool found = false;
	if (cgroup_is_v2()) {
		AUTO_FREE char *full = xasprintf(CGROUP_ROOT "%s", path);
		return access(full, F_OK) == 0;
	}
	/* The kubelet makes a group in all hierarchies that it uses, so it is in the first one looked at. */
	AUTO_FREE char *likely = xasprintf(CGROUP_ROOT "/memory%s", path);
	if (access(likely, F_OK) == 0 && is_cgroup_mount(AT_FDCWD, CGROUP_ROOT "/memory"))
		return true;
	/* That it is a hierarchy is asked of those alone that have the path. */
	AUTO_CLOSEDIR DIR *d = opendir(CGROUP_ROOT);
	const struct dirent *de;
	while (!found && d && (de = readdir(d))) {
		AUTO_FREE char *group = xasprintf("%s%s", de->d_name, path);
		found = de->d_name[0] != '.' && de->d_type != DT_LNK &&
			faccessat(dirfd(d), group, F_OK, 0) == 0 &&
			is_cgroup_mount(dirfd(d), de->d_name);
	}
	return found;
}

struct joining {
	pid_t pid;
	bool done;
};

static int join(const char *full, void *arg, struct err *e)
{
	struct joining *j = arg;
	struct err ignored;
	char text[16];
	(void)e;
	if (strncmp(full, CGROUP_ROOT "/cpuset/", strlen(CGROUP_ROOT "/cpuset/")) == 0 ||
	    fs_mkdirs(AT_FDCWD, full, 0755, &ignored) < 0)
		return 0;
	AUTO_FREE char *file = xasprintf("%s/cgroup.procs", full);
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof text, "%d", (int)j->pid);
	if (fd >= 0 && write(fd, text, (size_t)n) == n)
		j->done = true;
	else
		rmdir(full);
	return 0;
}

bool cgroup_join(const char *path, pid_t pid)
{
	struct err ignored;
	struct joining j = {.pid = pid};
	each_hierarchy(path, join, &j, &ignored);
	return j.done;
}

static int count_group(const char *full, void *arg, struct err *e)
{
	struct err ignored;
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, full, &ignored);
	(void)e;
	if (dir >= 0)
		*(int *)arg += signal_below(dir, 0, 0);
	return 0;
}

int cgroup_holds(const char *path)
{
	struct err ignored;
	int count = 0;
	each_hierarchy(path, count_group, &count, &ignored);
	return count;
}

static int remove_empty(const char *full, void *arg, struct err *e)
{
	(void)e;
	if (rmdir(full) < 0 && errno != ENOENT && errno != ENOTDIR)
		*(bool *)arg = false;
	return 0;
}

bool cgroup_rmdir(const char *path)
{
	struct err ignored;
	bool gone = true;
	each_hierarchy(path, remove_empty, &gone, &ignored);
	return gone;
}
