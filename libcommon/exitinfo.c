/* SPDX-License-Identifier: Apache-2.0 */
#include "exitinfo.h"

#include "auto.h"
#include "proc.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* linux/pidfd.h of Linux 6.15; older headers lack it. */
struct info {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xFF, 11, struct info)
#define INFO_EXIT (1ULL << 3)

static bool by_pidfd(int pidfd, int *status)
{
	struct info i = {.mask = INFO_EXIT};
	if (ioctl(pidfd, GET_INFO, &i) < 0 || !(i.mask & INFO_EXIT))
		return false;
	*status = i.exit_code;
	return true;
}

/* The last field of a process that waits to be reaped; for root and the process's owner. */
static bool by_stat(pid_t pid, unsigned long long start_time, int *status)
{
	char path[32], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *state = strrchr(text, ')');
	const char *last = strrchr(text, ' ');
	/* The descriptor is of the process that it was when it was opened. */
	if (!state || strlen(state) < 5 || state[2] != 'Z' || proc_start_time(pid) != start_time)
		return false;
	*status = (int)strtol(last, NULL, 10);
	return true;
}

int exitinfo_read(int pidfd, pid_t pid, unsigned long long start_time, int *code, int *signal)
{
	int status;
	/* It may be reaped between the two. */
	if (!by_pidfd(pidfd, &status) && !by_stat(pid, start_time, &status) &&
	    !by_pidfd(pidfd, &status))
		return 0;
	*signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	*code = *signal ? 128 + *signal : WEXITSTATUS(status);
	return 1;
}
