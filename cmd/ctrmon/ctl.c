/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "flatjson.h"
#include "monitor.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { REQUEST_MAX = 4096, REPLY_MAX = 8192 };

void ctl_drop(struct ctl_client *c)
{
	attach_end(c);
	loop_close(c->m->loop, &c->watch);
	guard_end(c);
}

/* A reply that does not fit into the client's socket at once costs it the connection: nobody waits
 * for a client here. */
static void reply(struct ctl_client *c, const struct buf *b)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof c->pass)];
	} control = {0};
	struct iovec iov = {b->data, b->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (c->n_pass) {
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(c->n_pass * sizeof *c->pass);
		memcpy(CMSG_DATA(&control.h), c->pass, c->n_pass * sizeof *c->pass);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(c->n_pass * sizeof *c->pass);
	}
	bool failed = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
	while (c->n_pass)
		close(c->pass[--c->n_pass]);
	if (failed)
		ctl_drop(c);
}

static void reply_error(struct ctl_client *c, const struct err *why)
{
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(REPLY_MAX);
	buf_addf(&b, &e, "{\"ok\":false,\"code\":\"%s\",\"msg\":", err_name(why));
	flatjson_put(&b, why->msg, strlen(why->msg), &e);
	buf_addstr(&b, "}", &e);
	reply(c, &b);
}

