/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CGROUP_H
#define CRISP_CGROUP_H
/* A container's control groups, as the runtime made them: cgroup v1 (one directory a hierarchy
 * under /sys/fs/cgroup, also on hybrid hosts) or v2. Making them and setting limits is the
 * runtime's work; here is what is left to do when it does not. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Open the cgroup directory of a process in which memory is accounted (v2: its only one). -1 with
 * ERR_NOT_FOUND when it has none of its own: the path must contain `id`, so that neither a pod's
 * nor our own group is ever taken for the container's. */
int cgroup_open_of(pid_t pid, const char *id, struct err *e);
/* The same in the hierarchy of a controller, where those of v1 differ. */
int cgroup_open_with(pid_t pid, const char *id, const char *controller, struct err *e);
/* A group inside the container's, for what one command starts: in v1 in the hierarchy of the freezer,
 * which limits and accounts nothing. pid and its present descendants' children-to-be are in it from
 * here on, wherever they are reparented to. The group's parent, held, or -1. */
int cgroup_fence(pid_t pid, const char *id, const char *name, struct err *e);
/* Kill what is in the fence (when asked to) and remove it; what goes on running keeps it until the
 * container's own group is removed. */
void cgroup_unfence(int parent, const char *name, bool kill);
/* Does the kernel have this controller ("hugetlb") where groups can use it? */
bool cgroup_has_controller(const char *name);
bool cgroup_is_v2(void);
/* Has the kernel huge pages of this size, as limits name it ("2MB", "1GB")? */
bool cgroup_has_page_size(const char *size);
/* The number of OOM kills in the group so far; -1 when the kernel does not tell. */
int64_t cgroup_oom_kills_at(int dir);
/* Where systemd made the group it is gone as soon as its last process is, and its counters with it.
 * The group above, which other containers may share, counts its kills, too (v2): its memory.events,
 * to be polled for EPOLLPRI and read again after each change. */
int cgroup_events_above(pid_t pid, const char *id, struct err *e);
/* The number of OOM kills in that file; -1 when it cannot be read. */
int64_t cgroup_events_oom_kills(int fd);

/* The directories of a container's group by what is counted in them. In v2 all are the same one, which
 * is `memory`; -1 = none. */
struct cgroup_dirs {
	int memory, cpu, pids;
};
#define CGROUP_DIRS_NONE ((struct cgroup_dirs){-1, -1, -1})
/* As cgroup_open_of; those beside `memory` are opened as far as they are there. Closed with
 * cgroup_release, as often as one likes. */
int cgroup_hold(struct cgroup_dirs *d, pid_t pid, const char *id, struct err *e);
void cgroup_release(struct cgroup_dirs *d);

/* What the kernel has counted in the group so far, against its limits. 0 is none, or not told: v1 has
 * no peak of swap alone, v2 none of both together, and what is not limited counts no failures. */
struct cgroup_counts {
	int64_t peak_memory, peak_swap;   /* bytes */
	int64_t peak_memory_swap;         /* bytes of both together (v1's memsw) */
	int64_t memory_failures;          /* how often the limit of memory was met */
	int64_t peak_pids, pids_failures; /* processes; how often one more was refused */
	int64_t cpu_periods, cpu_throttled, cpu_throttled_ns; /* of the quota: held back in, for */
};
void cgroup_counts_read(const struct cgroup_dirs *d, struct cgroup_counts *c);
/* The members by name, as the records have them; ended by a name that is NULL. */
struct cgroup_counter {
	const char *name;
	size_t offset;
};
extern const struct cgroup_counter cgroup_counters[];
int64_t cgroup_count(const struct cgroup_counts *c, const struct cgroup_counter *k);
/* SIGKILL to every process in the group and below it, at once where the kernel has cgroup.kill; how
 * many there were. */
int cgroup_kill_at(int dir);

/* The same by config.json's linux.cgroupsPath, a path or systemd's slice:prefix:name, in whichever
 * hierarchy has it. One that does not contain `id` is left alone. */
int cgroup_kill(const char *path, const char *id);
/* Remove what the runtime left of the group, in every hierarchy. Groups that still hold processes
 * stay: ERR_UNAVAILABLE. */
int cgroup_remove(const char *path, const char *id, struct err *e);

/* Groups between the container's and the root, which nobody else removes when it was us (the
 * runtime on our behalf) who made them. Is there such a directory in any hierarchy? */
bool cgroup_exists(const char *path);
/* Put a process into the group in every hierarchy that takes it (v1's cpuset, which must be set up
 * first, is left out); the group is made. True when one did. */
bool cgroup_join(const char *path, pid_t pid);
/* How many processes are in and below the group. */
int cgroup_holds(const char *path);
/* rmdir in every hierarchy; true when it is gone from all. Never touches a group that is in use. */
bool cgroup_rmdir(const char *path);
#endif
