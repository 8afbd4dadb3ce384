/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include "auto.h"
#include "link_wire.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	READ_SIZE = 64 << 10,
	OUT_LIMIT = 16 << 20, /* never reached: writers ask for room */
	LINGER_MS = 2000,     /* for the client to hang up when all was said */
	STALL_MS = 60 * 1000, /* a client that takes nothing of what is left to say */
	TICK_MS = 15 * 1000,
	DEAD_MS = 60 * 1000,
};

void link_over(struct link *l)
{
	if (l->over)
		return;
	l->over = true;
	loop_timer_cancel(l->loop, &l->clock);
	loop_timer_cancel(l->loop, &l->flush);
	int fd = l->sock.fd;
	loop_del(l->loop, &l->sock);
	auto_close(&fd);
	l->ev->gone(l->arg);
}

static bool paused(const struct link *l)
{
	return !l->finishing &&
	       (l->n_full || l->in_total > LINK_IN_MAX || l->out.len > 4 * LINK_OUT_HIGH);
}

static void update_events(struct link *l)
{
	struct err ignored;
	if (l->over)
		return;
	uint32_t want = EPOLLRDHUP;
	if (!paused(l))
		want |= EPOLLIN;
	if (l->out.len)
		want |= EPOLLOUT;
	loop_modify(l->loop, &l->sock, want, &ignored);
}

static void on_linger(struct timer *t)
{
	link_over(t->arg);
}

/* Hang up in two steps, so that what the kernel still has to send is not lost by a reset. */
static void all_sent(struct link *l)
{
	shutdown(l->sock.fd, SHUT_WR);
	loop_timer(l->loop, &l->clock, LINGER_MS, on_linger, l);
}

static void send_out(struct link *l)
{
	while (l->out.len) {
		ssize_t n = send(l->sock.fd, l->out.data, l->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			link_over(l);
			return;
		}
		buf_consume(&l->out, (size_t)n);
		l->last_ms = proc_now_ms();
	}
	if (l->finishing)
		all_sent(l);
}

static void offer_room(struct link *l)
{
	if (l->over || !l->waiting_for_room || l->finishing || l->out.len >= LINK_OUT_HIGH / 2)
		return;
	l->waiting_for_room = false;
	l->ev->room(l->arg);
}

static void on_flush(struct timer *t)
{
	struct link *l = t->arg;
	send_out(l);
	offer_room(l);
	update_events(l);
}

void link_touch(struct link *l)
{
	/* One write for all that one turn of the loop has to say. */
	if (!l->over && !l->flush.slot)
		loop_timer(l->loop, &l->flush, 0, on_flush, l);
}

void link_broken(struct link *l, const struct err *e)
{
	log_debug("%s", e->msg);
	if (!l->finishing && l->up.wire != WIRE_WS_CHANNELS) {
		struct err ignored;
		spdy_goaway(&l->spdy, &ignored);
		wire_pass_on(l);
	}
	send_out(l);
	link_over(l);
}

static void on_sock(struct watch *w, uint32_t events)
{
	static uint8_t data[READ_SIZE];
	struct link *l = w->arg;
	struct err e;
	if (events & EPOLLOUT) {
		send_out(l);
		offer_room(l);
	}
	if (!l->over && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		bool hup = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
		ssize_t n = paused(l) && hup ? 0 : recv(w->fd, data, sizeof data, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			link_over(l);
			return;
		}
		if (n > 0) {
			l->last_ms = proc_now_ms();
			if (!l->finishing && wire_feed(l, data, (size_t)n, &e) < 0)
				link_broken(l, &e);
		}
	}
	update_events(l);
}

/* It is gone without a word: data is on its way, and nothing comes back. (With nothing on its way
 * the kernel asks; a client that merely does not read still answers.) */
static bool dead(int fd)
{
	struct tcp_info i = {0};
	socklen_t len = sizeof i;
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) == 0 && i.tcpi_unacked &&
	       i.tcpi_last_ack_recv >= DEAD_MS;
}

static long long tick_ms(const struct link *l)
{
	return l->idle_ms && l->idle_ms < TICK_MS ? l->idle_ms : TICK_MS;
}

static void on_tick(struct timer *t)
{
	struct link *l = t->arg;
	long long quiet = proc_now_ms() - l->last_ms;
	long long limit = l->finishing ? STALL_MS : l->idle_ms;
	if (limit && quiet >= limit)
		log_info("the session ends: nothing has come or gone for %lld s", limit / 1000);
	else if (dead(l->sock.fd))
		log_info("the session ends: the client does not answer any more");
	else {
		loop_timer(l->loop, t, tick_ms(l), on_tick, l);
		return;
	}
	link_over(l);
}

