/* SPDX-License-Identifier: Apache-2.0 */
/* Port-forward: each pair of channels, data and error, is one TCP connection in the pod. */
#include "ctrstream.h"

#include "auto.h"
#include "confine.h"
#include "record.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>

enum { READ_SIZE = 64 << 10, CONNECT_MS = 30 * 1000 };

enum pair_state { PAIR_WAITING, PAIR_CONNECTING, PAIR_OPEN };

struct forward;

struct pair {
	struct pair *next;
	struct forward *f;
	enum pair_state state;
	char request[24];
	unsigned port;
	struct chan *data, *error;
	struct watch watch;
	struct timer clock;
	int fd; /* -1 = none */
	int family;
	int refusal;  /* errno of the first try */
	bool eof;     /* the pod's side sends no more */
	bool shut;    /* it has been told that the client sends no more */
	bool blocked; /* it takes nothing now */
};

struct forward {
	struct loop *loop;
	struct link link;
	long long creation_ms;
	struct pair *pairs;
	struct watch pin; /* tells when the pod's network is given up */
	char pin_name[128];
	bool gone;
};

static uint8_t chunk[READ_SIZE];

static void pair_free(struct pair *p)
{
	struct forward *f = p->f;
	for (struct pair **q = &f->pairs; *q; q = &(*q)->next)
		if (*q == p) {
			*q = p->next;
			break;
		}
	loop_timer_cancel(f->loop, &p->clock);
	loop_del(f->loop, &p->watch);
	auto_close(&p->fd);
	if (p->data)
		chan_release(p->data);
	if (p->error) {
		chan_end(p->error);
		chan_release(p->error);
	}
	free(p);
	if (!f->pairs && f->link.up.wire == WIRE_WS_CHANNELS)
		link_finish(&f->link);
}

/* It never came to a connection: the client is told why. */
static void pair_fail(struct pair *p, const char *why)
{
	AUTO_FREE char *text = xasprintf(
		"port %u of the pod cannot be reached at 127.0.0.1 or ::1: %s", p->port, why);
	if (p->error)
		chan_write(p->error, text, strlen(text));
	if (p->data)
		chan_end(p->data);
	pair_free(p);
}

/* It broke: the client's side breaks as well. No text: the Go client gives up its whole session
 * when it reads one, and this was one connection of many. */
static void pair_break(struct pair *p)
{
	chan_break(p->data);
	pair_free(p);
}

static void pair_connect(struct pair *p, int family);
static void on_socket(struct watch *w, uint32_t events);

static void pair_update(struct pair *p)
{
	struct loop *l = p->f->loop;
	struct err ignored;
	uint32_t want = 0;
	if (p->state == PAIR_CONNECTING)
		want = EPOLLOUT;
	else if (p->state == PAIR_OPEN)
		want = (!p->eof && chan_room(p->data) ? (uint32_t)EPOLLIN : 0) |
		       (p->blocked ? (uint32_t)EPOLLOUT : 0);
	/* A hang-up cannot be masked: out of the loop while there is nothing to do about it. */
	if (!want)
		loop_del(l, &p->watch);
	else if (p->watch.fd >= 0)
		loop_modify(l, &p->watch, want, &ignored);
	else
		loop_add(l, &p->watch, p->fd, want, on_socket, p, &ignored);
}

/* False when the pair is gone. */
static bool pair_send(struct pair *p)
{
	struct chan *c = p->data;
	p->blocked = false;
	while (c->in.len) {
		ssize_t n = send(p->fd, c->in.data, c->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			p->blocked = true;
			return true;
		}
		if (n < 0) {
			if (!p->eof) {
				pair_break(p);
				return false;
			}
			/* It has closed the connection and takes nothing: that was its end. */
			chan_consume(c, c->in.len);
			p->shut = true;
			return true;
		}
		chan_consume(c, (size_t)n);
	}
	if (c->in_ended && !p->shut) {
		shutdown(p->fd, SHUT_WR);
		p->shut = true;
	}
	return true;
}

