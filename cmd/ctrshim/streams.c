/* SPDX-License-Identifier: Apache-2.0 */
#include "streams.h"

#include "auto.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <termios.h>

static const char *const names[STREAMS] = {"stdin", "stdout", "stderr"};
/* A pump stops after so many, for others to have their turn. */
enum { ROUNDS = 16 };
static struct termios saved;

/* ---- pumps */

static void pump(struct pump *p);

static void on_in(struct watch *w, uint32_t events)
{
	struct pump *p = w->arg;
	(void)events;
	loop_del(p->s->loop, &p->in);
	pump(p);
}

static void on_out(struct watch *w, uint32_t events)
{
	struct pump *p = w->arg;
	(void)events;
	loop_del(p->s->loop, &p->out);
	pump(p);
}

static void end(struct pump *p)
{
	struct streams *s = p->s;
	p->ended = true;
	loop_del(s->loop, &p->in);
	loop_del(s->loop, &p->out);
	auto_close(&p->from);
	auto_close(&p->to);
	p->from = p->to = -1;
	if (p == &s->pump[0])
		s->input_ended(s->arg);
	else
		s->output_ended(s->arg);
}

/* 1 = go on, 0 = wait for the other side, -1 = over. */
static int write_some(struct pump *p)
{
	ssize_t n = p->out_is_gone ? (ssize_t)(p->len - p->at)
				   : write(p->to, p->bytes + p->at, p->len - p->at);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0 && errno == EINTR)
		return 1;
	/* A container whose output nobody can take goes on; input that nobody takes is over. */
	if (n < 0 && p == &p->s->pump[0])
		return -1;
	if (n < 0) {
		p->out_is_gone = true;
		return 1;
	}
	p->at += (size_t)n;
	return 1;
}

static int read_some(struct pump *p)
{
	ssize_t n = read(p->from, p->bytes, PUMP_SIZE);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return -1;
	p->at = 0;
	p->len = (size_t)n;
	return 1;
}

/* Called again when there may be more to do. A file that epoll does not know is always ready. */
static void want(struct pump *p, struct watch *w, int fd, uint32_t events,
		 void (*cb)(struct watch *, uint32_t))
{
	struct err e;
	if (w->fd < 0 && loop_add(p->s->loop, w, fd, events, cb, p, &e) < 0)
		end(p);
}

static bool can_wait(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
	       !(S_ISCHR(st.st_mode) && major(st.st_rdev) == 1);
}

static void pump(struct pump *p)
{
	int rounds = ROUNDS;
	bool waits = can_wait(p->from);
	while (!p->ended && (rounds-- > 0 || !waits)) {
		bool writes = p->at < p->len;
		int r = writes ? write_some(p) : read_some(p);
		if (r < 0)
			end(p);
		else if (r == 0 && writes)
			want(p, &p->out, p->to, EPOLLOUT, on_out);
		else if (r == 0)
			want(p, &p->in, p->from, EPOLLIN, on_in);
		if (r <= 0)
			return;
	}
	if (p->ended)
		return;
	if (p->at < p->len && !p->out_is_gone && can_wait(p->to))
		want(p, &p->out, p->to, EPOLLOUT, on_out);
	else
		want(p, &p->in, p->from, EPOLLIN, on_in);
}

/* ---- descriptors */

/* The same file with a description of our own, which can be made non-blocking without the caller's
 * noticing; what cannot be opened anew (a socket), or has a position to be shared, is used as it is.
 */
static int open_again(int fd)
{
	char path[32];
	struct stat st;
	int mode = fcntl(fd, F_GETFL);
	if (mode < 0)
		return -1;
	if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int flags = (mode & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_NOCTTY;
	int again = open(path, flags | O_CLOEXEC);
	return again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool is_nothing(int fd)
{
	struct stat st;
	return fd < 0 || fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int take_descriptors(struct streams *s, int log, struct err *e)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_sys(e, "/dev/null");
	for (int i = 0; i < STREAMS; i++) {
		s->held[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
		if (dup2(i == 2 && log >= 0 ? log : null, i) < 0)
			return err_sys(e, "descriptor %d", i);
	}
	close(null);
	return 0;
}

static int make_fifo(struct streams *s, int i, const char *path, struct err *e)
{
	if (mkfifoat(s->dir, names[i], 0600) < 0)
		return err_sys(e, "make FIFO %s", names[i]);
	s->path[i] = xasprintf("%s/%s", path, names[i]);
	/* Reading and writing: that never waits for the shim, and what is written before the shim
	 * reads is kept. */
	int flags = (i == 0 ? O_RDWR : O_RDONLY) | O_NONBLOCK;
	int fd = openat(s->dir, names[i], flags | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open FIFO %s", names[i]);
	if (i == 0)
		s->pump[i].to = fd;
	else
		s->pump[i].from = fd;
	return 0;
}

/* ---- terminals */

static int connect_to(const char *path, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof sa.sun_path)
		return err_set(e, ERR_BAD_INPUT, "console socket %s: path too long", path);
	memcpy(sa.sun_path, path, strlen(path));
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return err_sys(e, "console socket %s", path);
	return TAKE_FD(fd);
}

static int send_master(const char *path, int master, struct err *e)
{
	char name[] = "/dev/ptmx";
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {name, sizeof name - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof control};
	AUTO_CLOSE int fd = connect_to(path, e);
	if (fd < 0)
		return -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof master);
	memcpy(CMSG_DATA(c), &master, sizeof master);
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? err_sys(e, "console socket %s", path) : 0;
}

static int open_terminal(struct streams *s, const char *console, struct err *e)
{
	struct termios raw;
	char name[64];
	AUTO_CLOSE int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof name) != 0)
		return err_sys(e, "make a terminal");
	s->terminal = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->terminal < 0 || tcgetattr(s->terminal, &raw) < 0)
		return err_sys(e, "terminal %s", name);
	/* The shim's does what a terminal does; here bytes only pass. */
	cfmakeraw(&raw);
	if (tcsetattr(s->terminal, TCSANOW, &raw) < 0)
		return err_sys(e, "terminal %s", name);
	/* As the session's terminal it tells us of its size by SIGWINCH. */
	ioctl(s->terminal, TIOCSCTTY, 0);
	return send_master(console, master, e);
}

