/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming.h"

#include "auto.h"
#include "fs.h"
#include "jobs.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
	TOKEN_BYTES = 16,
	TOKEN_LEN = 2 * TOKEN_BYTES,
	TOKENS_MAX = 1000,
	TOKEN_MS = 60 * 1000,
	HEAD_MAX = 16 << 10,
	HEADS_MAX = 128,
	HEAD_MS = 10 * 1000,
	SESSIONS_MAX = 1000,
	BACKLOG = 128,
	AGAIN_MS = 200, /* after a failure to accept */
};

static const char *const kind_names[] = {"exec", "attach", "portforward"};

struct token {
	struct token *next; /* oldest first: all live equally long */
	char text[TOKEN_LEN + 1];
	enum stream_kind kind;
	long long due_ms;
	char req[24];
	char **words;
	size_t n_words;
};

/* A connection whose request is being read. */
struct head {
	struct head *next;
	struct streaming *s;
	struct watch watch;
	struct timer clock;
	size_t len;
	char data[HEAD_MAX];
};

/* A ctrstream that is at work: only to be reaped. */
struct session {
	struct session *next;
	struct streaming *s;
	struct proc proc;
	struct watch watch;
};

struct streaming {
	struct crispd *d;
	struct watch listen;
	struct timer again;
	struct err why; /* why we do not listen */
	char base[128]; /* "http://127.0.0.1:41234" */
	struct token *tokens;
	size_t n_tokens;
	struct head *heads;
	size_t n_heads;
	struct session *sessions;
	size_t n_sessions;
};

static void token_free(struct token *t)
{
	for (size_t i = 0; i < t->n_words; i++)
		free(t->words[i]);
	free(t->words);
	free(t);
}

static void expire(struct streaming *s)
{
	long long now = proc_now_ms();
	while (s->tokens && s->tokens->due_ms <= now) {
		struct token *t = s->tokens;
		s->tokens = t->next;
		s->n_tokens--;
		token_free(t);
	}
}

