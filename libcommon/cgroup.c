/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include "auto.h"
#include "fs.h"
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

static bool is_v2(void)
{
	return access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0;
}

/* The path in the line of /proc/PID/cgroup that names `controller` ("" for v2), or NULL. */
static char *path_of(const char *text, const char *controller)
{
	char mark[32];
	int n = snprintf(mark, sizeof mark, ":%s:", controller);
	for (const char *line = text; line && *line;) {
		const char *end = strchrnul(line, '\n');
		const char *at = memmem(line, (size_t)(end - line), mark, (size_t)n);
		if (at)
			return xstrndup(at + n, (size_t)(end - at - n));
		line = *end ? end + 1 : NULL;
	}
	return NULL;
}

static int open_group(pid_t pid, const char *id, const char *controller, struct err *e)
{
	char file[64];
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
	if (fs_read_at(AT_FDCWD, file, &b, e) < 0)
		return -1;
	bool v2 = is_v2();
	AUTO_FREE char *path = path_of(b.data, v2 ? "" : controller);
	if (!path || !strstr(path, id))
		return err_set(e, ERR_NOT_FOUND, "process %d has no cgroup of its own", (int)pid);
	AUTO_FREE char *full =
		xasprintf(CGROUP_ROOT "%s%s%s", v2 ? "" : "/", v2 ? "" : controller, path);
	return fs_open_dir(AT_FDCWD, full, e);
}

int cgroup_open_of(pid_t pid, const char *id, struct err *e)
{
	return open_group(pid, id, "memory", e);
}

int cgroup_fence(pid_t pid, const char *id, const char *name, struct err *e)
{
	char text[16];
	AUTO_CLOSE int parent = open_group(pid, id, "freezer", e);
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

int64_t cgroup_oom_kills_at(int dir)
{
	static const char *const files[] = {"memory.oom_control", "memory.events"};
	struct err ignored;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_BUF struct buf b = BUF_INIT(4096);
		if (fs_read_at(dir, files[i], &b, &ignored) < 0 || !b.data)
			continue;
		/* "oom_kill_disable 0" comes first in v1: the blank ends the name. */
		const char *at = strstr(b.data, "oom_kill ");
		return at ? strtoll(at + 9, NULL, 10) : 0;
	}
	return 0;
}

int64_t cgroup_peak_memory_at(int dir)
{
	static const char *const files[] = {"memory.max_usage_in_bytes", "memory.peak"};
	struct err ignored;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_BUF struct buf b = BUF_INIT(64);
		if (fs_read_at(dir, files[i], &b, &ignored) == 0 && b.data)
			return strtoll(b.data, NULL, 10);
	}
	return 0;
}

static int kill_below(int dir, int depth)
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
			if (pid > 1 && kill((pid_t)pid, SIGKILL) == 0)
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
			count += kill_below(sub, depth + 1);
	}
	return count;
}

int cgroup_kill_at(int dir)
{
	return kill_below(dir, 0);
}

static bool is_ours(const char *path, const char *id)
{
	return path[0] == '/' && strstr(path, id) && !strstr(path, "/../");
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
	if (is_v2()) {
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
	if (is_ours(path, id))
		each_hierarchy(path, kill_group, &count, &ignored);
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
	return is_ours(path, id) ? each_hierarchy(path, remove_group, NULL, e) : 0;
}

static int note_existing(const char *full, void *arg, struct err *e)
{
	(void)e;
	if (access(full, F_OK) == 0)
		*(bool *)arg = true;
	return 0;
}

bool cgroup_exists(const char *path)
{
	struct err ignored;
	bool found = false;
	each_hierarchy(path, note_existing, &found, &ignored);
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
