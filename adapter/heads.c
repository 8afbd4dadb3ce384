/* SPDX-License-Identifier: Apache-2.0 */
#include "heads.h"

#include "auto.h"
#include "log.h"
#include "xalloc.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	HEAD_MAX = 16 << 10,
	HEADS_MAX = 128,
	HEAD_MS = 10 * 1000, /* for the whole of a request, and for taking the answer */
	BACKLOG = 128,
	AGAIN_MS = 200, /* after a failure to accept */
	/* A peer that is gone without a word is noticed within a minute: seconds. */
	ALIVE_IDLE = 30,
	ALIVE_EVERY = 10,
	ALIVE_TIMES = 3,
};

struct head {
	struct head *next;
	struct heads *s;
	struct watch watch;
	struct timer clock;
	char *answer; /* NULL: still reading */
	size_t answer_len, sent;
	size_t len;
	char data[HEAD_MAX];
};

struct heads {
	struct loop *loop;
	const char *what;
	void (*on_head)(struct head *h, void *arg);
	int (*wrap)(int fd, int plain, void *arg, struct err *e);
	void *arg;
	struct watch listen;
	struct timer again;
	char base[128];
	struct head *list;
	size_t count;
};

struct heads *heads_new(struct loop *l, const char *what,
			void (*on_head)(struct head *h, void *arg), void *arg)
{
	struct heads *s = xcalloc(1, sizeof *s);
	s->loop = l;
	s->what = what;
	s->on_head = on_head;
	s->arg = arg;
	s->listen = WATCH_NONE;
	return s;
}

void heads_wrap(struct heads *s, int (*wrap)(int fd, int plain, void *arg, struct err *e))
{
	s->wrap = wrap;
}

const char *heads_base(const struct heads *s)
{
	return s->base;
}

const char *head_data(const struct head *h, size_t *len)
{
	*len = h->len;
	return h->data;
}

bool head_asks(const struct head *h, const char *path)
{
	size_t n = strlen(path);
	return strncmp(h->data, "GET ", 4) == 0 && strncmp(h->data + 4, path, n) == 0 &&
	       strchr(" ?", h->data[4 + n]) && h->data[4 + n];
}

int head_fd(const struct head *h)
{
	return h->watch.fd;
}

void head_done(struct head *h)
{
	struct heads *s = h->s;
	for (struct head **p = &s->list; *p; p = &(*p)->next)
		if (*p == h) {
			*p = h->next;
			break;
		}
	s->count--;
	loop_timer_cancel(s->loop, &h->clock);
	loop_close(s->loop, &h->watch);
	free(h->answer);
	free(h);
}

static void push(struct head *h)
{
	struct err ignored;
	while (h->sent < h->answer_len) {
		ssize_t n = send(h->watch.fd, h->answer + h->sent, h->answer_len - h->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN &&
		    loop_modify(h->s->loop, &h->watch, EPOLLOUT, &ignored) == 0)
			return;
		if (n < 0)
			break;
		h->sent += (size_t)n;
	}
	shutdown(h->watch.fd, SHUT_WR);
	head_done(h);
}

void head_answer(struct head *h, const char *status, const char *type, const char *body)
{
	h->answer = xasprintf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			      "Connection: close\r\n\r\n%s",
			      status, type, strlen(body), body);
	h->answer_len = strlen(h->answer);
	push(h);
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct head *h = w->arg;
	(void)events;
	if (h->answer) {
		push(h);
		return;
	}
	ssize_t n = recv(w->fd, h->data + h->len, sizeof h->data - 1 - h->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		head_done(h);
		return;
	}
	h->len += (size_t)n;
	h->data[h->len] = '\0';
	if (memmem(h->data, h->len, "\r\n\r\n", 4))
		h->s->on_head(h, h->s->arg);
	else if (h->len == sizeof h->data - 1)
		head_answer(h, "431 Request Header Fields Too Large", "text/plain",
			    "the request's head is too large\n");
}

static void on_clock(struct timer *t)
{
	struct head *h = t->arg;
	if (h->answer)
		head_done(h);
	else
		head_answer(h, "408 Request Timeout", "text/plain", "no request\n");
}

static void on_again(struct timer *t)
{
	struct heads *s = t->arg;
	struct err ignored;
	loop_modify(s->loop, &s->listen, EPOLLIN, &ignored);
}

