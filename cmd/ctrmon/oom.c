/* SPDX-License-Identifier: Apache-2.0 */
/* Was the container hit by the OOM killer? Its control group says so, if it is still there: systemd
 * removes a scope's as soon as it is empty. Then the group above tells, whose count includes ours,
 * and that of the pod's other containers: what it had counted when ours could last be read is not
 * ours. */
#include "auto.h"
#include "cgroup.h"
#include "monitor.h"

#include <fcntl.h>
#include <sys/epoll.h>

/* crispd is protected, and a runtime that leaves a score of 0 alone (crun 1.8) hands that on. */
void oom_bare(void)
{
	char score[2] = "";
	AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	if (fd >= 0 && read(fd, score, 1) == 1 && *score == '-' && pwrite(fd, "0", 1, 0) < 0)
		errno = 0;
}

static void on_events(struct watch *w, uint32_t events)
{
	struct monitor *m = w->arg;
	int64_t above = cgroup_events_oom_kills(w->fd), own = cgroup_oom_kills_at(m->cgroup.memory);
	(void)events;
	if (own >= 0 && above >= 0) {
		m->oom.own = own;
		m->oom.above = above;
	}
	/* One that is gone is readable for ever. */
	if (above < 0)
		oom_close(m);
}

void oom_begin(struct monitor *m, pid_t pid)
{
	struct err ignored;
	if (m->cgroup.memory < 0)
		return;
	AUTO_CLOSE int fd = cgroup_events_above(pid, m->id, &ignored);
	if (fd < 0)
		return;
	m->oom.above = cgroup_events_oom_kills(fd);
	m->oom.own = cgroup_oom_kills_at(m->cgroup.memory);
	if (loop_add(m->loop, &m->oom.watch, fd, EPOLLPRI, on_events, m, &ignored) == 0)
		(void)TAKE_FD(fd);
}

bool oom_happened(struct monitor *m)
{
	int64_t own = m->cgroup.memory < 0 ? 0 : cgroup_oom_kills_at(m->cgroup.memory);
	if (own >= 0)
		return own > 0;
	int64_t above = m->oom.watch.fd < 0 ? -1 : cgroup_events_oom_kills(m->oom.watch.fd);
	return m->oom.own > 0 || above > m->oom.above;
}

void oom_close(struct monitor *m)
{
	loop_close(m->loop, &m->oom.watch);
}
