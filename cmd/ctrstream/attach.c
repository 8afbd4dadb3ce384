/* SPDX-License-Identifier: Apache-2.0 */
/* Attach: the container's monitor hands over the ends of its streams (ctrmon(1)). */
#include "ctrstream.h"

#include "auto.h"
#include "flatjson.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { MESSAGE_MAX = 8192, ANSWER_S = 10 };

struct attach {
	struct remote r;
	struct watch ctl; /* the monitor; closed = it has ended, and the container with it */
	bool ended;
};

static void check_end(struct attach *a)
{
	if (a->ended && !remote_outputs_open(&a->r))
		remote_success(&a->r);
}

static void outputs_ended(struct remote *r)
{
	check_end(r->arg);
}

static void hung_up(struct remote *r)
{
	loop_stop(r->loop);
}

/* Its answers are read as they come, and say nothing new. */
static void tell(struct attach *a, const char *text, size_t len)
{
	if (a->ctl.fd >= 0 && send(a->ctl.fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("monitor: %s", strerrordesc_np(errno));
}

static void stdin_ended(struct remote *r)
{
	static const char text[] = "{\"op\":\"stdin_end\"}";
	tell(r->arg, text, sizeof text - 1);
}

static void resize(struct remote *r, unsigned width, unsigned height)
{
	char text[80];
	int n = snprintf(text, sizeof text, "{\"op\":\"resize\",\"width\":%u,\"height\":%u}", width,
			 height);
	tell(r->arg, text, (size_t)n);
}

static const struct remote_ops ops = {
	.resize = resize,
	.stdin_ended = stdin_ended,
	.outputs_ended = outputs_ended,
	.hung_up = hung_up,
};

static void on_monitor(struct watch *w, uint32_t events)
{
	struct attach *a = w->arg;
	char text[MESSAGE_MAX], event[16];
	struct err e;
	(void)events;
	ssize_t n = recv(w->fd, text, sizeof text, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		int fd = w->fd;
		loop_del(a->r.loop, w);
		close(fd);
		a->ended = true;
		check_end(a);
	} else if (flatjson_string(text, (size_t)n, "event", event, sizeof event) &&
		   strcmp(event, "dropped") == 0) {
		err_set(&e, ERR_EXHAUSTED, "the client was too slow for the container's output");
		remote_failure(&a->r, &e);
	}
}

static int connect_monitor(const struct start *s, const char *typed, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_S};
	char id[ID_SIZE];
	if (object_resolve(&s->ctx->st, OBJ_CONTAINER, typed, id, e) < 0)
		return -1;
	AUTO_CLOSE int dir = object_open_run(&s->ctx->st, OBJ_CONTAINER, id, false, e);
	if (dir < 0)
		return -1;
	/* Below /proc/self/fd no path is too long for a socket. */
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/ctl.sock", dir);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
		return err_sys(e, "socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return err_set(e, ERR_BAD_STATE, "container %s is not running", id);
	return TAKE_FD(fd);
}

/* The monitor's answer: descriptors for those of the three that it says. */
static int take_streams(const char *text, size_t len, const struct cmsghdr *c, int fds[3],
			struct err *e)
{
	static const char *const names[3] = {"stdin", "stdout", "stderr"};
	int got[3], n = 0, used = 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof *got);
		memcpy(got, CMSG_DATA(c), (size_t)n * sizeof *got);
	}
	for (int i = 0; i < 3; i++) {
		int64_t has = 0;
		if (flatjson_int(text, len, names[i], &has) && has && used < n)
			fds[i] = got[used++];
	}
	while (used < n)
		close(got[used++]);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
	char code[32], why[900];
	if (!flatjson_string(text, len, "code", code, sizeof code))
		return 0;
	if (!flatjson_string(text, len, "msg", why, sizeof why))
		return err_set(e, err_kind_of_name(code), "the monitor refuses");
	return err_set(e, err_kind_of_name(code), "%s", why);
}

static int ask(int ctl, const struct stream_flags *f, int fds[3], struct err *e)
{
	char text[MESSAGE_MAX];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec iov = {text, sizeof text};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof control};
	/* With a terminal there is but one output. */
	int n = snprintf(text, sizeof text,
			 "{\"op\":\"attach\",\"stdin\":%d,\"stdout\":%d,\"stderr\":%d}", f->in,
			 f->out, f->err);
	if (send(ctl, text, (size_t)n, MSG_NOSIGNAL) < 0)
		return err_sys(e, "ask the monitor");
	ssize_t len = recvmsg(ctl, &msg, MSG_CMSG_CLOEXEC);
	if (len <= 0)
		return len < 0 ? err_sys(e, "the monitor does not answer")
			       : err_set(e, ERR_BAD_STATE, "the container has ended");
	return take_streams(text, (size_t)len, CMSG_FIRSTHDR(&msg), fds, e);
}

static int begin(struct attach *a, const struct start *s, const char *ctr, struct err *e)
{
	int fds[3] = {-1, -1, -1};
	AUTO_CLOSE int ctl = connect_monitor(s, ctr, e);
	if (ctl < 0)
		return -1;
	int r = ask(ctl, &s->flags, fds, e);
	remote_attach(&a->r, fds[0], fds[1], fds[2]);
	if (r < 0 || loop_add(s->client.loop, &a->ctl, ctl, EPOLLIN, on_monitor, a, e) < 0)
		return -1;
	(void)TAKE_FD(ctl);
	return 0;
}

int attach_session(struct start *s, const char *ctr, struct err *e)
{
	struct attach a = {.ctl = WATCH_NONE};
	struct err why;
	if (remote_open(&a.r, &s->client, WORK_ATTACH, &s->flags, &ops, &a, e) < 0) {
		remote_release(&a.r);
		return -1;
	}
	if (!a.r.hung_up && begin(&a, s, ctr, &why) < 0)
		remote_failure(&a.r, &why);
	int r = a.r.hung_up ? 0 : loop_run(s->client.loop, e);
	int fd = a.ctl.fd;
	loop_del(s->client.loop, &a.ctl);
	auto_close(&fd);
	remote_release(&a.r);
	return r;
}
