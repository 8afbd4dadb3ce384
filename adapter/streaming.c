/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming.h"

#include "auto.h"
#include "buf.h"
#include "heads.h"
#include "jobs.h"
#include "log.h"
#include "proc.h"
#include "toolrun.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

enum {
	TOKEN_BYTES = 16,
	TOKEN_LEN = 2 * TOKEN_BYTES,
	TOKENS_MAX = 1000,
	TOKEN_MS = 60 * 1000,
	SESSIONS_MAX = 1000,
	TLS_MAX = SESSIONS_MAX + 128, /* those whose request is still read come on top */
	CHECK_MS = 10 * 1000,
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

/* A ctrstream, or the ctrtls in front of it, that is at work: only to be reaped. */
struct session {
	struct session *next;
	struct streaming *s;
	size_t *count; /* those of its kind */
	struct proc proc;
	struct watch watch;
};

struct streaming {
	struct crispd *d;
	struct heads *heads;
	struct err why; /* why we do not listen */
	struct token *tokens;
	size_t n_tokens;
	struct session *sessions;
	size_t n_sessions, n_tls;
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
	if (!*heads_base(s->heads)) {
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
	snprintf(url, STREAM_URL_SIZE, "%s/%s/%s", heads_base(s->heads), kind_names[kind], t->text);
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
	--*n->count;
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

static int start(struct streaming *s, size_t *count, const struct proc_spec *spec, struct err *e)
{
	struct session *x = xcalloc(1, sizeof *x);
	x->s = s;
	x->proc = PROC_NONE;
	x->watch = WATCH_NONE;
	x->count = count;
	x->next = s->sessions;
	s->sessions = x;
	++*count;
	if (proc_start(&x->proc, spec, e) == 0 &&
	    loop_add(s->d->loop, &x->watch, x->proc.pidfd, EPOLLIN, on_session_end, x, e) == 0)
		return 0;
	proc_kill(&x->proc, SIGKILL);
	session_free(x);
	return -1;
}

/* The private key is in no process that lives on, and what a stranger sends before the handshake is
 * read by one that has no rights. */
static int start_tls(int fd, int plain, void *arg, struct err *e)
{
	struct streaming *s = arg;
	const char *argv[20];
	char sock[16], other[16];
	if (s->n_tls >= TLS_MAX)
		return err_set(e, ERR_EXHAUSTED, "%d TLS connections at once", TLS_MAX);
	size_t n = jobs_argv(s->d->jobs, "ctrtls", argv);
	snprintf(sock, sizeof sock, "%d", fd);
	snprintf(other, sizeof other, "%d", plain);
	argv[n++] = "serve";
	argv[n++] = "--fd";
	argv[n++] = sock;
	argv[n++] = "--plain-fd";
	argv[n++] = other;
	argv[n] = NULL;
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = jobs_env(s->d->jobs, "", false);
	spec.keep = (const int[]){fd, plain, -1};
	spec.new_session = true;
	return start(s, &s->n_tls, &spec, e);
}

/* Better no streaming than clients that fail one by one. */
static int check_tls(struct streaming *s, struct err *e)
{
	const char *argv[12];
	AUTO_BUF struct buf why = BUF_INIT(sizeof e->msg / 2);
	struct proc_result r;
	size_t n = jobs_argv(s->d->jobs, "ctrtls", argv);
	argv[n++] = "check";
	argv[n] = NULL;
	struct proc_spec spec = PROC_SPEC(argv);
	if (proc_run(&spec, NULL, 0, NULL, &why, CHECK_MS, &r, e) < 0)
		return -1;
	if (proc_exit_code(&r) == 0)
		return 0;
	if (why.len && why.data[why.len - 1] == '\n')
		why.data[why.len - 1] = '\0';
	return err_set(e, ERR_BAD_INPUT, "%s", why.len ? why.data : "ctrtls check failed");
}

static int start_session(struct streaming *s, const struct head *h, const struct token *t,
			 struct err *e)
{
	char sock[16], file[16];
	size_t len;
	const char *data = head_data(h, &len);
	AUTO_FREE const char **argv = xcalloc(t->n_words + 20, sizeof *argv);
	AUTO_CLOSE int head = toolrun_file("request", data, len, e);
	if (head < 0)
		return -1;
	if (s->n_sessions >= SESSIONS_MAX)
		return err_set(e, ERR_EXHAUSTED, "%d streaming sessions at once", SESSIONS_MAX);
	size_t n = jobs_argv(s->d->jobs, "ctrstream", argv);
	snprintf(sock, sizeof sock, "%d", head_fd(h));
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
	spec.keep = (const int[]){head_fd(h), head, -1};
	spec.new_session = true;
	return start(s, &s->n_sessions, &spec, e);
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

static void on_head(struct head *h, void *arg)
{
	struct streaming *s = arg;
	struct err e;
	size_t len;
	struct token *t = find_token(s, head_data(h, &len));
	if (!t) {
		head_answer(h, "404 Not Found", "text/plain",
			    "no such request, or it has expired\n");
		return;
	}
	int r = start_session(s, h, t, &e);
	token_free(t);
	if (r == 0) {
		head_done(h);
		return;
	}
	log_warn("streaming: %s", e.msg);
	AUTO_FREE char *text = xasprintf("%s\n", e.msg);
	head_answer(h, "503 Service Unavailable", "text/plain", text);
}

struct streaming *streaming_new(struct crispd *d)
{
	struct streaming *s = xcalloc(1, sizeof *s);
	s->d = d;
	streaming_listen(s);
	return s;
}

void streaming_listen(struct streaming *s)
{
	const struct config *cfg = &s->d->cfg;
	heads_free(s->heads);
	s->heads = heads_new(s->d->loop, "streaming", on_head, s);
	if (cfg->stream_enable_tls)
		heads_wrap(s->heads, start_tls);
	if ((cfg->stream_enable_tls && check_tls(s, &s->why) < 0) ||
	    heads_listen(s->heads, cfg->stream_address, cfg->stream_port, &s->why) < 0)
		log_warn("streaming (exec, attach, port-forward) is off: %s", s->why.msg);
	else
		log_info("streaming on %s", heads_base(s->heads));
}

void streaming_free(struct streaming *s)
{
	if (!s)
		return;
	heads_free(s->heads);
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
