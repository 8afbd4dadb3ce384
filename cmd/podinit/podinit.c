/* SPDX-License-Identifier: Apache-2.0 */
/* The first process of a pod's shared PID namespace, started by podnet create. It reaps, and
 * nothing else: the namespace lives as long as it does, and only a SIGKILL from outside the
 * namespace (podnet stop) ends it. Processes of the pod see it as PID 1, so it gives away all that
 * could be reached through it: files, capabilities, user.
 *
 * Standard input is a socket to podnet: a byte out says "ready", a byte in says "recorded". End of
 * file instead of it: podnet is dead and nobody knows of us. */
#include "auto.h"
#include "shrink.h"
#include "tool.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* An empty read-only root of its own, mounted where every host has a directory. */
static int leave_files(struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, "make a mount namespace");
	if (mount("podinit", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=2,mode=555") < 0)
		return err_sys(e, "mount an empty root");
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(e, "change to an empty root");
	return 0;
}

/* The pod's user namespace may be too small for the usual number: then its last one. */
static unsigned nobody_of(const char *map_file)
{
	enum { NOBODY = 65534 };
	char text[64] = "", *end;
	AUTO_CLOSE int fd = open(map_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		return NOBODY;
	/* One line from id 0 on (podnet): inside, outside, length. */
	(void)strtoul(text, &end, 10);
	(void)strtoul(end, &end, 10);
	unsigned long length = strtoul(end, NULL, 10);
	return length > NOBODY || length == 0 ? NOBODY : (unsigned)length - 1;
}

static int leave_rights(unsigned uid, unsigned gid, struct err *e)
{
	/* Leaving uid 0 drops the capabilities, not being dumpable keeps /proc/1 shut. */
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_sys(e, "give up root");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, "give up rights");
	return 0;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	sigset_t all;
	char byte = 0;
	(void)c;
	(void)argc;
	(void)argv; /* for whoever lists processes */
	if (getpid() != 1)
		return err_set(e, ERR_BAD_STATE,
			       "not the first process of a PID namespace: "
			       "podnet create starts this program");
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	/* Its name is a descriptor's number when the pod has a user namespace. */
	prctl(PR_SET_NAME, "podinit");
	unsigned uid = nobody_of("/proc/self/uid_map"), gid = nobody_of("/proc/self/gid_map");
	if (leave_files(e) < 0 || leave_rights(uid, gid, e) < 0)
		return -1;
	if (write(STDIN_FILENO, &byte, 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1)
		return err_set(e, ERR_CANCELLED, "podnet is gone");
	close_range(0, ~0U, 0);
	shrink_and_reap();
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwaitinfo(&all, NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{"", "POD", "started by podnet create, never by hand", NULL, 1, 1, run},
		{0},
	};
	static const struct tool tool = {
		.name = "podinit",
		.summary = "the first process of a pod's shared PID namespace",
		.flags = TOOL_NO_CONFIG,
		.verbs = verbs,
	};
	return tool_main_bare(&tool, argc, argv);
}
