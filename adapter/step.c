/* SPDX-License-Identifier: Apache-2.0 */
#include "step.h"

#include "auto.h"
#include "fs.h"
#include "record.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

enum { STDERR_MAX = 64 << 10, STDOUT_MAX = 1 << 20, KILL_AFTER_MS = 5000 };

struct step *step_new(struct job *j, int flags, long long timeout_ms, const char *tool)
{
	struct step *s = xcalloc(1, sizeof *s);
	s->job = j;
	s->flags = flags;
	s->timeout_ms = timeout_ms;
	s->tool = tool;
	s->proc = PROC_NONE;
	s->watch = WATCH_NONE;
	s->out = s->err = s->secret_fd = -1;
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

void step_secret(struct step *s, const void *data, size_t len)
{
	s->secret = xmalloc(len + 1);
	memcpy(s->secret, data, len);
	s->secret_len = len;
}

static void close_files(struct step *s)
{
	auto_close(&s->out);
	auto_close(&s->err);
	auto_close(&s->secret_fd);
	s->out = s->err = s->secret_fd = -1;
}

void step_free(struct step *s)
{
	loop_del(s->loop, &s->watch);
	if (s->loop)
		loop_timer_cancel(s->loop, &s->clock);
	auto_close(&s->proc.pidfd);
	close_files(s);
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

static int memory_file(const char *name, const void *data, size_t len, struct err *e)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memfd_create");
	if (len && fs_write_all(fd, data, len, e) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "rewind %s", name);
	return TAKE_FD(fd);
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
	AUTO_FREE char *text = tail(s->err, STDERR_MAX, &len);
	s->exit_code = proc_exit_code(r);
	s->failed = s->exit_code != 0;
	jobs_read_stderr(s->tool, text, len, s->exit_code, &s->warning, &s->error);
	if (s->timed_out) {
		s->failed = true;
		s->exit_code = 124;
		err_set(&s->error, ERR_TIMEOUT, "%s: no end within %lld s", s->tool,
			s->timeout_ms / 1000);
	}
	s->output = tail(s->out, STDOUT_MAX, &len);
	s->output[strcspn(s->output, "\n")] = '\0';
}

static void on_end(struct watch *w, uint32_t events)
{
	struct step *s = w->arg;
	struct proc_result r;
	struct err e;
	(void)events;
	int n = proc_try_reap(&s->proc, &r, &e);
	if (n == 0)
		return;
	loop_del(s->loop, &s->watch);
	loop_timer_cancel(s->loop, &s->clock);
	s->ms = proc_now_ms() - s->started_ms;
	if (n < 0)
		r = (struct proc_result){.exited = true, .status = 1};
	read_result(s, &r);
	close_files(s);
	s->ended(s);
}

static void on_clock(struct timer *t)
{
	struct step *s = t->arg;
	s->timed_out = s->timed_out || !s->terminated;
	step_cancel(s);
}

void step_cancel(struct step *s)
{
	if (s->proc.pid < 0)
		return;
	proc_kill(&s->proc, s->terminated ? SIGKILL : SIGTERM);
	s->terminated = true;
	loop_timer(s->loop, &s->clock, KILL_AFTER_MS, on_clock, s);
}

static int launch(struct step *s, const char *const *env, struct err *e)
{
	int keep[2] = {-1, -1};
	char number[16];
	AUTO_CLOSE int in = -1;
	if (s->input && (in = memory_file("stdin", s->input, s->input_len, e)) < 0)
		return -1;
	if ((s->out = memory_file("stdout", NULL, 0, e)) < 0 ||
	    (s->err = memory_file("stderr", NULL, 0, e)) < 0)
		return -1;
	if (s->secret) {
		keep[0] = s->secret_fd = memory_file("secret", s->secret, s->secret_len, e);
		if (s->secret_fd < 0)
			return -1;
		snprintf(number, sizeof number, "%d", s->secret_fd);
		for (size_t i = 0; i < s->argc; i++)
			if (strcmp(s->argv[i], "@FD") == 0) {
				free((char *)s->argv[i]);
				s->argv[i] = xstrdup(number);
			}
	}
	struct proc_spec spec = PROC_SPEC(s->argv);
	spec.envp = env;
	spec.in = in;
	spec.out = s->out;
	spec.err = s->err;
	spec.keep = keep;
	spec.new_group = true;
	return proc_start(&s->proc, &spec, e);
}

int step_start(struct step *s, struct loop *l, const char *const *env, void (*ended)(struct step *))
{
	struct err e;
	s->loop = l;
	s->ended = ended;
	s->when_ns = record_now_ns();
	s->started_ms = proc_now_ms();
	if (launch(s, env, &e) < 0 ||
	    loop_add(l, &s->watch, s->proc.pidfd, EPOLLIN, on_end, s, &e) < 0) {
		proc_kill(&s->proc, SIGKILL);
		s->failed = true;
		s->exit_code = 127;
		s->error = e;
		return -1;
	}
	if (s->timeout_ms >= 0)
		loop_timer(l, &s->clock, s->timeout_ms, on_clock, s);
	return 0;
}
