/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include "auto.h"
#include "fs.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { BACKLOG = 128, FIRST_HANDED_FD = 3 };

static int set_address(struct sockaddr_un *a, const char *path, struct err *e)
{
	size_t n = strlen(path);
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n >= sizeof a->sun_path)
		return err_set(e, ERR_BAD_INPUT, "socket %s: the path is longer than %zu bytes",
			       path, sizeof a->sun_path - 1);
	memcpy(a->sun_path, path, n + 1);
	return 0;
}

static int make_flags(int fd, struct err *e)
{
	int fl = fcntl(fd, F_GETFL);
	if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, "socket handed over as descriptor %d", fd);
	return 0;
}

/* The socket that LISTEN_FDS hands over (sd_listen_fds(3)), or -1 with kind ERR_OK when there is
 * none. */
static int handed_over(struct err *e)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	AUTO_FREE char *self = xasprintf("%ld", (long)getpid());
	bool ours = pid && fds && strcmp(pid, self) == 0;
	int fd = FIRST_HANDED_FD, on = 0, domain = 0;
	socklen_t len = sizeof on, domain_len = sizeof domain;
	e->kind = ERR_OK;
	if (ours && strcmp(fds, "1") != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "LISTEN_FDS is '%s': one socket can be handed over", fds);
	/* Not for the programs that we start. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!ours)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) < 0 || !on ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0 || domain != AF_UNIX)
		return err_set(e, ERR_BAD_INPUT,
			       "LISTEN_FDS: descriptor %d is not a listening unix socket", fd);
	return make_flags(fd, e) < 0 ? -1 : fd;
}

/* What is at the path: 0 nothing, 1 a socket that nobody answers on; anything else is an error. */
static int check_stale(const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "socket %s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_EXISTS, "socket %s: there is a file that is not a socket",
			       a->sun_path);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN)
		return err_set(e, ERR_UNAVAILABLE, "socket %s: another program listens on it",
			       a->sun_path);
	return 1;
}

static int bind_and_listen(int fd, const struct sockaddr_un *a)
{
	mode_t old = umask(0117);
	int r = bind(fd, (const struct sockaddr *)a, sizeof *a);
	umask(old);
	return r < 0 ? r : listen(fd, BACKLOG);
}

/* Bind beside the path and rename: a client finds the dead socket or the live one, never none. The
 * directory's descriptor keeps the temporary name short enough whatever the path's length. */
static int replace(int fd, const char *path, struct err *e)
{
	AUTO_FREE char *dir_copy = xstrdup(path);
	AUTO_FREE char *base_copy = xstrdup(path);
	AUTO_FREE char *tmp = xasprintf(".crispd.%ld", (long)getpid());
	struct sockaddr_un a;
	AUTO_CLOSE int dir = open(dirname(dir_copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "socket %s", path);
	AUTO_FREE char *through = xasprintf("/proc/self/fd/%d/%s", dir, tmp);
	if (set_address(&a, through, e) < 0)
		return -1;
	unlinkat(dir, tmp, 0);
	if (bind_and_listen(fd, &a) < 0 || renameat(dir, tmp, dir, basename(base_copy)) < 0) {
		err_sys(e, "socket %s", path);
		unlinkat(dir, tmp, 0);
		return -1;
	}
	return 0;
}

/* The bound name is what ss(8) shows of a socket for ever: the path itself, unless a dead one has
 * to be replaced. */
static int take_path(struct listener *l, int fd, const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	int stale = check_stale(a, e);
	if (stale < 0 || (stale && replace(fd, a->sun_path, e) < 0))
		return -1;
	if (!stale && bind_and_listen(fd, a) < 0)
		return err_sys(e, "socket %s", a->sun_path);
	if (lstat(a->sun_path, &st) < 0)
		return err_sys(e, "socket %s", a->sun_path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int listener_open(struct listener *l, const char *address, struct err *e)
{
	static const char scheme[] = "unix://";
	const char *path =
		strncmp(address, scheme, sizeof scheme - 1) ? address : address + sizeof scheme - 1;
	struct sockaddr_un a;
	*l = LISTENER_NONE;
	l->fd = handed_over(e);
	if (l->fd >= 0)
		return 0;
	if (e->kind != ERR_OK)
		return -1;
	if (path[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "socket %s: the path is not absolute", path);
	if (set_address(&a, path, e) < 0)
		return -1;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	if (take_path(l, fd, &a, e) < 0)
		return -1;
	l->fd = TAKE_FD(fd);
	l->path = xstrdup(path);
	return 0;
}

void listener_close(struct listener *l)
{
	struct stat st;
	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	*l = LISTENER_NONE;
}