bool streams_size(const struct streams *s, int *width, int *height)
{
	struct winsize ws;
	int fd = s->terminal >= 0 ? s->terminal : s->is_raw ? s->held[0] : -1;
	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &ws) < 0 || !ws.ws_col || !ws.ws_row)
		return false;
	*width = ws.ws_col;
	*height = ws.ws_row;
	return true;
}

void streams_set_size(const struct streams *s, int width, int height)
{
	struct winsize ws = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
	if (s->terminal >= 0 && width > 0 && height > 0)
		ioctl(s->terminal, TIOCSWINSZ, &ws);
}

/* ---- all of it */

static int open_ends(struct streams *s, const char *path, bool terminal, struct err *e)
{
	int outer[STREAMS];
	for (int i = 0; i < STREAMS; i++)
		outer[i] = s->terminal >= 0 ? s->terminal : s->held[i];
	if (!is_nothing(outer[0])) {
		if (make_fifo(s, 0, path, e) < 0)
			return -1;
		s->pump[0].from = open_again(outer[0]);
	}
	for (int i = 1; i < (terminal ? 2 : STREAMS); i++) {
		if (make_fifo(s, i, path, e) < 0)
			return -1;
		s->pump[i].to = open_again(outer[i]);
		s->pump[i].out_is_gone = s->pump[i].to < 0;
	}
	return 0;
}

int streams_open(struct streams *s, struct loop *l, int dir, const char *path, bool terminal,
		 const char *console, int log, struct err *e)
{
	s->loop = l;
	s->dir = dir;
	s->terminal = -1;
	for (int i = 0; i < STREAMS; i++) {
		s->held[i] = -1;
		s->pump[i] = (struct pump){
			.in = WATCH_NONE, .out = WATCH_NONE, .from = -1, .to = -1, .s = s};
	}
	if (take_descriptors(s, log, e) < 0)
		return -1;
	if (terminal && console && open_terminal(s, console, e) < 0)
		return -1;
	if (terminal && !console && tcgetattr(s->held[0], &saved) == 0) {
		struct termios raw = saved;
		cfmakeraw(&raw);
		s->is_raw = tcsetattr(s->held[0], TCSANOW, &raw) == 0;
	}
	return open_ends(s, path, terminal, e);
}

int streams_begin(struct streams *s, struct err *e)
{
	(void)e;
	for (int i = 0; i < STREAMS; i++) {
		struct pump *p = &s->pump[i];
		if (!s->path[i]) {
			p->ended = true;
			continue;
		}
		p->bytes = xmalloc(PUMP_SIZE);
		/* A FIFO that nobody has opened yet reads as ended: wait for its first word. */
		if (i == 0)
			pump(p);
		else
			want(p, &p->in, p->from, EPOLLIN, on_in);
	}
	return 0;
}

bool streams_drained(const struct streams *s)
{
	return s->pump[1].ended && s->pump[2].ended;
}

void streams_close(struct streams *s)
{
	for (int i = 0; i < STREAMS; i++) {
		struct pump *p = &s->pump[i];
		loop_del(s->loop, &p->in);
		loop_del(s->loop, &p->out);
		auto_close(&p->from);
		auto_close(&p->to);
		if (s->path[i])
			unlinkat(s->dir, names[i], 0);
		free(s->path[i]);
		free(p->bytes);
	}
	if (s->is_raw)
		tcsetattr(s->held[0], TCSADRAIN, &saved);
	for (int i = 0; i < STREAMS; i++)
		auto_close(&s->held[i]);
	auto_close(&s->terminal);
}