static int op_reopen(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		     struct err *e)
{
	struct monitor *m = c->m;
	(void)text;
	(void)len;
	if (m->state != MON_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container is not running");
	if (logfile_reopen(&m->log, e) < 0)
		return -1;
	return buf_addstr(out, "{\"ok\":true}", e);
}

static int op_status(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		     struct err *e)
{
	const struct monitor *m = c->m;
	(void)text;
	(void)len;
	return buf_addf(out, e,
			"{\"ok\":true,\"state\":\"%s\",\"pid\":%d,\"log\":\"%s\","
			"\"lost_lines\":%llu,\"dropped_lines\":%llu}",
			monitor_state_name(m), (int)runtime_pid(m), logfile_health(&m->log),
			(unsigned long long)m->log.lost_total,
			(unsigned long long)m->log.limit.dropped_total);
}

static int op_resize(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		     struct err *e)
{
	int64_t width, height;
	if (!flatjson_int(text, len, "width", &width) ||
	    !flatjson_int(text, len, "height", &height))
		return err_set(e, ERR_BAD_INPUT, "resize: width and height are needed");
	if (stdio_resize(&c->m->io, width, height, e) < 0)
		return -1;
	return buf_addstr(out, "{\"ok\":true}", e);
}

/* To the container's first process, by the pidfd: no runtime is asked. */
static int op_signal(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		     struct err *e)
{
	int64_t n;
	if (!flatjson_int(text, len, "signal", &n) || n < 1 || n > SIGRTMAX)
		return err_set(e, ERR_BAD_INPUT, "signal: a number from 1 to %d is needed",
			       SIGRTMAX);
	if (c->m->pidfd < 0 || c->m->state != MON_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container is not running");
	if (c->m->opts->wait)
		return err_set(e, ERR_UNSUPPORTED, "signal: only the runtime sees the process");
	if (pidfd_send_signal(c->m->pidfd, (int)n, NULL, 0) < 0)
		return err_sys(e, "signal %d", (int)n);
	return buf_addstr(out, "{\"ok\":true}", e);
}

/* With --wait: `RUNTIME start` has been run, or never will be. */
static int op_started(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		      struct err *e)
{
	(void)text;
	(void)len;
	if (c->m->opts->wait)
		waiter_started(c->m);
	return buf_addstr(out, "{\"ok\":true}", e);
}

static int op_gone(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		   struct err *e)
{
	(void)text;
	(void)len;
	if (!c->m->opts->wait)
		return err_set(e, ERR_UNSUPPORTED, "gone: its process tells that");
	waiter_gone(c->m);
	return buf_addstr(out, "{\"ok\":true}", e);
}

static int op_stdin_end(struct ctl_client *c, const char *text, size_t len, struct buf *out,
			struct err *e)
{
	(void)text;
	(void)len;
	attach_stdin_end(c);
	return buf_addstr(out, "{\"ok\":true}", e);
}

/* "wait" is answered when exit.json is on disk. */
static const struct {
	const char *name;
	int (*run)(struct ctl_client *c, const char *text, size_t len, struct buf *out,
		   struct err *e);
} ops[] = {
	{"reopen", op_reopen},    {"status", op_status},       {"resize", op_resize},
	{"attach", attach_begin}, {"stdin_end", op_stdin_end}, {"signal", op_signal},
	{"started", op_started},  {"gone", op_gone},           {"stdio", waiter_stdio},
};

void ctl_tell_exit(struct monitor *m)
{
	static char text[] = "{\"ok\":true,\"event\":\"exited\"}";
	const struct buf b = {.data = text, .len = sizeof text - 1};
	for (size_t i = 0; i < m->ctl.high; i++) {
		struct ctl_client *c = &m->ctl.client[i];
		if (c->watch.fd < 0 || !c->waits)
			continue;
		c->waits = false;
		reply(c, &b);
	}
}

void ctl_serve(struct ctl_client *c, const char *text, size_t len)
{
	char name[16];
	struct err e;
	AUTO_BUF struct buf out = BUF_INIT(REPLY_MAX);
	if (!flatjson_string(text, len, "op", name, sizeof name)) {
		err_set(&e, ERR_BAD_INPUT, "request is not an object with an op");
		reply_error(c, &e);
		return;
	}
	if (strcmp(name, "wait") == 0) {
		c->waits = true;
		if (c->m->recorded)
			ctl_tell_exit(c->m);
		return;
	}
	if (strcmp(name, "guard") == 0 || strcmp(name, "guard_end") == 0) {
		if (name[5])
			c->guard[0] = '\0';
		else if (guard_begin(c, text, len, &e) < 0)
			reply_error(c, &e);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (strcmp(ops[i].name, name) != 0)
			continue;
		if (ops[i].run(c, text, len, &out, &e) < 0)
			reply_error(c, &e);
		else
			reply(c, &out);
		return;
	}
	err_set(&e, ERR_UNSUPPORTED, "unknown op '%s'", name);
	reply_error(c, &e);
}

static void on_request(struct watch *w, uint32_t events)
{
	struct ctl_client *c = w->arg;
	char text[REQUEST_MAX];
	(void)events;
	ssize_t n = recv(w->fd, text, sizeof text, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (size_t)n > sizeof text)
		ctl_drop(c);
	else
		ctl_serve(c, text, (size_t)n);
}

static void on_connect(struct watch *w, uint32_t events)
{
	struct monitor *m = w->arg;
	struct err e;
	(void)events;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (size_t i = 0; i < CTL_CLIENTS; i++) {
		struct ctl_client *c = &m->ctl.client[i];
		if (i < m->ctl.high && (c->watch.fd >= 0 || c->guard[0]))
			continue;
		if (i >= m->ctl.high)
			m->ctl.high = i + 1;
		*c = (struct ctl_client){.watch = WATCH_NONE, .m = m, .out = {-1, -1}};
		if (loop_add(m->loop, &c->watch, fd, EPOLLIN, on_request, c, &e) < 0)
			break;
		return;
	}
	close(fd);
}

int ctl_open(struct monitor *m, struct err *e)
{
	/* Pages that no client has used are none of ours; an object on the stack would be zeroed. */
	static struct ctl_client clients[CTL_CLIENTS];
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	m->ctl.client = clients;
	/* Below /proc/self/fd no path is too long for a socket. */
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/ctl.sock", m->run_dir);
	/* Ours by the monitor's lock: whatever is there was left by a dead one. */
	unlinkat(m->run_dir, "ctl.sock", 0);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 64) < 0)
		return err_sys(e, "control socket");
	if (loop_add(m->loop, &m->ctl.listen, fd, EPOLLIN, on_connect, m, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return 0;
}

void ctl_close(struct monitor *m)
{
	if (m->ctl.listen.fd < 0)
		return;
	for (size_t i = 0; i < m->ctl.high; i++) {
		guard_release(&m->ctl.client[i]);
		if (m->ctl.client[i].watch.fd >= 0)
			ctl_drop(&m->ctl.client[i]);
	}
	loop_close(m->loop, &m->ctl.listen);
	unlinkat(m->run_dir, "ctl.sock", 0);
}
