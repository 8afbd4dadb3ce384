/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 80, SAYS_MAX = 64 << 10 };

/* Our environment, in which the tools report as objects, and note in the journal what they do. */
static const char **environment(void)
{
	static const char json[] = "CRISP_LOG=json";
	extern char **environ;
	size_t n = 0, at = 0;
	while (environ[n])
		n++;
	const char **env = xcalloc(n + 2, sizeof *env);
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "CRISP_LOG=", 10) != 0 &&
		    strncmp(environ[i], "CRISP_REQ=", 10) != 0 &&
		    strncmp(environ[i], "CRISP_CONFIG=", 13) != 0)
			env[at++] = environ[i];
	env[at] = json;
	return env;
}

/* Its last error is ours; what it only remarked is passed on. */
static void take_words(const struct tools *t, const char *tool, char *text, struct err *e)
{
	struct err ignored;
	for (char *line; (line = strsep(&text, "\n"));) {
		AUTO_JSON json_t *j = jsonx_parse(line, strlen(line), "line", &ignored);
		const char *msg = jsonx_opt_string(j, "msg", line);
		if (!*msg)
			continue;
		if (strcmp(jsonx_opt_string(j, "level", ""), "error") == 0)
			err_set(e, err_kind_of_name(jsonx_opt_string(j, "code", "")), "%s: %s",
				tool, msg);
		else if (!t->quiet)
			log_warn("%s: %s", tool, msg);
	}
}

static size_t make_argv(const struct tools *t, const char *path, const char *const *words,
			const char **argv)
{
	size_t n = 0;
	argv[n++] = path;
	if (t->config_file) {
		argv[n++] = "--config";
		argv[n++] = t->config_file;
	}
	argv[n++] = "--root";
	argv[n++] = t->root;
	argv[n++] = "--runroot";
	argv[n++] = t->runroot;
	while (*words && n < WORDS_MAX - 1)
		argv[n++] = *words++;
	argv[n] = NULL;
	return n;
}

/* Everything that has come through a pipe so far. False at its end. */
static bool collect(int fd, struct buf *b)
{
	char chunk[16384];
	struct err ignored;
	ssize_t n = read(fd, chunk, sizeof chunk);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	size_t room = b ? b->limit - b->len : 0;
	if (b && n > 0)
		(void)buf_add(b, chunk, (size_t)n < room ? (size_t)n : room, &ignored);
	return n > 0;
}

/* 1 it has ended, 0 the clock has, -1 with ERR_CANCELLED. */
static int pump(const struct tools *t, struct proc *p, int fds[2], struct buf *bufs[2],
		int timeout_ms, struct err *e)
{
	long long until = timeout_ms < 0 ? -1 : proc_now_ms() + timeout_ms;
	for (;;) {
		struct pollfd q[] = {{.fd = p->pidfd, .events = POLLIN},
				     {.fd = t->cancel, .events = POLLIN},
				     {.fd = fds[0], .events = POLLIN},
				     {.fd = fds[1], .events = POLLIN}};
		long long left = until < 0 ? -1 : until - proc_now_ms();
		if (until >= 0 && left <= 0)
			return 0;
		if (poll(q, ARRAY_LEN(q), (int)left) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		for (int i = 0; i < 2; i++)
			if (q[2 + i].revents && !collect(fds[i], bufs[i]))
				close(TAKE_FD(fds[i]));
		if (q[1].revents)
			return err_set(e, ERR_CANCELLED, "interrupted");
		if (q[0].revents & POLLIN)
			return 1;
	}
}

static int start(struct proc *p, const char *const *argv, int fds[2], struct err *e)
{
	int ends[2][2] = {{-1, -1}, {-1, -1}};
	AUTO_FREE const char **env = environment();
	struct proc_spec s = PROC_SPEC(argv);
	int r = 0;
	for (int i = 0; i < 2 && r == 0; i++)
		r = pipe2(ends[i], O_CLOEXEC) < 0 ? err_sys(e, "pipe") : 0;
	s.envp = env;
	s.out = ends[0][1];
	s.err = ends[1][1];
	s.new_group = true;
	s.die_with_parent = true;
	if (r == 0)
		r = proc_start(p, &s, e);
	for (int i = 0; i < 2; i++) {
		auto_close(&ends[i][1]);
		fds[i] = ends[i][0];
		if (r == 0)
			fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
		else
			auto_close(&fds[i]);
	}
	return r;
}

/* A tool that is told to end undoes what it has begun; one that does not is killed. */
static void end(struct proc *p)
{
	enum { GRACE_MS = 20000 };
	struct err ignored;
	struct proc_result r;
	proc_kill(p, SIGTERM);
	(void)proc_wait(p, GRACE_MS, &r, &ignored);
}

int tools_run(const struct tools *t, const char *tool, const char *const *words, struct buf *out,
	      int timeout_ms, struct err *e)
{
	const char *argv[WORDS_MAX];
	int fds[2];
	struct proc p = PROC_NONE;
	struct proc_result r;
	AUTO_FREE char *path = config_tool(t->cfg, tool, e);
	AUTO_BUF struct buf says = BUF_INIT(SAYS_MAX);
	struct buf *bufs[] = {out, &says};
	if (!path)
		return -1;
	make_argv(t, path, words, argv);
	if (start(&p, argv, fds, e) < 0)
		return -1;
	int ended = pump(t, &p, fds, bufs, timeout_ms, e);
	if (ended == 0)
		err_set(e, ERR_TIMEOUT, "%s %s: deadline passed", tool, words[0]);
	if (ended <= 0)
		end(&p);
	else if (proc_wait(&p, -1, &r, e) < 0)
		ended = -1;
	for (int i = 0; i < 2; i++) {
		while (fds[i] >= 0 && ended > 0 && collect(fds[i], bufs[i]) && errno != EAGAIN)
			;
		auto_close(&fds[i]);
	}
	if (ended <= 0)
		return -1;
	int status = proc_exit_code(&r);
	if (status)
		err_set(e, err_kind_of_exit(status), "%s %s failed with status %d", tool, words[0],
			status);
	take_words(t, tool, says.data, e);
	return status ? -1 : 0;
}

int tools_line(const struct tools *t, const char *tool, const char *const *words, char *line,
	       size_t size, int timeout_ms, struct err *e)
{
	AUTO_BUF struct buf out = BUF_INIT(64 << 10);
	if (tools_run(t, tool, words, &out, timeout_ms, e) < 0)
		return -1;
	size_t n = out.data ? strcspn(out.data, "\n") : 0;
	if (n == 0 || n >= size)
		return err_set(e, ERR_FAILED, "%s %s: no result", tool, words[0]);
	memcpy(line, out.data, n);
	line[n] = '\0';
	return 0;
}
