/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include "auto.h"
#include "log.h"
#include "loop.h"
#include "proc.h"
#include "rights.h"
#include "secret.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	CHUNK = 16 << 10,     /* of one TLS record */
	LINGER_MS = 2000,     /* for the other side when one has ended */
	STALL_MS = 60 * 1000, /* a client that takes nothing of what is left to say */
	TICK_MS = 15 * 1000,
	DEAD_MS = 60 * 1000, /* a client that acknowledges nothing of what was sent */
};

/* One direction. */
struct lane {
	unsigned char data[CHUNK];
	size_t at, len;
	bool ended; /* nothing more comes in… */
	bool shut;  /* …and the other side has been told */
};

struct relay {
	struct loop *loop;
	SSL *ssl;
	struct watch tls, plain;
	int tls_fd, plain_fd;
	struct timer clock;
	struct lane down, up; /* from the client, to the client */
	bool shaken, over, failed;
	bool want_read, want_write; /* what the TLS engine waits for */
	bool leaving;               /* the client has hung up, or all was said */
	long long moved_ms;
	struct err *e;
};

static void finish(struct relay *r)
{
	r->over = true;
	loop_stop(r->loop);
}

/* What the engine says after a call that did not do it. True: it is over. */
static bool stopped(struct relay *r, int result)
{
	switch (SSL_get_error(r->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		r->want_read = true;
		return false;
	case SSL_ERROR_WANT_WRITE:
		r->want_write = true;
		return false;
	case SSL_ERROR_ZERO_RETURN:
		r->down.ended = true;
		return false;
	default:
		if (!r->shaken) {
			r->failed = true;
			secret_error(r->e, ERR_DENIED, "TLS handshake");
		} else {
			log_debug("TLS: the connection broke");
		}
		return true;
	}
}

static bool shake(struct relay *r)
{
	ERR_clear_error();
	int n = SSL_accept(r->ssl);
	if (n != 1) {
		if (stopped(r, n))
			finish(r);
		return false;
	}
	r->shaken = true;
	secret_forget(r->ssl);
	return true;
}

/* Each of these returns true when something has moved. */
static bool from_client(struct relay *r)
{
	struct lane *d = &r->down;
	if (d->len || d->ended)
		return false;
	ERR_clear_error();
	int n = SSL_read(r->ssl, d->data, sizeof d->data);
	if (n > 0) {
		d->at = 0;
		d->len = (size_t)n;
		return true;
	}
	if (stopped(r, n))
		finish(r);
	return d->ended;
}

static bool to_client(struct relay *r)
{
	struct lane *u = &r->up;
	if (!u->len)
		return false;
	ERR_clear_error();
	int n = SSL_write(r->ssl, u->data + u->at, (int)u->len);
	if (n > 0) {
		u->at += (size_t)n;
		u->len -= (size_t)n;
		return true;
	}
	if (stopped(r, n))
		finish(r);
	return false;
}

static bool from_plain(struct relay *r)
{
	struct lane *u = &r->up;
	if (u->len || u->ended)
		return false;
	ssize_t n = recv(r->plain_fd, u->data, sizeof u->data, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	u->ended = n <= 0;
	u->at = 0;
	u->len = n > 0 ? (size_t)n : 0;
	return true;
}

static bool to_plain(struct relay *r)
{
	struct lane *d = &r->down;
	if (!d->len)
		return false;
	ssize_t n = send(r->plain_fd, d->data + d->at, d->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	/* Nobody reads it any more: what that side has to say is still worth hearing. */
	if (n < 0)
		n = (ssize_t)d->len;
	d->at += (size_t)n;
	d->len -= (size_t)n;
	return true;
}

static void on_clock(struct timer *t);

static void leave(struct relay *r)
{
	if (r->leaving)
		return;
	r->leaving = true;
	loop_timer(r->loop, &r->clock, LINGER_MS, on_clock, r);
}

/* An end that has been reached goes to the other side behind all that came before it. */
static void pass_ends(struct relay *r)
{
	if (r->down.ended && !r->down.len && !r->down.shut) {
		r->down.shut = true;
		shutdown(r->plain_fd, SHUT_WR);
	}
	if (r->up.ended && !r->up.len && !r->up.shut) {
		r->up.shut = true;
		ERR_clear_error();
		SSL_shutdown(r->ssl);
		shutdown(r->tls_fd, SHUT_WR);
		leave(r);
	}
	if (r->down.shut && r->up.shut)
		finish(r);
}

static void on_event(struct watch *w, uint32_t events);

static void watch(struct relay *r, struct watch *w, int fd, uint32_t want)
{
	struct err ignored;
	/* A hang-up cannot be masked: out of the loop while there is nothing to do about it. */
	if (!want)
		loop_del(r->loop, w);
	else if (w->fd >= 0)
		loop_modify(r->loop, w, want, &ignored);
	else if (loop_add(r->loop, w, fd, want, on_event, r, &ignored) < 0)
		finish(r);
}

static void pump(struct relay *r)
{
	bool moved = true;
	r->want_read = r->want_write = false;
	while (moved && !r->over) {
		if (!r->shaken) {
			moved = shake(r);
			continue;
		}
		moved = from_client(r);
		moved = (!r->over && to_plain(r)) || moved;
		moved = (!r->over && from_plain(r)) || moved;
		moved = (!r->over && to_client(r)) || moved;
		if (moved)
			r->moved_ms = proc_now_ms();
	}
	if (r->over)
		return;
	if (r->shaken)
		pass_ends(r);
	if (r->over)
		return;
	watch(r, &r->tls, r->tls_fd,
	      (r->want_read ? (uint32_t)EPOLLIN : 0) | (r->want_write ? (uint32_t)EPOLLOUT : 0) |
		      (r->leaving ? 0 : (uint32_t)EPOLLRDHUP));
	/* Before the handshake only its giving up is of interest. */
	watch(r, &r->plain, r->plain_fd,
	      !r->shaken ? (uint32_t)EPOLLRDHUP
			 : (r->up.len || r->up.ended ? 0 : (uint32_t)EPOLLIN) |
				   (r->down.len ? (uint32_t)EPOLLOUT : 0));
}

/* A client that is gone without a word: data is on its way, and nothing comes back. */
static bool dead(int fd)
{
	struct tcp_info i = {0};
	socklen_t len = sizeof i;
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) == 0 && i.tcpi_unacked &&
	       i.tcpi_last_ack_recv >= DEAD_MS;
}

static void on_clock(struct timer *t)
{
	struct relay *r = t->arg;
	long long quiet = proc_now_ms() - r->moved_ms;
	bool ending = r->leaving || r->up.ended;
	if ((ending && quiet >= (r->up.len ? STALL_MS : LINGER_MS)) || dead(r->tls_fd))
		finish(r);
	else
		loop_timer(r->loop, t, ending ? LINGER_MS : TICK_MS, on_clock, r);
}

static void on_event(struct watch *w, uint32_t events)
{
	struct relay *r = w->arg;
	if (w == &r->plain && !r->shaken) {
		finish(r);
		return;
	}
	if (w == &r->tls && events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		finish(r);
		return;
	}
	/* It may have hung up behind bytes that nobody takes. */
	if (w == &r->tls && events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		leave(r);
	pump(r);
}

static void on_signal(int signo, void *arg)
{
	(void)signo;
	finish(arg);
}

static int prepare(struct relay *r, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	r->loop = loop_new(e);
	if (!r->loop || loop_signals(r->loop, &set, on_signal, r, e) < 0)
		return -1;
	if (SSL_set_fd(r->ssl, r->tls_fd) != 1)
		return secret_error(e, ERR_FAILED, "TLS");
	SSL_set_accept_state(r->ssl);
	return 0;
}

int relay_run(SSL *ssl, int tls, int plain, struct err *e)
{
	struct relay r = {.ssl = ssl,
			  .tls = WATCH_NONE,
			  .plain = WATCH_NONE,
			  .tls_fd = tls,
			  .plain_fd = plain,
			  .moved_ms = proc_now_ms(),
			  .e = e};
	int n = prepare(&r, e);
	if (n == 0 && (n = rights_give_up(e)) == 0) {
		loop_timer(r.loop, &r.clock, TICK_MS, on_clock, &r);
		pump(&r);
		n = r.over ? 0 : loop_run(r.loop, e);
	}
	if (r.loop) {
		loop_timer_cancel(r.loop, &r.clock);
		loop_del(r.loop, &r.tls);
		loop_del(r.loop, &r.plain);
		loop_free(r.loop);
	}
	/* What the client sent last must not turn what it was sent into a reset. */
	shutdown(plain, SHUT_RDWR);
	return r.failed ? -1 : n;
}
