/* SPDX-License-Identifier: Apache-2.0 */
/* A container whose monitor was lost: its process is not our child, but its end and how it ended
 * are learnt by its pidfd; its pipes are found again by their numbers, which the lost monitor left
 * in its lock file. A terminal went with its monitor. */
#include "auto.h"
#include "cgroup.h"
#include "flatjson.h"
#include "fs.h"
#include "monitor.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { STATE_MAX = 1 << 20 };

void adopt_note(const struct monitor *m, char *text, size_t size)
{
	struct stat st[2] = {0};
	const struct stream *s[2] = {&m->io.out, &m->io.err};
	for (int i = 0; i < 2; i++)
		if (s[i]->watch.fd < 0 || fstat(s[i]->watch.fd, &st[i]) < 0)
			st[i].st_ino = 0;
	snprintf(text, size, "%d %llu %llu %llu %d %llu\n", (int)getpid(),
		 proc_start_time(getpid()), (unsigned long long)st[0].st_ino,
		 (unsigned long long)st[1].st_ino, m->inside ? (int)m->pid : 0,
		 m->inside ? proc_start_time(m->pid) : 0);
}

struct left {
	unsigned long long ino[2];
	pid_t stand_in; /* 0 = none */
	unsigned long long stand_in_start;
};

/* Of what the lost monitor left in the lock file: before it is written anew. */
static void read_left(const struct monitor *m, struct left *l)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(256);
	*l = (struct left){.stand_in = 0};
	if (fs_read_at(m->run_dir, "monitor.lock", &b, &ignored) < 0 || !b.data)
		return;
	char *at = b.data;
	(void)strtoull(at, &at, 10);
	(void)strtoull(at, &at, 10);
	l->ino[0] = strtoull(at, &at, 10);
	l->ino[1] = strtoull(at, &at, 10);
	l->stand_in = (pid_t)strtol(at, &at, 10);
	l->stand_in_start = strtoull(at, &at, 10);
}

/* The read end of the pipe that the container's first process still holds; -1 when it does not. */
static int find_pipe(pid_t pid, unsigned long long ino)
{
	char dir[48], want[48], link[64];
	snprintf(dir, sizeof dir, "/proc/%d/fd", (int)pid);
	snprintf(want, sizeof want, "pipe:[%llu]", ino);
	AUTO_CLOSEDIR DIR *d = ino ? opendir(dir) : NULL;
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof link - 1);
		if (n <= 0)
			continue;
		link[n] = '\0';
		if (strcmp(link, want) == 0)
			return openat(dirfd(d), de->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	return -1;
}

static int adopt_streams(struct monitor *m, const unsigned long long ino[2], struct err *e)
{
	static const char missing[] =
		"the monitor was lost; what the container writes is lost from here on";
	static const char found[] =
		"the monitor was lost; what it had read and not yet written is missing here";
	int got = 0;
	for (int i = 0; i < 2; i++) {
		int fd = find_pipe(m->pid, ino[i]);
		if (fd >= 0 && stdio_adopt(m, i, fd, e) < 0)
			return -1;
		got += fd >= 0;
	}
	m->io.logging = true;
	logfile_remark(&m->log, got ? found : missing);
	return 0;
}

/* Its stand-in, if it is there, ends as the container does, and holds the pipes. */
static bool find_stand_in(struct monitor *m, const struct left *l)
{
	struct err ignored;
	if (l->stand_in <= 1)
		return false;
	m->pidfd = proc_open(l->stand_in, l->stand_in_start, &ignored);
	if (m->pidfd < 0)
		return false;
	m->inside = m->pid;
	m->pid = l->stand_in;
	m->pid_start = l->stand_in_start;
	return true;
}

static int find_process(struct monitor *m, const struct left *l, struct err *e)
{
	int64_t pid = 0, start = 0;
	AUTO_BUF struct buf b = BUF_INIT(STATE_MAX);
	if (fs_read_at(m->root_dir, "state.json", &b, e) < 0)
		return -1;
	if (!b.data || !flatjson_int(b.data, b.len, "pid", &pid) ||
	    !flatjson_int(b.data, b.len, "pid_start", &start) || pid <= 1 || pid > INT32_MAX)
		return err_set(e, ERR_BAD_STATE, "state.json names no process");
	m->pid = (pid_t)pid;
	m->pid_start = (unsigned long long)start;
	if (find_stand_in(m, l))
		return 0;
	m->pidfd = proc_open(m->pid, m->pid_start, e);
	return m->pidfd < 0 ? -1 : 0;
}

bool adopted_runs(const struct monitor *m)
{
	struct err ignored;
	char state[16] = "";
	AUTO_BUF struct buf b = BUF_INIT(STATE_MAX);
	return fs_read_at(m->root_dir, "state.json", &b, &ignored) == 0 && b.data &&
	       flatjson_string(b.data, b.len, "state", state, sizeof state) &&
	       strcmp(state, "running") == 0;
}

int adopt(struct monitor *m, int (*take_lock)(struct monitor *m, struct err *e), struct err *e)
{
	struct left l;
	struct err ignored;
	read_left(m, &l);
	if (take_lock(m, e) < 0 || find_process(m, &l, e) < 0)
		return -1;
	cgroup_hold(&m->cgroup, runtime_pid(m), m->opts->wait ? m->opts->pod : m->id, &ignored);
	oom_begin(m, runtime_pid(m));
	if (exitrec_prepare(m, e) < 0 || logfile_open(&m->log, m->opts->log_path, e) < 0 ||
	    ctl_open(m, e) < 0)
		return -1;
	return adopt_streams(m, l.ino, e);
}
