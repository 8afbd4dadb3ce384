/* SPDX-License-Identifier: Apache-2.0 */
#include "ns.h"

#include "auto.h"
#include "fs.h"
#include "proc.h"
#include "userns.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

static int raise_loopback(struct err *e)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return err_sys(e, "loopback interface");
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? err_sys(e, "raise loopback interface") : 0;
}

/* 0 done, 1 there is no such file, -1 error. */
static int write_sysctl(int proc, const char *path, const char *value, struct err *e)
{
	struct err open_err;
	AUTO_CLOSE int fd = fs_open_beneath(proc, path, O_WRONLY, 0, &open_err);
	if (fd < 0 && open_err.errnum == ENOENT)
		return 1;
	if (fd < 0) {
		*e = open_err;
		return err_wrap(e, "sysctl");
	}
	/* One write: the kernel takes a value whole or not at all. */
	if (write(fd, value, strlen(value)) >= 0)
		return 0;
	err_sys(e, "sysctl %s = '%.64s'", path, value);
	if (e->errnum == EINVAL || e->errnum == ERANGE)
		e->kind = ERR_BAD_INPUT;
	return -1;
}

/* The first pass leaves out what does not exist yet (net.ipv4.conf.eth0…): *later counts. */
static int write_sysctls(json_t *sysctls, json_t *later, struct err *e)
{
	const char *path;
	json_t *value;
	if (json_object_size(sysctls) == 0)
		return 0;
	AUTO_CLOSE int proc = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return err_sys(e, "open /proc/sys");
	json_object_foreach (sysctls, path, value) {
		int r = write_sysctl(proc, path, json_string_value(value), e);
		if (r < 0)
			return -1;
		if (r > 0 && (!later || strncmp(path, "net/", 4) != 0))
			return err_set(e, ERR_BAD_INPUT, "sysctl %s: this kernel has none", path);
		if (r > 0)
			json_object_set(later, path, value);
	}
	return 0;
}

static int enter(const struct ns_plan *p, json_t *later, struct err *e)
{
	int flags = (p->net ? CLONE_NEWNET : 0) | (p->ipc ? CLONE_NEWIPC : 0) |
		    (p->uts ? CLONE_NEWUTS : 0);
	if (unshare(flags) < 0)
		return err_sys(e, "make namespaces");
	if (p->uts && sethostname(p->hostname, strlen(p->hostname)) < 0)
		return err_sys(e, "set host name '%s'", p->hostname);
	if (p->net && raise_loopback(e) < 0)
		return -1;
	return write_sysctls(p->sysctls, later, e);
}

/* What the helper reports: how it went, and the process that it started. */
struct message {
	struct err e;
	pid_t init;
};

static void say(int sock, int result, struct message *m)
{
	if (result == 0)
		m->e.kind = ERR_OK;
	(void)send(sock, m, sizeof *m, MSG_NOSIGNAL);
}

static int start_init(const struct ns_plan *p, int exe, int in, pid_t *pid, struct err *e)
{
	struct proc_spec spec = PROC_SPEC(p->init_argv);
	struct proc init;
	if (!p->init_argv)
		return 0;
	spec.exe = exe;
	spec.in = in;
	spec.new_session = true;
	if (unshare(CLONE_NEWPID) < 0)
		return err_sys(e, "make PID namespace");
	if (proc_start(&init, &spec, e) < 0)
		return -1;
	*pid = init.pid;
	return 0;
}

/* Its own death signal is lost whenever a process changes its ids. */
static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

/* Root of a new user namespace: only what its root makes belongs to it, and only it may write the
 * sysctls. The mappings are the parent's to write, which has the rights to. */
static int enter_user(const struct ns_plan *p, int sock, pid_t parent, struct err *e)
{
	struct message made = {.init = -1};
	char go;
	if (!p->uid_map)
		return 0;
	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(e, "make user namespace");
	say(sock, 0, &made);
	if (recv(sock, &go, 1, 0) != 1)
		_exit(1);
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(e, "become root of the user namespace");
	die_with(parent);
	return 0;
}

static _Noreturn void child_main(const struct ns_plan *p, int sock, int init_sock, pid_t parent)
{
	struct message m = {.init = -1};
	char go;
	die_with(parent);
	json_t *later = json_object();
	/* Opened while we are the host's root: the pod's may not be let through to it. */
	int exe = p->uid_map && p->init_argv ? open(p->init_argv[0], O_PATH | O_CLOEXEC) : -1;
	int r = enter_user(p, sock, parent, &m.e);
	if (r == 0)
		r = enter(p, later, &m.e);
	if (r == 0)
		r = start_init(p, exe, init_sock, &m.init, &m.e);
	if (init_sock >= 0)
		close(init_sock);
	say(sock, r, &m);
	/* The parent pins now; end of file means that it gave up. */
	if (r == 0 && recv(sock, &go, 1, 0) == 1)
		say(sock, write_sysctls(later, NULL, &m.e), &m);
	_exit(0);
}

static int hear(struct ns_child *c, struct err *e)
{
	struct message m;
	ssize_t n;
	do
		n = recv(c->sock, &m, sizeof m, 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof m)
		return err_set(e, ERR_FAILED, "make namespaces: the helper process ended early");
	c->init = m.init;
	if (m.e.kind == ERR_OK)
		return 0;
	*e = m.e;
	return -1;
}

static const struct {
	const char *name;
	int flag;
} kinds[NS_KINDS] = {
	[NS_NET] = {"net", CLONE_NEWNET},
	[NS_IPC] = {"ipc", CLONE_NEWIPC},
	[NS_UTS] = {"uts", CLONE_NEWUTS},
};

