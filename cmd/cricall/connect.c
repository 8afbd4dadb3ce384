/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "client.h"
#include "proc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address holds 107 bytes; longer paths are reached through a descriptor of the socket's file,
 * which *keep holds until connect() is done. */
static int make_address(const char *path, struct sockaddr_un *a, int *keep, struct err *e)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) < sizeof a->sun_path) {
		snprintf(a->sun_path, sizeof a->sun_path, "%s", path);
		return 0;
	}
	*keep = open(path, O_PATH | O_CLOEXEC);
	if (*keep < 0)
		return err_sys(e, "connect %s", path);
	snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d", *keep);
	return 0;
}

/* A full backlog is EAGAIN at once on a Unix socket, and nothing tells when there is room. */
static int connect_until(int fd, const struct sockaddr_un *a, long long due_ms)
{
	while (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -1;
		if (due_ms >= 0 && proc_now_ms() >= due_ms) {
			errno = ETIMEDOUT;
			return -1;
		}
		poll(NULL, 0, 20);
	}
	return 0;
}

int client_connect(const char *socket_name, long long due_ms, struct err *e)
{
	const char *path = socket_name;
	struct sockaddr_un a;
	AUTO_CLOSE int keep = -1;
	if (strncmp(path, "unix://", 7) == 0)
		path += 7;
	else if (strncmp(path, "unix:", 5) == 0)
		path += 5;
	else if (strstr(path, "://"))
		return err_set(e, ERR_UNSUPPORTED, "%s: only Unix sockets are supported", path);
	if (!*path)
		return err_set(e, ERR_USAGE, "the name of the socket is empty");
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	if (make_address(path, &a, &keep, e) == 0) {
		if (connect_until(fd, &a, due_ms) == 0)
			return TAKE_FD(fd);
		err_sys(e, "connect %s", path);
	}
	/* "No such object" is for what the call is about. */
	if (e->errnum == ENOENT || e->errnum == ECONNREFUSED)
		e->kind = ERR_UNAVAILABLE;
	return -1;
}
