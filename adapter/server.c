/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include "auto.h"
#include "http2.h"
#include "listen.h"
#include "log.h"
#include "xalloc.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	READ_SIZE = 64 << 10,
	OUT_ENOUGH = 128 << 10, /* what one send(2) is given; a client that does not take it is not
				   read either */
	OUT_LIMIT = 1 << 20,
	ACCEPTS_PER_TURN = 64,
	ACCEPT_PAUSE_MS = 200,
	GREETING_MS = 10000,
};

struct conn {
	struct server *server;
	struct conn *prev, *next;
	struct watch watch;
	struct h2 *h2;
	struct buf out;
	struct timer turn; /* output is fetched at the loop's next turn, once for all that was
			      answered in this one */
	struct timer greeting;
	unsigned long long number;
	bool failed; /* close when the output is sent, or cannot be sent at once */
};

struct server {
	struct crispd *daemon;
	struct h2_host host;
	struct listener listener;
	struct watch watch;
	struct timer resume; /* accepting was paused */
	struct conn *conns;
	unsigned long long accepted;
	bool draining, freeing, pushing;
	struct timer grace;
	struct timer finished;
	void (*done)(void *);
	void *done_arg;
	uint8_t input[READ_SIZE];
};

static void tell_done(struct timer *t)
{
	struct server *s = t->arg;
	void (*done)(void *) = s->done;
	s->done = NULL;
	if (done)
		done(s->done_arg);
}

static void close_conn(struct conn *c)
{
	struct server *s = c->server;
	log_debug("connection %llu: closed", c->number);
	loop_timer_cancel(s->daemon->loop, &c->greeting);
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	h2_free(c->h2);
	loop_timer_cancel(s->daemon->loop, &c->turn);
	loop_close(s->daemon->loop, &c->watch);
	buf_release(&c->out);
	free(c);
	if (s->draining && !s->conns && !s->freeing)
		loop_timer(s->daemon->loop, &s->finished, 0, tell_done, s);
}

/* -1: the connection is gone or broken. */
static int send_some(struct conn *c)
{
	ssize_t n = send(c->watch.fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	buf_consume(&c->out, (size_t)n);
	return 0;
}

/* Send what there is to send, and decide what to wait for; the connection may be gone afterwards.
 */
static void push(struct conn *c)
{
	struct err e;
	struct loop *l = c->server->daemon->loop;
	bool broken = false;
	do {
		if (h2_output(c->h2, &c->out, OUT_ENOUGH, &e) < 0) {
			log_debug("connection %llu: %s", c->number, e.msg);
			c->failed = true;
		}
		if (!c->out.len)
			break;
		broken = send_some(c) < 0;
	} while (!broken && !c->failed && !c->out.len);
	bool blocked = c->out.len > 0;
	if (broken || c->failed || (!blocked && h2_is_done(c->h2))) {
		close_conn(c);
		return;
	}
	/* An idle connection costs nothing but its session. */
	if (!blocked)
		buf_release(&c->out);
	uint32_t events = (blocked ? EPOLLOUT : 0) | (c->out.len < OUT_ENOUGH ? EPOLLIN : 0);
	if (loop_modify(l, &c->watch, events, &e) < 0) {
		log_err(&e);
		close_conn(c);
	}
}

static void on_turn(struct timer *t)
{
	push(t->arg);
}

static void wake(void *conn)
{
	struct conn *c = conn;
	if (!c->turn.slot)
		loop_timer(c->server->daemon->loop, &c->turn, 0, on_turn, c);
}

/* Where a connection breaks, another job may end, and its answers would be sent from within: they wait. */
void server_push(struct server *s)
{
	if (!s || s->pushing || s->freeing)
		return;
	s->pushing = true;
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (!c->turn.slot || h2_is_busy(c->h2))
			continue;
		loop_timer_cancel(s->daemon->loop, &c->turn);
		push(c);
	}
	s->pushing = false;
}

static void on_greeting(struct timer *t)
{
	struct conn *c = t->arg;
	log_debug("connection %llu: no HTTP/2 preface in %d s", c->number, GREETING_MS / 1000);
	close_conn(c);
}