static bool pair_receive(struct pair *p)
{
	size_t room = chan_room(p->data);
	if (!room || p->eof)
		return true;
	ssize_t n = recv(p->fd, chunk, room < READ_SIZE ? room : READ_SIZE, MSG_DONTWAIT);
	if (n > 0) {
		chan_write(p->data, chunk, (size_t)n);
	} else if (n == 0) {
		p->eof = true;
		chan_end(p->data);
	} else if (errno != EAGAIN && errno != EINTR) {
		pair_break(p);
		return false;
	}
	return true;
}

static void pair_run(struct pair *p)
{
	if (p->data->reset && p->state != PAIR_WAITING) {
		pair_free(p);
		return;
	}
	if (p->state != PAIR_OPEN)
		return;
	if (!pair_send(p))
		return;
	if (p->eof && p->shut)
		pair_free(p);
	else
		pair_update(p);
}

static void pair_connected(struct pair *p)
{
	int on = 1;
	p->state = PAIR_OPEN;
	loop_timer_cancel(p->f->loop, &p->clock);
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	pair_run(p);
}

static void pair_refused(struct pair *p, int errnum)
{
	loop_del(p->f->loop, &p->watch);
	auto_close(&p->fd);
	p->fd = -1;
	if (p->family == AF_INET6) {
		pair_fail(p, strerrordesc_np(p->refusal));
		return;
	}
	p->refusal = errnum;
	pair_connect(p, AF_INET6);
}

static void on_socket(struct watch *w, uint32_t events)
{
	struct pair *p = w->arg;
	int errnum = 0;
	socklen_t len = sizeof errnum;
	if (p->state == PAIR_CONNECTING) {
		if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
			errnum = errno;
		if (errnum)
			pair_refused(p, errnum);
		else
			pair_connected(p);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !pair_receive(p))
		return;
	pair_run(p);
}

static void on_clock(struct timer *t)
{
	struct pair *p = t->arg;
	pair_fail(p, p->state == PAIR_WAITING ? "its other stream was not opened" : "no answer");
}

static void pair_connect(struct pair *p, int family)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	socklen_t len = family == AF_INET ? sizeof a.v4 : sizeof a.v6;
	a.any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		a.v4.sin_port = htons((uint16_t)p->port);
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else {
		a.v6.sin6_port = htons((uint16_t)p->port);
		a.v6.sin6_addr = in6addr_loopback;
	}
	p->family = family;
	p->state = PAIR_CONNECTING;
	loop_timer(p->f->loop, &p->clock, CONNECT_MS, on_clock, p);
	p->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 || (connect(p->fd, &a.any, len) < 0 && errno != EINPROGRESS))
		pair_refused(p, errno);
	else
		pair_update(p);
}

/* ---- the link's calls */

/* Which pair it is of. The first clients sent no request id: the data stream followed the error
 * stream; WebSocket channels come in pairs. */
static void name_request(struct chan *c)
{
	if (c->link->up.wire == WIRE_WS_CHANNELS)
		snprintf(c->request, sizeof c->request, "%u", c->id / 2);
	else if (!*c->request)
		snprintf(c->request, sizeof c->request, "#%u",
			 c->kind == CHAN_DATA ? c->id - 2 : c->id);
}

static struct chan **place(struct pair *p, enum chan_kind kind)
{
	return kind == CHAN_DATA ? &p->data : &p->error;
}

static void on_complete(struct timer *t)
{
	struct pair *p = t->arg;
	if (p->data->reset)
		pair_free(p);
	else
		pair_connect(p, AF_INET);
}

static int on_open(void *arg, struct chan *c)
{
	struct forward *f = arg;
	if (f->gone || !c->port || (c->kind != CHAN_DATA && c->kind != CHAN_ERROR))
		return -1;
	name_request(c);
	struct pair *p = f->pairs;
	while (p && (p->state != PAIR_WAITING || strcmp(p->request, c->request) != 0))
		p = p->next;
	if (p && (*place(p, c->kind) || p->port != c->port))
		return -1;
	if (!p) {
		p = xcalloc(1, sizeof *p);
		p->f = f;
		p->fd = -1;
		p->watch = WATCH_NONE;
		p->port = c->port;
		memcpy(p->request, c->request, sizeof p->request);
		p->next = f->pairs;
		f->pairs = p;
		loop_timer(f->loop, &p->clock, f->creation_ms, on_clock, p);
	}
	*place(p, c->kind) = c;
	c->owner = p;
	/* Not from here: the stream has to be answered first. */
	if (p->data && p->error)
		loop_timer(f->loop, &p->clock, 0, on_complete, p);
	return 0;
}

