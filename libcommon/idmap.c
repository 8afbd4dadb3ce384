/* SPDX-License-Identifier: Apache-2.0 */
#include "userns.h"

#include "auto.h"
#include "fs.h"
#include "overlay.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* <sys/mount.h> and <linux/mount.h> define the same names in Debian 12's glibc. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data);
enum { RECURSIVE = 1 << 14, SLAVE = 1 << 19 }; /* MS_REC, MS_SLAVE */

/* EINVAL: this file system cannot; ENOSYS and EPERM's causes are told apart by their texts. */
static int cannot(const char *path, struct err *e)
{
	struct statfs sf = {0};
	int saved = errno;
	(void)statfs(path, &sf);
	errno = saved;
	err_sys(e, "idmapped mount of %s (file system type 0x%lx)", path, (unsigned long)sf.f_type);
	if (e->errnum == EINVAL || e->errnum == ENOSYS)
		e->kind = ERR_UNSUPPORTED;
	return -1;
}

int idmap_clone(const char *path, bool recursive, int userns, struct err *e)
{
	unsigned deep = recursive ? AT_RECURSIVE : 0;
	struct mount_attr map = {
		.attr_set = MOUNT_ATTR_IDMAP, .propagation = SLAVE, .userns_fd = (uint64_t)userns};
	AUTO_CLOSE int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path,
					   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
	if (tree < 0)
		return err_sys(e, "bind %s", path);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | deep, &map, sizeof map) < 0)
		return cannot(path, e);
	return TAKE_FD(tree);
}

int idmap_attach(int mnt, const char *target, struct err *e)
{
	if (syscall(SYS_move_mount, mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, "mount at %s", target);
	return 0;
}

int idmap_probe(const char *dir, struct err *e)
{
	AUTO_CLOSE int ns = userns_open("0 65536 1\n", "0 65536 1\n", e);
	AUTO_CLOSE int tree = ns < 0 ? -1 : idmap_clone(dir, false, ns, e);
	return tree < 0 ? -1 : 0;
}

/* In a mount namespace of the process's own every layer is covered by its mapped self: overlay wants
 * its layers to be mounted where it is made, looks only while it is made, and keeps them alive. Nobody
 * else sees these mounts, and they end with the process. */
static int overlay_here(const json_t *lower, const char *upper, const char *work, int userns,
			struct err *e)
{
	size_t i;
	const json_t *dir;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, RECURSIVE | SLAVE, NULL) < 0)
		return err_sys(e, "make a mount namespace");
	json_array_foreach (lower, i, dir) {
		const char *path = json_string_value(dir);
		AUTO_CLOSE int layer = idmap_clone(path, false, userns, e);
		if (layer < 0 || idmap_attach(layer, path, e) < 0)
			return -1;
	}
	return overlay_mount(lower, upper, work, NULL, e);
}

/* The error, with the descriptor of the mount when there is none. */
static void send_result(int sock, int fd, struct err *e)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {e, sizeof *e};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
	if (fd >= 0) {
		e->kind = ERR_OK;
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	(void)sendmsg(sock, &m, MSG_NOSIGNAL);
}

static int receive_result(int sock, struct err *e)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct err theirs;
	struct iovec data = {&theirs, sizeof theirs};
	struct msghdr m = {.msg_iov = &data,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	ssize_t n;
	int fd = -1;
	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	if (n != (ssize_t)sizeof theirs || (theirs.kind == ERR_OK && fd < 0))
		return err_set(e, ERR_FAILED, "idmapped overlay: the helper process ended early");
	if (fd < 0)
		*e = theirs;
	return fd;
}

int idmap_overlay(const json_t *lower, const char *upper, const char *work, const char *target,
		  int userns, struct err *e)
{
	int pair[2];
	pid_t parent = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	AUTO_CLOSE int ours = pair[0];
	AUTO_CLOSE int theirs = pair[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (pid == 0) {
		struct err why;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			send_result(theirs, overlay_here(lower, upper, work, userns, &why), &why);
		_exit(0);
	}
	auto_close(&theirs);
	theirs = -1;
	AUTO_CLOSE int fd = receive_result(ours, e);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (fd < 0 || (target && idmap_attach(fd, target, e) < 0))
		return -1;
	return TAKE_FD(fd);
}
