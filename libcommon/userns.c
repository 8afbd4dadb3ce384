/* SPDX-License-Identifier: Apache-2.0 */
#include "userns.h"

#include "auto.h"
#include "fs.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int write_map(pid_t pid, const char *name, const char *map, struct err *e)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	/* One write: the kernel takes a mapping whole, and once. */
	if (write(fd, map, strlen(map)) >= 0)
		return 0;
	return err_sys(e, "%s of the user namespace: %.*s", name, (int)strcspn(map, "\n"), map);
}

int userns_write_maps(pid_t pid, const char *uids, const char *gids, struct err *e)
{
	return write_map(pid, "uid_map", uids, e) < 0 ? -1 : write_map(pid, "gid_map", gids, e);
}

/* A process in a new user namespace that does nothing, and ends with the descriptor's other end. */
static pid_t start_idler(int wait_for, int not_ours)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	char byte;
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid != 0)
		return pid;
	close(not_ours);
	while (read(wait_for, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

int userns_open(const char *uids, const char *gids, struct err *e)
{
	char path[64];
	int ends[2], fd = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	pid_t pid = start_idler(ends[0], ends[1]);
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return err_sys(e, "make a user namespace");
	}
	if (userns_write_maps(pid, uids, gids, e) == 0) {
		snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			err_sys(e, "open %s", path);
	}
	close(ends[1]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