static void on_input(void *arg, struct chan *c)
{
	struct forward *f = arg;
	struct pair *p = c->owner;
	if (f->gone || !p)
		return;
	if (c->kind == CHAN_ERROR)
		chan_consume(c, c->in.len);
	else
		pair_run(p);
}

static void on_room(void *arg)
{
	struct forward *f = arg;
	for (struct pair *p = f->pairs; p; p = p->next)
		if (p->state == PAIR_OPEN)
			pair_update(p);
}

static void on_gone(void *arg)
{
	struct forward *f = arg;
	f->gone = true;
	loop_stop(f->loop);
}

static const struct link_events link_events = {on_open, on_input, on_room, on_gone};

/* The pod is stopped: our being here must not keep its network alive. */
static void on_pin(struct watch *w, uint32_t events)
{
	struct forward *f = w->arg;
	union {
		struct inotify_event e;
		char bytes[4096];
	} u;
	(void)events;
	ssize_t n = read(w->fd, u.bytes, sizeof u);
	for (ssize_t at = 0; at + (ssize_t)sizeof u.e <= n;) {
		struct inotify_event e;
		memcpy(&e, u.bytes + at, sizeof e);
		const char *name = u.bytes + at + sizeof e;
		if (e.len && strcmp(name, f->pin_name) == 0)
			loop_stop(f->loop);
		at += (ssize_t)(sizeof e + e.len);
	}
}

static int watch_pin(struct forward *f, const char *netns, struct err *e)
{
	AUTO_FREE char *dir = xstrdup(netns);
	char *slash = strrchr(dir, '/');
	if (!slash)
		return 0; /* the host's */
	*slash = '\0';
	snprintf(f->pin_name, sizeof f->pin_name, "%s", slash + 1);
	AUTO_CLOSE int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, dir, IN_DELETE | IN_MOVED_FROM) < 0)
		return err_sys(e, "watch %s", dir);
	if (loop_add(f->loop, &f->pin, fd, EPOLLIN, on_pin, f, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return 0;
}

static int find_netns(struct forward *f, const struct start *s, const char *typed, struct err *e)
{
	char id[ID_SIZE];
	AUTO_POD_RECORD struct pod_record r = {0};
	if (object_resolve(&s->ctx->st, OBJ_POD, typed, id, e) < 0 ||
	    pod_record_read(&s->ctx->st, id, &r, e) < 0)
		return -1;
	if (strcmp(r.state, "ready") != 0)
		return err_set(e, ERR_BAD_STATE, "pod %s is %s, not ready", id, r.state);
	return watch_pin(f, r.netns, e) < 0 ? -1 : confine_to_network(r.netns, e);
}

int forward_session(struct start *s, const char *pod, const unsigned *ports, size_t n_ports,
		    struct err *e)
{
	struct forward f = {.loop = s->client.loop,
			    .creation_ms = s->client.creation_ms,
			    .link = {.sock = WATCH_NONE},
			    .pin = WATCH_NONE};
	if (find_netns(&f, s, pod, e) < 0) {
		link_refuse(s->client.fd, e);
		return -1;
	}
	int r = link_open(&f.link, &s->client, WORK_PORTFORWARD, &link_events, &f, e);
	if (r == 0)
		r = link_ports(&f.link, ports, n_ports);
	if (r == 0 && !f.gone)
		r = loop_run(f.loop, e);
	f.gone = true;
	for (struct pair *p = f.pairs, *next; p; p = next) {
		next = p->next;
		pair_free(p);
	}
	link_release(&f.link);
	int fd = f.pin.fd;
	loop_del(f.loop, &f.pin);
	auto_close(&fd);
	return r;
}
