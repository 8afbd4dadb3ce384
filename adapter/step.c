/* SPDX-License-Identifier: Apache-2.0 */
#include "step.h"

#include "auto.h"
#include "log.h"
#include "reaper.h"
#include "record.h"
#include "standby.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { STDERR_MAX = 64 << 10, STDOUT_MAX = 1 << 20, KILL_AFTER_MS = 5000 };

struct step *step_new(struct job *j, int flags, long long timeout_ms, const char *tool)
{
	struct step *s = xcalloc(1, sizeof *s);
	s->job = j;
	s->flags = flags;
	s->timeout_ms = timeout_ms;
	s->tool = tool;
	s->run = TOOLRUN_NONE;
	s->watch = WATCH_NONE;
	s->told = WATCH_NONE;
	return s;
}

void step_word(struct step *s, const char *word)
{
	s->argv = xrealloc(s->argv, (s->argc + 2) * sizeof *s->argv);
	s->argv[s->argc++] = xstrdup(word);
	s->argv[s->argc] = NULL;
}

void step_stdin(struct step *s, const char *data, size_t len, const char *file)
{
	s->input = xmalloc(len + 1);
	memcpy(s->input, data, len);
	s->input_len = len;
	s->stdin_file = file ? xstrdup(file) : NULL;
}

void step_then(struct step *s, void (*then)(struct job *j))
{
	s->then = then;
}

void step_secret(struct step *s, const void *data, size_t len)
{
	s->secret = xmalloc(len + 1);
	memcpy(s->secret, data, len);
	s->secret_len = len;
}

void step_free(struct step *s)
{
	if (s->d) {
		loop_del(s->d->loop, &s->watch);
		loop_del(s->d->loop, &s->told);
		loop_timer_cancel(s->d->loop, &s->clock);
	}
	auto_close(&s->run.proc.pidfd);
	toolrun_close(&s->run);
	for (size_t i = 0; i < s->argc; i++)
		free((char *)s->argv[i]);
	free(s->argv);
	free(s->input);
	free(s->stdin_file);
	if (s->secret)
		explicit_bzero(s->secret, s->secret_len);
	free(s->secret);
	free(s->output);
	free(s->warning);
	free(s);
}

/* The last `max` bytes of the file; NUL-terminated. */
static char *tail(int fd, size_t max, size_t *len)
{
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)max ? end - (off_t)max : 0;
	size_t size = end > from ? (size_t)(end - from) : 0;
	char *text = xmalloc(size + 1);
	ssize_t n = size ? pread(fd, text, size, from) : 0;
	*len = n > 0 ? (size_t)n : 0;
	text[*len] = '\0';
	return text;
}

static void read_result(struct step *s, const struct proc_result *r)
{
	size_t len;
	AUTO_FREE char *text = tail(s->run.err, STDERR_MAX, &len);
	s->exit_code = proc_exit_code(r);
	s->failed = s->exit_code != 0;
	jobs_read_stderr(s->tool, text, len, s->exit_code, &s->warning, &s->error);
	if (s->timed_out) {
		s->failed = true;
		s->exit_code = 124;
		err_set(&s->error, ERR_TIMEOUT, "%s: no end within %lld s", s->tool,
			s->timeout_ms / 1000);
	}
	s->output = tail(s->run.out, STDOUT_MAX, &len);
	s->output[strcspn(s->output, "\n")] = '\0';
}

static void finish(struct step *s, const struct proc_result *r)
{
	loop_del(s->d->loop, &s->watch);
	loop_del(s->d->loop, &s->told);
	loop_timer_cancel(s->d->loop, &s->clock);
	s->ms = proc_now_ms() - s->started_ms;
	if (s->run.proc.pidfd >= 0)
		reaper_take(s->d->reaper, &s->run.proc);
	read_result(s, r);
	/* The files are closed when it is freed, which is after the answer. */
	s->ended(s);
}

static void on_end(struct watch *w, uint32_t events)
{
	struct step *s = w->arg;
	struct proc_result r;
	struct err e;
	(void)events;
	int n = proc_try_reap(&s->run.proc, &r, &e);
	if (n < 0)
		r = (struct proc_result){.exited = true, .status = 1};
	if (n != 0)
		finish(s, &r);
}

static void on_told(struct watch *w, uint32_t events)
{
	struct step *s = w->arg;
	struct proc_result r = {.exited = true};
	(void)events;
	int n = toolrun_told(&s->run, &r.status);
	if (n > 0)
		finish(s, &r);
	else if (n < 0)
		loop_del(s->d->loop, w);
}

static void on_clock(struct timer *t)
{
	struct step *s = t->arg;
	s->timed_out = s->timed_out || !s->terminated;
	step_cancel(s);
}

void step_cancel(struct step *s)
{
	if (s->run.proc.pid < 0)
		return;
	proc_kill(&s->run.proc, s->terminated ? SIGKILL : SIGTERM);
	s->terminated = true;
	loop_timer(s->d->loop, &s->clock, KILL_AFTER_MS, on_clock, s);
}

/* Its number replaces the word "@FD". */
static int secret_file(struct step *s, struct err *e)
{
	char number[16];
	int fd = toolrun_file("secret", s->secret, s->secret_len, e);
	snprintf(number, sizeof number, "%d", fd);
	for (size_t i = 0; fd >= 0 && i < s->argc; i++)
		if (strcmp(s->argv[i], "@FD") == 0) {
			free((char *)s->argv[i]);
			s->argv[i] = xstrdup(number);
		}
	return fd;
}

static int launch(struct step *s, const char *req, struct err *e)
{
	/* One that waits has neither a secret nor the variables for a proxy. */
	if (!s->secret && !(s->flags & STEP_PROXY) &&
	    standby_begin(s->d->standbys, s->argv, s->input, s->input_len, req, &s->run))
		return 0;
	AUTO_CLOSE int secret = s->secret ? secret_file(s, e) : -1;
	if (s->secret && secret < 0)
		return -1;
	return toolrun_start(&s->run, s->argv, jobs_env(s->d->jobs, req, s->flags & STEP_PROXY),
			     s->input, s->input_len, secret, e);
}

int step_start(struct step *s, struct crispd *d, const char *req, void (*ended)(struct step *))
{
	struct err e;
	s->d = d;
	s->ended = ended;
	s->when_ns = record_now_ns();
	s->started_ms = proc_now_ms();
	if (launch(s, req, &e) < 0 ||
	    loop_add(d->loop, &s->watch, s->run.proc.pidfd, EPOLLIN, on_end, s, &e) < 0) {
		proc_kill(&s->run.proc, SIGKILL);
		if (s->run.proc.pidfd >= 0)
			reaper_take(d->reaper, &s->run.proc);
		s->failed = true;
		s->exit_code = 127;
		s->error = e;
		return -1;
	}
	/* Without it the process's end tells. */
	if (s->run.gate >= 0 &&
	    loop_add(d->loop, &s->told, s->run.gate, EPOLLIN, on_told, s, &e) < 0)
		log_err(&e);
	if (s->timeout_ms >= 0)
		loop_timer(d->loop, &s->clock, s->timeout_ms, on_clock, s);
	return 0;
}
