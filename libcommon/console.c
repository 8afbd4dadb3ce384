/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include "auto.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

int console_listen(int dirfd, const char *name, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/%s", dirfd, name);
	unlinkat(dirfd, name, 0);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 1) < 0)
		return err_sys(e, "console socket");
	return TAKE_FD(fd);
}

void console_path(int dirfd, const char *name, char *out, size_t size)
{
	snprintf(out, size, "/proc/%d/fd/%d/%s", (int)getpid(), dirfd, name);
}

int console_receive(int listening, struct err *e)
{
	char bytes[256]; /* runc sends the terminal's name along */
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {bytes, sizeof bytes};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof control};
	struct timeval limit = {.tv_sec = 5};
	AUTO_CLOSE int conn = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (conn < 0)
		return err_sys(e, "console socket");
	/* Who connects sends at once; one that does not must not hold us. */
	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (recvmsg(conn, &msg, MSG_CMSG_CLOEXEC) < 0)
		return err_sys(e, "console socket");
	const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof fd))
		return err_set(e, ERR_FAILED, "the runtime sent no terminal");
	memcpy(&fd, CMSG_DATA(c), sizeof fd);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}
