/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_USAGE_H
#define CRISP_USAGE_H
/* What a control group uses, and the limits it has: cgroup v1 (also on hybrid hosts) and v2, as one
 * structure. Only small files of the kernel are read; nothing is started and nothing is walked but
 * groups within the group. The parsers are apart, so that they can be tested without a kernel. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum usage_controller {
	USAGE_CPU, /* v2: the only one that is set; all are the same directory */
	USAGE_CPUACCT,
	USAGE_MEMORY,
	USAGE_PIDS,
	USAGE_BLKIO,
	USAGE_CONTROLLERS
};

enum usage_hot {
	USAGE_HOT_CPU,
	USAGE_HOT_MEMORY,
	USAGE_HOT_STAT,
	USAGE_HOT_PROCS,
	USAGE_HOT_FILES
};

/* The directories of one group. They stay right for as long as the group is there. */
struct usage_dirs {
	bool known, v2;
	char *of[USAGE_CONTROLLERS]; /* NULL = none */
	/* Descriptors, less one, of the files that are read most: kept open from the first reading on
	 * (a third of the time of opening them each time), unless descriptors are scarce. */
	int hot[USAGE_HOT_FILES];
};

/* From the text of /proc/PID/cgroup; the path is cut after the part that contains `id`: a process
 * may be in a group within its container's. Nothing is known when no path contains it. */
void usage_dirs_parse(struct usage_dirs *d, const char *text, const char *id, bool v2);
/* The same for a process. */
void usage_dirs_of(struct usage_dirs *d, pid_t pid, const char *id);
/* From an absolute path as cgroupfs has it; not "/". */
void usage_dirs_at(struct usage_dirs *d, const char *path);
/* The group above; nothing is known when that is the root. */
void usage_dirs_above(struct usage_dirs *d, const struct usage_dirs *below);
void usage_dirs_release(struct usage_dirs *d);

/* Of pressure: percent, and microseconds since the beginning. */
struct usage_psi {
	double avg10, avg60, avg300;
	uint64_t total_us;
};
struct usage_pressure {
	bool known;
	struct usage_psi some, full;
};
void usage_pressure_parse(struct usage_pressure *p, const char *text);

#define USAGE_NO_LIMIT UINT64_MAX

struct usage {
	bool has_cpu, has_memory, has_tasks;
	uint64_t cpu_ns, user_ns, system_ns;

	uint64_t memory, working_set, rss, cache, mapped, kernel, swap;
	uint64_t faults, major_faults; /* with the groups within */
	uint64_t own_faults, own_major_faults;
	uint64_t memory_limit, swap_limit; /* the latter: of swap alone */
	struct usage_pressure cpu_pressure, memory_pressure, io_pressure;

	/* Only with USAGE_ALL. */
	uint64_t periods, throttled, throttled_ns;
	uint64_t period_us, quota_us, shares; /* 0 = none */
	uint64_t memory_peak, memory_failures, reservation, memswap_limit, oom_kills;
	uint64_t tasks, tasks_max;
};

enum usage_depth { USAGE_BASIC, USAGE_ALL };
void usage_read(struct usage_dirs *d, enum usage_depth depth, struct usage *u);

/* "key value" lines of memory.stat, cpu.stat and the like: the value, 0 when it is not there. */
uint64_t usage_field(const char *text, const char *key);

struct usage_io {
	unsigned major, minor;
	uint64_t read_bytes, write_bytes, reads, writes;
};
/* By device; how many of at most max. The second is v1's text of bytes or operations ("8:0 Read
 * 1"), the third v2's io.stat; devices are added to the n that there are. */
size_t usage_io_read(const struct usage_dirs *d, struct usage_io *list, size_t max);
size_t usage_blkio_parse(struct usage_io *list, size_t n, size_t max, const char *text, bool bytes);
size_t usage_iostat_parse(struct usage_io *list, size_t n, size_t max, const char *text);

/* Processes in the group and in those within it; at most max are put into list (which may be NULL),
 * all are counted. */
size_t usage_processes(struct usage_dirs *d, pid_t *list, size_t max);

/* A line of /proc/PID/net/dev. */
struct usage_interface {
	char name[32];
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
/* All but lo. */
size_t usage_netdev_parse(struct usage_interface *list, size_t max, const char *text);
/* In the network namespace of a process. */
size_t usage_interfaces(pid_t pid, struct usage_interface *list, size_t max);
#endif