static void add_head(struct heads *s, int fd)
{
	struct err e;
	struct head *h = xmalloc(sizeof *h);
	h->s = s;
	h->answer = NULL;
	h->len = h->sent = h->answer_len = 0;
	h->watch = WATCH_NONE;
	h->clock = (struct timer){0};
	h->next = s->list;
	s->list = h;
	s->count++;
	if (loop_add(s->loop, &h->watch, fd, EPOLLIN, on_readable, h, &e) < 0) {
		close(fd);
		head_done(h);
		return;
	}
	loop_timer(s->loop, &h->clock, HEAD_MS, on_clock, h);
}

/* For the whole life of the socket, whoever gets it. */
static void keep_alive(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
		       {IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE},
		       {IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_EVERY},
		       {IPPROTO_TCP, TCP_KEEPCNT, ALIVE_TIMES},
		       /* Answers to keys that are typed must not wait for a segment to fill. */
		       {IPPROTO_TCP, TCP_NODELAY, 1}};
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			   sizeof options[i].value);
}

static void add_wrapped(struct heads *s, int accepted)
{
	AUTO_CLOSE int fd = accepted;
	int pair[2];
	struct err e;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_warn("%s: socketpair: %s", s->what, strerrordesc_np(errno));
		return;
	}
	AUTO_CLOSE int theirs = pair[1];
	if (s->wrap(fd, theirs, s->arg, &e) == 0) {
		add_head(s, pair[0]);
		return;
	}
	log_warn("%s: %s", s->what, e.msg);
	close(pair[0]);
}

static void on_connect(struct watch *w, uint32_t events)
{
	struct heads *s = w->arg;
	struct err e;
	(void)events;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			/* Out of descriptors, say: the connection stays in the backlog. */
			log_warn("%s: accept: %s", s->what, strerrordesc_np(errno));
			loop_modify(s->loop, w, 0, &e);
			loop_timer(s->loop, &s->again, AGAIN_MS, on_again, s);
		}
		return;
	}
	keep_alive(fd);
	if (s->count >= HEADS_MAX)
		close(fd);
	else if (s->wrap)
		add_wrapped(s, fd);
	else
		add_head(s, fd);
}

static int name_base(struct heads *s, int fd, struct err *e)
{
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof a;
	char host[64], port[16];
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return err_sys(e, "getsockname");
	int r = getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port,
			    NI_NUMERICHOST | NI_NUMERICSERV);
	if (r)
		return err_set(e, ERR_FAILED, "getnameinfo: %s", gai_strerror(r));
	bool v6 = a.ss_family == AF_INET6;
	snprintf(s->base, sizeof s->base, v6 ? "http%s://[%s]:%s" : "http%s://%s:%s",
		 s->wrap ? "s" : "", host, port);
	return 0;
}

int heads_listen(struct heads *s, const char *address, const char *port, struct err *e)
{
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *a = NULL;
	int on = 1;
	int r = getaddrinfo(address, port, &hints, &a);
	if (r)
		return err_set(e, ERR_BAD_INPUT, "%s: address %s, port %s: %s", s->what, address,
			       port, gai_strerror(r));
	AUTO_CLOSE int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err_sys(e, "listen on %s port %s", address, port);
		freeaddrinfo(a);
		return -1;
	}
	freeaddrinfo(a);
	if (name_base(s, fd, e) < 0 ||
	    loop_add(s->loop, &s->listen, fd, EPOLLIN, on_connect, s, e) < 0) {
		s->base[0] = '\0';
		return -1;
	}
	(void)TAKE_FD(fd);
	return 0;
}

int heads_listen_at(struct heads *s, int dir, const char *path, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *name = strrchr(path, '/') + 1;
	if (strlen(path) >= sizeof sa.sun_path)
		return err_set(e, ERR_BAD_INPUT, "%s is too long for a socket", path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "replace %s", path);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    fchmodat(dir, name, 0600, 0) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "listen on %s", path);
	if (loop_add(s->loop, &s->listen, fd, EPOLLIN, on_connect, s, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return 0;
}

void heads_free(struct heads *s)
{
	if (!s)
		return;
	loop_close(s->loop, &s->listen);
	loop_timer_cancel(s->loop, &s->again);
	for (struct head *h = s->list, *next; h; h = next) {
		next = h->next;
		head_done(h);
	}
	free(s);
}