static int open_own(int kind)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[kind].name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Whatever we did next would be done in the pod instead of on the host. */
static void step_out(int fd, int flag)
{
	if (setns(fd, flag) < 0)
		abort();
}

static int start_here(struct ns_child *c, const struct ns_plan *plan, struct err *e)
{
	const bool wanted[NS_KINDS] = {plan->net, plan->ipc, plan->uts};
	int host[NS_KINDS] = {-1, -1, -1}, r = 0;
	c->later = json_object();
	for (int k = 0; k < NS_KINDS; k++)
		if (wanted[k] && (host[k] = open_own(k)) < 0)
			r = err_sys(e, "open own %s namespace", kinds[k].name);
	if (r == 0)
		r = enter(plan, c->later, e);
	for (int k = 0; k < NS_KINDS; k++) {
		if (host[k] < 0)
			continue;
		c->fd[k] = open_own(k);
		if (r == 0 && c->fd[k] < 0)
			r = err_sys(e, "open own %s namespace", kinds[k].name);
		step_out(host[k], kinds[k].flag);
		close(host[k]);
	}
	return r;
}

static int finish_here(struct ns_child *c, struct err *e)
{
	if (json_object_size(c->later) == 0)
		return 0;
	AUTO_CLOSE int host = open_own(NS_NET);
	if (host < 0 || setns(c->fd[NS_NET], CLONE_NEWNET) < 0)
		return err_sys(e, "enter the pod's network namespace");
	int r = write_sysctls(c->later, NULL, e);
	step_out(host, CLONE_NEWNET);
	return r;
}

static int map_user(const struct ns_child *c, const struct ns_plan *plan, struct err *e)
{
	if (userns_write_maps(c->pid, plan->uid_map, plan->gid_map, e) < 0)
		return -1;
	return send(c->sock, "", 1, MSG_NOSIGNAL) == 1 ? 0 : err_sys(e, "namespace helper");
}

int ns_start(struct ns_child *c, const struct ns_plan *plan, struct err *e)
{
	int pair[2] = {-1, -1}, init[2] = {-1, -1};
	pid_t parent = getpid();
	*c = NS_CHILD_NONE;
	if (!plan->init_argv && !plan->uid_map)
		return start_here(c, plan, e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	c->sock = pair[0];
	AUTO_CLOSE int theirs = pair[1];
	if (plan->init_argv && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, init) < 0)
		return err_sys(e, "socketpair");
	c->init_sock = init[0];
	AUTO_CLOSE int init_theirs = init[1];
	c->pid = fork();
	if (c->pid == 0) {
		/* Only the parent may hold its ends: their end of file is its death. */
		close(c->sock);
		if (c->init_sock >= 0)
			close(c->init_sock);
		child_main(plan, theirs, init_theirs, parent);
	}
	if (c->pid < 0)
		return err_sys(e, "fork");
	auto_close(&theirs);
	theirs = -1;
	if (plan->uid_map && (hear(c, e) < 0 || map_user(c, plan, e) < 0))
		return -1;
	return hear(c, e);
}

int ns_finish(struct ns_child *c, struct err *e)
{
	if (c->pid < 0)
		return finish_here(c, e);
	if (send(c->sock, "", 1, MSG_NOSIGNAL) != 1)
		return err_sys(e, "namespace helper");
	return hear(c, e);
}

void ns_end(struct ns_child *c)
{
	auto_close(&c->sock);
	auto_close(&c->init_sock);
	c->sock = c->init_sock = -1;
	for (int k = 0; k < NS_KINDS; k++) {
		auto_close(&c->fd[k]);
		c->fd[k] = -1;
	}
	json_decref(TAKE(c->later));
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	c->pid = -1;
}

int ns_pin(const struct ns_child *c, const char *type, const char *path, struct err *e)
{
	char source[64];
	snprintf(source, sizeof source, "/proc/%d/ns/%s", (int)c->pid, type);
	for (int k = 0; c->pid < 0 && k < NS_KINDS; k++)
		if (strcmp(type, kinds[k].name) == 0)
			snprintf(source, sizeof source, "/proc/self/fd/%d", c->fd[k]);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_sys(e, "create %s", path);
	return mount(source, path, "none", MS_BIND, NULL) < 0
		       ? err_sys(e, "bind %s to %s", source, path)
		       : 0;
}

int ns_prepare_dir(const char *dir, struct err *e)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir %s", dir);
	/* ip(8) holds the same lock while it does this. */
	AUTO_CLOSE int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_sys(e, "lock %s", dir);
	if (mount("", dir, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL)
		return err_sys(e, "share mount %s", dir);
	/* Not a mount point yet. */
	if (mount(dir, dir, "none", MS_BIND | MS_REC, NULL) < 0 ||
	    mount("", dir, "none", MS_SHARED | MS_REC, NULL) < 0)
		return err_sys(e, "share mount %s", dir);
	return 0;
}

int ns_unmount(const char *path, struct err *e)
{
	/* More than one layer only after a crash between two attempts. */
	for (int i = 0; i < 64; i++) {
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			continue;
		/* EINVAL: nothing is mounted there. */
		if (errno == EINVAL || errno == ENOENT)
			return 0;
		return err_sys(e, "unmount %s", path);
	}
	return err_set(e, ERR_FAILED, "unmount %s: mounted over and over", path);
}

int ns_unpin(const char *path, struct err *e)
{
	if (ns_unmount(path, e) < 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "remove %s", path);
	return 0;
}

bool ns_is_pinned(const char *path)
{
	struct statfs sf;
	return statfs(path, &sf) == 0 && sf.f_type == NSFS_MAGIC;
}
