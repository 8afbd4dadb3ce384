/* SPDX-License-Identifier: Apache-2.0 */
#include "freezer.h"

#include "auto.h"
#include "fs.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
enum { TEXT_MAX = 1 << 16 };

static bool has_v1_freezer(void)
{
	return access(CGROUP_ROOT "/freezer", F_OK) == 0;
}

/* The state file of the group that the line ":<mark>:" of /proc/PID/cgroup names. */
static char *state_file(pid_t pid, const char *id, struct err *e)
{
	char proc[64];
	AUTO_BUF struct buf b = BUF_INIT(TEXT_MAX);
	bool v1 = has_v1_freezer();
	const char *mark = v1 ? ":freezer:" : "0::";
	snprintf(proc, sizeof proc, "/proc/%d/cgroup", (int)pid);
	if (fs_read_at(AT_FDCWD, proc, &b, e) < 0)
		return NULL;
	const char *at = b.data ? strstr(b.data, mark) : NULL;
	AUTO_FREE char *path =
		at ? xstrndup(at + strlen(mark), strcspn(at + strlen(mark), "\n")) : NULL;
	if (!path || !strstr(path, id) || strstr(path, "/../"))
		return err_set_p(e, ERR_NOT_FOUND, "process %d has no cgroup of its own", (int)pid);
	return v1 ? xasprintf(CGROUP_ROOT "/freezer%s/freezer.state", path)
		  : xasprintf(CGROUP_ROOT "%s/cgroup.freeze", path);
}

int freezer_set(pid_t pid, const char *id, bool frozen, struct err *e)
{
	AUTO_FREE char *file = state_file(pid, id, e);
	AUTO_CLOSE int fd = file ? open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return file ? err_sys(e, "%s", file) : -1;
	const char *word = has_v1_freezer() ? frozen ? "FROZEN" : "THAWED" : frozen ? "1" : "0";
	return fs_write_all(fd, word, strlen(word), e);
}

int freezer_is_set(pid_t pid, const char *id, struct err *e)
{
	AUTO_FREE char *file = state_file(pid, id, e);
	AUTO_BUF struct buf b = BUF_INIT(64);
	if (!file || fs_read_at(AT_FDCWD, file, &b, e) < 0)
		return -1;
	/* "FREEZING" as long as a process is in a call that cannot be left. */
	return b.data && (b.data[0] == 'F' || b.data[0] == '1');
}

static bool is_traced(long pid)
{
	char file[64];
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(TEXT_MAX);
	snprintf(file, sizeof file, "/proc/%ld/status", pid);
	const char *at = fs_read_at(AT_FDCWD, file, &b, &ignored) == 0 && b.data
				 ? strstr(b.data, "\nTracerPid:")
				 : NULL;
	return at && strtol(at + 11, NULL, 10) > 0;
}

int freezer_leave_traced(pid_t pid, const char *id, struct err *e)
{
	char text[24];
	AUTO_BUF struct buf b = BUF_INIT(1 << 22);
	AUTO_FREE char *file = state_file(pid, id, e);
	if (!file)
		return -1;
	*strrchr(file, '/') = '\0';
	AUTO_FREE char *members = xasprintf("%s/cgroup.procs", file);
	const char *root = has_v1_freezer() ? CGROUP_ROOT "/freezer/cgroup.procs"
					    : CGROUP_ROOT "/cgroup.procs";
	AUTO_CLOSE int fd = open(root, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "%s", root);
	if (fs_read_at(AT_FDCWD, members, &b, e) < 0)
		return -1;
	for (char *p = b.data, *end; p && *p; p = end) {
		long one = strtol(p, &end, 10);
		if (end == p)
			break;
		int n = snprintf(text, sizeof text, "%ld", one);
		/* One that has ended meanwhile is gone as well. */
		if (one > 1 && !is_traced(one) && write(fd, text, (size_t)n) < 0 && errno != ESRCH)
			return err_sys(e, "move process %ld to %s", one, root);
	}
	return 0;
}

void freezer_thaw_path(const char *path, const char *id)
{
	struct err ignored;
	bool v1 = has_v1_freezer();
	if (*path != '/' || !strstr(path, id) || strstr(path, "/../"))
		return;
	AUTO_FREE char *file = v1 ? xasprintf(CGROUP_ROOT "/freezer%s/freezer.state", path)
				  : xasprintf(CGROUP_ROOT "%s/cgroup.freeze", path);
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		(void)fs_write_all(fd, v1 ? "THAWED" : "0", v1 ? 6 : 1, &ignored);
}