/* Takes as long for a token that is nearly right as for any other. */
static bool same_token(const char *a, const char *b)
{
	unsigned char differs = 0;
	for (size_t i = 0; i < TOKEN_LEN; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}

/* The token is good once: it is off the list now. */
static struct token *take_token(struct streaming *s, enum stream_kind kind, const char *text)
{
	expire(s);
	for (struct token **p = &s->tokens; *p; p = &(*p)->next) {
		struct token *t = *p;
		if (t->kind != kind || !same_token(t->text, text))
			continue;
		*p = t->next;
		s->n_tokens--;
		return t;
	}
	return NULL;
}

int streaming_mint(struct streaming *s, enum stream_kind kind, const char *req,
		   const char *const *words, size_t n_words, char url[STREAM_URL_SIZE],
		   struct err *e)
{
	unsigned char bytes[TOKEN_BYTES];
	struct token **p = &s->tokens;
	if (s->listen.fd < 0) {
		*e = s->why;
		return err_wrap(e, "no streaming");
	}
	expire(s);
	if (s->n_tokens >= TOKENS_MAX)
		return err_set(e, ERR_EXHAUSTED, "%d streaming requests wait for their client",
			       TOKENS_MAX);
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return err_sys(e, "random token");
	struct token *t = xcalloc(1, sizeof *t);
	for (size_t i = 0; i < TOKEN_BYTES; i++)
		snprintf(t->text + 2 * i, 3, "%02x", bytes[i]);
	t->kind = kind;
	t->due_ms = proc_now_ms() + TOKEN_MS;
	snprintf(t->req, sizeof t->req, "%s", req);
	t->words = xcalloc(n_words + 1, sizeof *t->words);
	for (; t->n_words < n_words; t->n_words++)
		t->words[t->n_words] = xstrdup(words[t->n_words]);
	while (*p)
		p = &(*p)->next;
	*p = t;
	s->n_tokens++;
	snprintf(url, STREAM_URL_SIZE, "%s/%s/%s", s->base, kind_names[kind], t->text);
	return 0;
}

static void session_free(struct session *n)
{
	struct streaming *s = n->s;
	for (struct session **p = &s->sessions; *p; p = &(*p)->next)
		if (*p == n) {
			*p = n->next;
			break;
		}
	s->n_sessions--;
	loop_del(s->d->loop, &n->watch);
	auto_close(&n->proc.pidfd);
	free(n);
}

static void on_session_end(struct watch *w, uint32_t events)
{
	struct session *n = w->arg;
	struct proc_result r;
	struct err e;
	(void)events;
	int got = proc_try_reap(&n->proc, &r, &e);
	if (got == 0)
		return;
	log_debug("streaming: a session has ended with status %d",
		  got > 0 ? proc_exit_code(&r) : -1);
	session_free(n);
}

static int memory_file(const char *data, size_t len, struct err *e)
{
	AUTO_CLOSE int fd = memfd_create("request", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memfd_create");
	if (fs_write_all(fd, data, len, e) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "rewind the request");
	return TAKE_FD(fd);
}

static int start_session(struct streaming *s, const struct head *h, const struct token *t,
			 struct err *e)
{
	char sock[16], file[16];
	AUTO_FREE const char **argv = xcalloc(t->n_words + 20, sizeof *argv);
	AUTO_CLOSE int head = memory_file(h->data, h->len, e);
	if (head < 0)
		return -1;
	if (s->n_sessions >= SESSIONS_MAX)
		return err_set(e, ERR_EXHAUSTED, "%d streaming sessions at once", SESSIONS_MAX);
	size_t n = jobs_argv(s->d->jobs, "ctrstream", argv);
	snprintf(sock, sizeof sock, "%d", h->watch.fd);
	snprintf(file, sizeof file, "%d", head);
	argv[n++] = kind_names[t->kind];
	argv[n++] = "--fd";
	argv[n++] = sock;
	argv[n++] = "--head-fd";
	argv[n++] = file;
	for (size_t i = 0; i < t->n_words; i++)
		argv[n++] = t->words[i];
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = jobs_env(s->d->jobs, t->req, false);
	spec.keep = (const int[]){h->watch.fd, head, -1};
	spec.new_session = true;
	struct session *x = xcalloc(1, sizeof *x);
	x->s = s;
	x->watch = WATCH_NONE;
	x->next = s->sessions;
	s->sessions = x;
	s->n_sessions++;
	if (proc_start(&x->proc, &spec, e) == 0 &&
	    loop_add(s->d->loop, &x->watch, x->proc.pidfd, EPOLLIN, on_session_end, x, e) == 0)
		return 0;
	proc_kill(&x->proc, SIGKILL);
	session_free(x);
	return -1;
}

static void head_free(struct head *h)
{
	struct streaming *s = h->s;
	int fd = h->watch.fd;
	for (struct head **p = &s->heads; *p; p = &(*p)->next)
		if (*p == h) {
			*p = h->next;
			break;
		}
	s->n_heads--;
	loop_timer_cancel(s->d->loop, &h->clock);
	loop_del(s->d->loop, &h->watch);
	auto_close(&fd);
	free(h);
}

static void refuse(struct head *h, const char *status, const char *text)
{
	AUTO_FREE char *answer =
		xasprintf("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
			  "Connection: close\r\n\r\n%s\n",
			  status, strlen(text) + 1, text);
	/* It fits into the empty send buffer of a new connection, or the client has bad luck. */
	(void)send(h->watch.fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(h->watch.fd, SHUT_WR);
	head_free(h);
}

/* "GET /exec/0123…": which token is it? */
static struct token *find_token(struct streaming *s, const char *line)
{
	const char *path = strncmp(line, "GET ", 4) == 0    ? line + 4
			   : strncmp(line, "POST ", 5) == 0 ? line + 5
							    : "";
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
		size_t n = strlen(kind_names[i]);
		if (path[0] != '/' || strncmp(path + 1, kind_names[i], n) != 0 ||
		    path[1 + n] != '/')
			continue;
		const char *text = path + n + 2;
		if (strspn(text, "0123456789abcdef") != TOKEN_LEN ||
		    !strchr(" ?/", text[TOKEN_LEN]))
			return NULL;
		return take_token(s, (enum stream_kind)i, text);
	}
	return NULL;
}

static void on_head(struct head *h)
{
	struct err e;
	struct token *t = find_token(h->s, h->data);
	if (!t) {
		refuse(h, "404 Not Found", "no such request, or it has expired");
		return;
	}
	int r = start_session(h->s, h, t, &e);
	token_free(t);
	if (r == 0) {
		head_free(h);
		return;
	}
	log_warn("streaming: %s", e.msg);
	refuse(h, "503 Service Unavailable", e.msg);
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct head *h = w->arg;
	(void)events;
	ssize_t n = recv(w->fd, h->data + h->len, sizeof h->data - 1 - h->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		head_free(h);
		return;
	}
	h->len += (size_t)n;
	h->data[h->len] = '\0';
	if (memmem(h->data, h->len, "\r\n\r\n", 4))
		on_head(h);
	else if (h->len == sizeof h->data - 1)
		refuse(h, "431 Request Header Fields Too Large", "the request's head is too large");
}

static void on_clock(struct timer *t)
{
	refuse(t->arg, "408 Request Timeout", "no request");
}

static void on_connect(struct watch *w, uint32_t events);

static void on_again(struct timer *t)
{
	struct streaming *s = t->arg;
	struct err ignored;
	loop_modify(s->d->loop, &s->listen, EPOLLIN, &ignored);
}

static void on_connect(struct watch *w, uint32_t events)
{
	struct streaming *s = w->arg;
	struct err e;
	(void)events;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			/* Out of descriptors, say: the connection stays in the backlog. */
			log_warn("streaming: accept: %s", strerrordesc_np(errno));
			loop_modify(s->d->loop, w, 0, &e);
			loop_timer(s->d->loop, &s->again, AGAIN_MS, on_again, s);
		}
		return;
	}
	if (s->n_heads >= HEADS_MAX) {
		close(fd);
		return;
	}
	struct head *h = xmalloc(sizeof *h);
	h->s = s;
	h->len = 0;
	h->clock = (struct timer){0};
	h->next = s->heads;
	s->heads = h;
	s->n_heads++;
	if (loop_add(s->d->loop, &h->watch, fd, EPOLLIN, on_readable, h, &e) < 0) {
		close(fd);
		head_free(h);
		return;
	}
	loop_timer(s->d->loop, &h->clock, HEAD_MS, on_clock, h);
}

