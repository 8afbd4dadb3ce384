/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ns.h"
#include "podnet.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* env(1)'s. */
enum { CANNOT_EXECUTE = 126, COMMAND_NOT_FOUND = 127 };

/* Join one namespace. A pod that uses the host's has no file, or none with a namespace on it. */
static int join(const char *path, int type, bool *joined, struct err *e)
{
	*joined = false;
	if (!*path || !ns_is_pinned(path))
		return 0;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	if (setns(fd, type) < 0)
		return err_sys(e, "join namespace %s", path);
	*joined = true;
	return 0;
}

static int join_all(const struct pod *p, const struct pod_record *r, bool *pid, struct err *e)
{
	bool ignored;
	AUTO_FREE char *ipc = xasprintf("%s/ns/ipc", p->run);
	AUTO_FREE char *uts = xasprintf("%s/ns/uts", p->run);
	AUTO_FREE char *pids = xasprintf("%s/ns/pid", p->run);
	if (join(r->netns, CLONE_NEWNET, &ignored, e) < 0 ||
	    join(ipc, CLONE_NEWIPC, &ignored, e) < 0 || join(uts, CLONE_NEWUTS, &ignored, e) < 0)
		return -1;
	return join(pids, CLONE_NEWPID, pid, e);
}

/* The host's files with the pod's view of the network: its /sys, its resolver, its /dev/shm. */
static int adapt_mounts(const struct pod *p, const struct pod_record *r, struct err *e)
{
	AUTO_FREE char *resolv = xasprintf("%s/resolv.conf", p->run);
	AUTO_FREE char *shm = xasprintf("%s/shm", p->run);
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", "none", MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, "make a mount namespace");
	if (*r->netns) {
		(void)umount2("/sys", MNT_DETACH);
		if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			return err_sys(e, "mount /sys");
		/* A host without these files has nothing that could mislead. */
		(void)mount(resolv, "/etc/resolv.conf", "none", MS_BIND, NULL);
	}
	(void)mount(shm, "/dev/shm", "none", MS_BIND, NULL);
	return 0;
}

static int become(char **argv, struct err *e)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	int status = errno == ENOENT ? COMMAND_NOT_FOUND : CANNOT_EXECUTE;
	err_sys(e, "run %s", argv[0]);
	fprintf(stderr, "podnet: error: %s\n", e->msg);
	return status;
}

/* A PID namespace is entered by one's children only; ours are to be the host's again. */
static int run_inside(char **argv, int own, struct err *e)
{
	int status;
	proc_ignore(SIGINT);
	proc_ignore(SIGQUIT);
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("", "/", "none", MS_SLAVE | MS_REC, NULL) < 0 ||
		    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			_exit(CANNOT_EXECUTE);
		_exit(become(argv, e));
	}
	if (setns(own, CLONE_NEWPID) < 0)
		return err_sys(e, "leave the pod's PID namespace");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int cmd_exec(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	bool pid = false;
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_POD_RECORD struct pod_record r = {0};
	(void)argc;
	if (object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0 || pod_open(&p, c, id, e) < 0 ||
	    pod_record_read_at(p.dir, &r, e) < 0)
		return -1;
	if (*r.netns && !ns_is_pinned(r.netns))
		return err_set(e, ERR_BAD_STATE, "pod %s: its network namespace is gone", id);
	AUTO_CLOSE int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return err_sys(e, "open /proc/self/ns/pid");
	if (join_all(&p, &r, &pid, e) < 0 || adapt_mounts(&p, &r, e) < 0)
		return err_wrap(e, "pod %s", id);
	return pid ? run_inside(argv + 1, own, e) : become(argv + 1, e);
}