static void on_conn(struct watch *w, uint32_t events)
{
	struct conn *c = w->arg;
	struct server *s = c->server;
	struct err e;
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		close_conn(c);
		return;
	}
	if (events & EPOLLIN) {
		ssize_t n = recv(w->fd, s->input, sizeof s->input, MSG_DONTWAIT);
		/* A client that has closed its side reads no answers either. */
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			close_conn(c);
			return;
		}
		if (n > 0 && h2_input(c->h2, s->input, (size_t)n, &e) < 0) {
			log_debug("connection %llu: %s", c->number, e.msg);
			c->failed = true;
		}
		if (c->greeting.slot && h2_is_greeted(c->h2))
			loop_timer_cancel(s->daemon->loop, &c->greeting);
	}
	push(c);
}

static void log_peer(const struct conn *c, int fd)
{
	struct ucred u;
	socklen_t len = sizeof u;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0)
		log_debug("connection %llu: from process %ld, user %ld", c->number, (long)u.pid,
			  (long)u.uid);
}

/* Takes fd over. */
static void add_conn(struct server *s, int fd)
{
	struct err e;
	struct conn *c = xcalloc(1, sizeof *c);
	c->server = s;
	c->number = ++s->accepted;
	c->out = BUF_INIT(OUT_LIMIT);
	c->h2 = h2_new(&s->host, c);
	if (!c->h2 || loop_add(s->daemon->loop, &c->watch, fd, EPOLLIN, on_conn, c, &e) < 0) {
		log_error("a connection is refused: %s", c->h2 ? e.msg : "no memory");
		h2_free(c->h2);
		close(fd);
		free(c);
		return;
	}
	c->next = s->conns;
	if (c->next)
		c->next->prev = c;
	s->conns = c;
	log_peer(c, fd);
	loop_timer(s->daemon->loop, &c->greeting, GREETING_MS, on_greeting, c);
	push(c);
}

static void on_resume(struct timer *t)
{
	struct server *s = t->arg;
	struct err e;
	if (loop_modify(s->daemon->loop, &s->watch, EPOLLIN, &e) < 0)
		log_err(&e);
}

static void on_accept(struct watch *w, uint32_t events)
{
	struct server *s = w->arg;
	struct err e;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			add_conn(s, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			/* The connection stays in the backlog, and the socket readable: look away
			 * for a while. */
			log_warn("accept: %s", strerrordesc_np(errno));
			if (loop_modify(s->daemon->loop, w, 0, &e) < 0)
				log_err(&e);
			loop_timer(s->daemon->loop, &s->resume, ACCEPT_PAUSE_MS, on_resume, s);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

struct server *server_new(struct crispd *d, struct err *e)
{
	struct server *s = xcalloc(1, sizeof *s);
	s->daemon = d;
	s->host = (struct h2_host){.daemon = d, .wake = wake};
	s->watch = WATCH_NONE;
	if (listener_open(&s->listener, d->cfg.listen, e) < 0 ||
	    loop_add(d->loop, &s->watch, s->listener.fd, EPOLLIN, on_accept, s, e) < 0) {
		server_free(s);
		return NULL;
	}
	return s;
}

static void stop_listening(struct server *s)
{
	loop_timer_cancel(s->daemon->loop, &s->resume);
	loop_del(s->daemon->loop, &s->watch);
	listener_close(&s->listener);
}

static void on_grace(struct timer *t)
{
	struct server *s = t->arg;
	struct conn *next;
	struct err e;
	log_warn("calls are still under way and are given up");
	for (struct conn *c = s->conns; c; c = next) {
		next = c->next;
		h2_abort_calls(c->h2);
		if (h2_output(c->h2, &c->out, OUT_ENOUGH, &e) == 0 && c->out.len)
			send_some(c);
	}
	tell_done(&s->finished);
}

void server_drain(struct server *s, long long grace_ms, void (*done)(void *arg), void *arg)
{
	if (s->draining)
		return;
	s->draining = true;
	s->done = done;
	s->done_arg = arg;
	s->finished.arg = s;
	stop_listening(s);
	for (struct conn *c = s->conns; c; c = c->next)
		h2_drain(c->h2);
	if (s->conns)
		loop_timer(s->daemon->loop, &s->grace, grace_ms, on_grace, s);
	else
		loop_timer(s->daemon->loop, &s->finished, 0, tell_done, s);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	s->freeing = true;
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		close_conn(c);
	}
	stop_listening(s);
	loop_timer_cancel(s->daemon->loop, &s->grace);
	loop_timer_cancel(s->daemon->loop, &s->finished);
	free(s);
}