static int name_base(struct streaming *s, int fd, struct err *e)
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
	snprintf(s->base, sizeof s->base, v6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
	return 0;
}

static int open_listener(struct streaming *s, struct err *e)
{
	const struct config *c = &s->d->cfg;
	/* An address, not a name: nothing may be asked of a name server here. */
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *a = NULL;
	int on = 1;
	int r = getaddrinfo(c->stream_address, c->stream_port, &hints, &a);
	if (r)
		return err_set(e, ERR_BAD_INPUT, "stream_address %s, stream_port %s: %s",
			       c->stream_address, c->stream_port, gai_strerror(r));
	AUTO_CLOSE int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err_sys(e, "listen on %s port %s", c->stream_address, c->stream_port);
		freeaddrinfo(a);
		return -1;
	}
	freeaddrinfo(a);
	if (name_base(s, fd, e) < 0 ||
	    loop_add(s->d->loop, &s->listen, fd, EPOLLIN, on_connect, s, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return 0;
}

struct streaming *streaming_new(struct crispd *d)
{
	struct streaming *s = xcalloc(1, sizeof *s);
	s->d = d;
	s->listen = WATCH_NONE;
	if (open_listener(s, &s->why) < 0)
		log_warn("streaming (exec, attach, port-forward) is off: %s", s->why.msg);
	else
		log_info("streaming on %s", s->base);
	return s;
}

void streaming_free(struct streaming *s)
{
	if (!s)
		return;
	int fd = s->listen.fd;
	loop_del(s->d->loop, &s->listen);
	auto_close(&fd);
	loop_timer_cancel(s->d->loop, &s->again);
	for (struct head *h = s->heads, *next; h; h = next) {
		next = h->next;
		head_free(h);
	}
	for (struct session *n = s->sessions, *next; n; n = next) {
		next = n->next;
		session_free(n);
	}
	while (s->tokens) {
		struct token *t = s->tokens;
		s->tokens = t->next;
		token_free(t);
	}
	free(s);
}