/* The answer goes out at once: nothing waits in front of it. */
static int answer(int fd, const struct buf *b, struct err *e)
{
	ssize_t n = send(fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == (ssize_t)b->len ? 0 : err_sys(e, "answer the client");
}

int link_open(struct link *l, const struct client *client, enum work work,
	      const struct link_events *ev, void *arg, struct err *e)
{
	struct err ignored;
	int fd = client->fd;
	char *head = client->head;
	size_t len = client->head_len;
	AUTO_BUF struct buf b = BUF_INIT(4096);
	*l = (struct link){.loop = client->loop,
			   .ev = ev,
			   .arg = arg,
			   .work = work,
			   .sock = WATCH_NONE,
			   .window = SPDY_WINDOW,
			   .initial_window = SPDY_WINDOW,
			   .out = BUF_INIT(OUT_LIMIT),
			   .plain = BUF_INIT(OUT_LIMIT),
			   .ws_text = BUF_INIT(CHAN_IN_MAX),
			   .idle_ms = client->idle_ms,
			   .last_ms = proc_now_ms()};
	const char *end = memmem(head, len, "\r\n\r\n", 4);
	size_t head_len = end ? (size_t)(end - head) + 4 : len;
	if (http_upgrade(head, head_len, work, &l->up, &b, e) < 0) {
		answer(fd, &b, &ignored);
		shutdown(fd, SHUT_WR);
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (http_accept(&l->up, &b, e) < 0 || answer(fd, &b, e) < 0)
		return -1;
	wire_init(l);
	if (loop_add(l->loop, &l->sock, fd, EPOLLIN | EPOLLRDHUP, on_sock, l, e) < 0)
		return -1;
	loop_timer(l->loop, &l->clock, tick_ms(l), on_tick, l);
	if (len > head_len && wire_feed(l, (uint8_t *)head + head_len, len - head_len, e) < 0)
		return -1;
	return 0;
}

void link_refuse(int fd, const struct err *why)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(4096);
	buf_addf(&b, &ignored,
		 "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
		 strlen(why->msg) + 1, why->msg);
	answer(fd, &b, &ignored);
	shutdown(fd, SHUT_WR);
}

void link_finish(struct link *l)
{
	if (l->finishing || l->over)
		return;
	wire_finish(l);
	l->finishing = true;
	l->last_ms = proc_now_ms();
	link_touch(l);
}

void link_release(struct link *l)
{
	int fd = l->sock.fd;
	loop_timer_cancel(l->loop, &l->clock);
	loop_timer_cancel(l->loop, &l->flush);
	loop_del(l->loop, &l->sock);
	auto_close(&fd);
	for (struct chan *c = l->chans, *next; c; c = next) {
		next = c->next;
		chan_release(c);
	}
	wire_release(l);
	buf_release(&l->out);
	buf_release(&l->plain);
	buf_release(&l->ws_text);
}

struct chan *chan_new(struct link *l, uint32_t id, enum chan_kind kind)
{
	struct chan *c = xcalloc(1, sizeof *c);
	c->link = l;
	c->id = id;
	c->kind = kind;
	/* What one read brings may come on top. */
	c->in = BUF_INIT(CHAN_IN_MAX + 2 * READ_SIZE);
	c->window = l->initial_window;
	c->next = l->chans;
	l->chans = c;
	l->n_chans++;
	return c;
}

struct chan *chan_find(const struct link *l, uint32_t id)
{
	struct chan *c = l->chans;
	while (c && c->id != id)
		c = c->next;
	return c;
}

static void account(struct chan *c, size_t before)
{
	struct link *l = c->link;
	bool was = before > CHAN_IN_MAX, is = c->in.len > CHAN_IN_MAX;
	l->in_total += c->in.len - before;
	l->n_full += (size_t)is - (size_t)was;
}

void chan_feed(struct chan *c, const uint8_t *p, size_t n)
{
	struct err e;
	size_t before = c->in.len;
	if (c->in_ended || !n)
		return;
	if (buf_add(&c->in, p, n, &e) < 0) {
		chan_break(c);
		return;
	}
	account(c, before);
	c->link->ev->input(c->link->arg, c);
}

void chan_consume(struct chan *c, size_t n)
{
	struct link *l = c->link;
	size_t before = c->in.len;
	buf_consume(&c->in, n);
	account(c, before);
	wire_taken(c, n);
	if (l->sock.fd >= 0 && !(l->sock.events & EPOLLIN))
		link_touch(l);
}

void chan_release(struct chan *c)
{
	struct link *l = c->link;
	chan_consume(c, c->in.len);
	if (l->ws_chan == c)
		l->ws_chan = NULL;
	for (struct chan **p = &l->chans; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	l->n_chans--;
	buf_release(&c->in);
	free(c);
}

size_t chan_room(struct chan *c)
{
	struct link *l = c->link;
	size_t room = l->out.len < LINK_OUT_HIGH ? LINK_OUT_HIGH - l->out.len : 0;
	if (l->over || l->finishing || c->out_ended)
		return 0;
	if (l->counts && l->up.wire != WIRE_WS_CHANNELS) {
		int64_t w = c->window < l->window ? c->window : l->window;
		if (w < (int64_t)room)
			room = w > 0 ? (size_t)w : 0;
	}
	if (!room)
		l->waiting_for_room = true;
	return room;
}

void chan_write(struct chan *c, const void *data, size_t len)
{
	struct link *l = c->link;
	struct err e;
	if (l->over || l->finishing || c->out_ended || !len)
		return;
	c->window -= (int64_t)len;
	l->window -= (int64_t)len;
	if (wire_write(c, data, len, &e) < 0)
		link_broken(l, &e);
	else
		link_touch(l);
}

void chan_end(struct chan *c)
{
	struct link *l = c->link;
	struct err e;
	if (l->over || l->finishing || c->out_ended)
		return;
	c->out_ended = true;
	if (wire_end(c, &e) < 0)
		link_broken(l, &e);
	else
		link_touch(l);
}

void chan_break(struct chan *c)
{
	struct err ignored;
	struct link *l = c->link;
	if (!l->over && !l->finishing && !(c->in_ended && c->out_ended))
		wire_break(c, &ignored);
	c->in_ended = c->out_ended = true;
	link_touch(l);
}
