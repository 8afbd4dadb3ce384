/* SPDX-License-Identifier: Apache-2.0 */
#include "credhelper.h"

#include "auto.h"
#include "buf.h"
#include "headers.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 64 << 10 };

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct call {
	struct proc proc;
	int out; /* its stdout and stderr together, as docker reads them; -1 = at its end */
	struct buf text;
	bool can_read, ended;
};

static const char *search_path(void)
{
	const char *path = getenv("PATH");
	return path && *path ? path : default_path;
}

/* The program's absolute path, or NULL. */
static char *find(const char *name)
{
	for (const char *p = search_path(); *p; p += *p == ':') {
		size_t n = strcspn(p, ":");
		AUTO_FREE char *file = xasprintf("%.*s/docker-credential-%s", (int)n, p, name);
		if (*p == '/' && access(file, X_OK) == 0)
			return TAKE(file);
		p += n;
	}
	return NULL;
}

static int start(struct call *c, const char *program, const char *server, struct err *e)
{
	const char *home = getenv("HOME");
	AUTO_FREE char *env_home = xasprintf("HOME=%s", home && *home ? home : "/root");
	AUTO_FREE char *env_path = xasprintf("PATH=%s", search_path());
	const char *const argv[] = {program, "get", NULL};
	const char *const envp[] = {env_home, env_path, NULL};
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int in_read = in[0];
	AUTO_CLOSE int in_write = in[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int out_write = out[1];
	c->out = out[0];
	fcntl(c->out, F_SETFL, O_NONBLOCK);
	/* A name fits into an empty pipe: this cannot block. */
	ssize_t len = (ssize_t)strlen(server);
	if (write(in_write, server, (size_t)len) != len)
		return err_sys(e, "write");
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = envp;
	spec.in = in_read;
	spec.out = spec.err = out_write;
	spec.new_group = true;
	spec.die_with_parent = true;
	return proc_start(&c->proc, &spec, e);
}

static void collect(struct call *c)
{
	char chunk[4096];
	struct err ignored;
	for (;;) {
		ssize_t n = read(c->out, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			auto_close(&c->out);
			c->out = -1;
			return;
		}
		size_t room = c->text.limit - c->text.len;
		(void)buf_add(&c->text, chunk, (size_t)n < room ? (size_t)n : room, &ignored);
	}
}

/* Until it has ended: what it started may hold the pipe for ever. */
static int wait_end(struct call *c, struct engine *en, const char *who, long seconds,
		    struct proc_result *res, struct err *e)
{
	long long deadline = proc_now_ms() + seconds * 1000LL;
	for (;;) {
		c->can_read = c->ended = false;
		if (c->out >= 0)
			engine_watch(en, c->out, POLLIN, &c->can_read);
		engine_watch(en, c->proc.pidfd, POLLIN, &c->ended);
		engine_wake(en, deadline);
		if (engine_wait(en, e) < 0)
			return -1;
		/* In this order: what it wrote before its end is there by now. */
		if (c->out >= 0 && (c->can_read || c->ended))
			collect(c);
		if (c->ended)
			return proc_wait(&c->proc, -1, res, e);
		if (proc_now_ms() >= deadline)
			return err_set(e, ERR_DENIED, "%s: no answer within %ld s", who, seconds);
	}
}

static int take_answer(struct call *c, const char *who, const struct proc_result *res,
		       struct auth *a, struct err *e)
{
	char said[300];
	if (res->exited && res->status == 0)
		return auth_from_helper(a, c->text.data, c->text.len, who, e);
	snprintf(said, sizeof said, "%.*s", c->text.len < 290 ? (int)c->text.len : 290,
		 c->text.data ? c->text.data : "");
	one_line(said);
	/* The words that docker's own helpers have for "none". */
	if (strstr(said, "credentials not found"))
		return 0;
	for (size_t n = strlen(said); n > 0 && said[n - 1] == ' '; n--)
		said[n - 1] = '\0';
	return err_set(e, ERR_DENIED, "%s fails (%s %d): %s", who, res->exited ? "exit" : "signal",
		       res->status, *said ? said : "it says nothing");
}

int credhelper_get(struct engine *en, const char *name, const char *host, long seconds,
		   struct auth *a, struct err *e)
{
	struct call c = {.proc = PROC_NONE, .out = -1, .text = BUF_INIT(ANSWER_MAX)};
	struct proc_result res = {.exited = false}, ignored;
	struct err quiet;
	char who[100];
	*a = (struct auth){.user = NULL};
	if (!auth_helper_name_is_good(name))
		return err_set(e, ERR_BAD_INPUT,
			       "auth_file: bad name of a credential helper '%.60s'", name);
	snprintf(who, sizeof who, "docker-credential-%s", name);
	AUTO_FREE char *program = find(name);
	if (!program)
		return err_set(e, ERR_DENIED, "%s, which auth_file names, is not in PATH", who);
	const char *server = strcmp(host, "docker.io") == 0 ? "https://index.docker.io/v1/" : host;
	int rc = start(&c, program, server, e);
	if (rc == 0)
		rc = wait_end(&c, en, who, seconds, &res, e);
	else
		rc = err_wrap(e, "%s", who);
	if (rc == 0)
		rc = take_answer(&c, who, &res, a, e);
	if (c.proc.pid > 0) {
		proc_kill(&c.proc, SIGKILL);
		(void)proc_wait(&c.proc, -1, &ignored, &quiet);
	}
	auto_close(&c.out);
	/* What it said was a secret. */
	if (c.text.data)
		explicit_bzero(c.text.data, c.text.len);
	buf_release(&c.text);
	return rc;
}
