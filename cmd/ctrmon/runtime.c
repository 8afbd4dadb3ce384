/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "console.h"
#include "fs.h"
#include "log.h"
#include "monitor.h"
#include "rtwords.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ARGS_MAX = 2 * OPT_STRINGS_MAX + 32, PATH_SIZE = 4200, LOG_TAIL = 4096 };

struct args {
	const char *v[ARGS_MAX];
	size_t n;
	char bundle[PATH_SIZE], pid_file[PATH_SIZE], log[PATH_SIZE], work[PATH_SIZE], console[64];
};

static void add(struct args *a, const char *s)
{
	a->v[a->n++] = s;
	a->v[a->n] = NULL;
}

/* PATH --root R ARGS… --log F; the verb follows. */
static void build_head(struct args *a, const struct monitor *m)
{
	const struct mon_opts *o = m->opts;
	snprintf(a->log, sizeof a->log, "%s/containers/%s/runtime.log", m->ctx->cfg.runroot, m->id);
	a->n = 0;
	add(a, o->runtime);
	add(a, "--root");
	add(a, o->runtime_root);
	for (int i = 0; i < o->runtime_args.count; i++)
		add(a, o->runtime_args.v[i]);
	add(a, "--log");
	add(a, a->log);
	add(a, "--log-format");
	add(a, "json");
	if (o->systemd)
		add(a, "--systemd-cgroup");
}

static void build(struct args *a, const struct monitor *m)
{
	const struct mon_opts *o = m->opts;
	const char *run = m->ctx->cfg.runroot;
	snprintf(a->bundle, sizeof a->bundle, "%s/containers/%s/bundle", run, m->id);
	snprintf(a->pid_file, sizeof a->pid_file, "%s/containers/%s/pid", run, m->id);
	build_head(a, m);
	add(a, o->restore ? "restore" : "create");
	if (o->restore) {
		/* restore.log beside the runtime's own. */
		add(a, "--detach");
		add(a, "--image-path");
		add(a, o->restore);
		add(a, "--work-path");
		snprintf(a->work, sizeof a->work, "%s/containers/%s", run, m->id);
		add(a, a->work);
		for (int i = 0; i < o->restore_args.count; i++)
			add(a, o->restore_args.v[i]);
	}
	add(a, "--bundle");
	add(a, a->bundle);
	add(a, "--pid-file");
	add(a, a->pid_file);
	if (o->tty) {
		console_path(m->run_dir, "console.sock", a->console, sizeof a->console);
		add(a, "--console-socket");
		add(a, a->console);
	}
	add(a, m->id);
}

int runtime_start(struct monitor *m, struct err *e)
{
	struct args a = {.n = 0};
	build(&a, m);
	static const char *const stale[] = {"pid", "pid.container", "pid.oom"};
	for (size_t i = 0; i < ARRAY_LEN(stale); i++)
		unlinkat(m->run_dir, stale[i], 0);
	unlinkat(m->run_dir, "runtime.log", 0);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.in = m->io.child[0];
	s.out = m->io.child[1];
	s.err = m->io.child[2];
	s.new_group = true;
	/* If we are killed meanwhile nobody would wait for its container. */
	s.die_with_parent = true;
	int r = proc_start(&m->runtime, &s, e);
	/* Its start needs them again. */
	if (!m->opts->wait)
		stdio_close_child(&m->io);
	return r;
}

int runtime_verb(struct monitor *m, struct proc *p, int out, const char *verb, const char *option,
		 const char *word, const char *last, struct err *e)
{
	struct args a = {.n = 0};
	const char *rest[] = {verb, option, word, m->id, last};
	build_head(&a, m);
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		if (rest[i])
			add(&a, rest[i]);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.out = out;
	s.err = -1;
	s.new_group = true;
	s.die_with_parent = true;
	return proc_start(p, &s, e);
}

bool runtime_delete(struct monitor *m)
{
	struct args a = {.n = 0};
	struct proc p;
	struct proc_result r;
	struct err e;
	build_head(&a, m);
	add(&a, "delete");
	add(&a, "--force");
	add(&a, m->id);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.err = -1;
	s.new_group = true;
	if (proc_start(&p, &s, &e) < 0 ||
	    proc_wait(&p, (int)(m->ctx->timeout * 1000), &r, &e) < 0) {
		log_warn("delete: %s", e.msg);
		return false;
	}
	return r.exited && r.status == 0;
}

/* The last LOG_TAIL bytes of runtime.log. */
static size_t log_tail(const struct monitor *m, char *out)
{
	AUTO_CLOSE int fd =
		openat(m->run_dir, "runtime.log", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	ssize_t n = pread(fd, out, LOG_TAIL, st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0);
	return n > 0 ? (size_t)n : 0;
}

static int refused(struct monitor *m, const struct proc_result *r, struct err *e)
{
	char log[LOG_TAIL], words[900];
	stdio_drain(m);
	rtwords_pick(log, log_tail(m, log), m->io.tail, m->io.tail_len, words, sizeof words);
	if (m->timed_out)
		return err_set(e, ERR_TIMEOUT, "%s %s did not end within %.0f s", m->opts->runtime,
			       m->opts->restore ? "restore" : "create", m->ctx->timeout);
	if (*words)
		return err_set(e, ERR_FAILED, "%s", words);
	return err_set(e, ERR_FAILED, "%s %s: %s %d", m->opts->runtime,
		       m->opts->restore ? "restore" : "create",
		       r->exited ? "exit status" : "killed by signal", r->status);
}

static int read_pid(const struct monitor *m, const char *name, pid_t *out, struct err *e)
{
	AUTO_BUF struct buf text = BUF_INIT(32);
	long pid;
	if (fs_read_at(m->run_dir, name, &text, e) < 0)
		return -1;
	if (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	if (!text.len || tool_parse_long(text.data, &pid) < 0 || pid < 0 || pid > INT32_MAX)
		return err_set(e, ERR_FAILED, "%s wrote no process id into its pid file",
			       m->opts->runtime);
	*out = (pid_t)pid;
	return 0;
}

pid_t runtime_pid(const struct monitor *m)
{
	return m->inside ? m->inside : m->pid;
}

bool runtime_saw_oom(const struct monitor *m)
{
	return faccessat(m->run_dir, "pid.oom", F_OK, 0) == 0;
}

int runtime_result(struct monitor *m, const struct proc_result *r, struct err *e)
{
	if (m->timed_out || !r->exited || r->status != 0)
		return refused(m, r, e);
	if (read_pid(m, "pid", &m->pid, e) < 0)
		return e->kind == ERR_NOT_FOUND
			       ? err_wrap(e, "%s wrote no pid file", m->opts->runtime)
			       : -1;
	if (m->pid <= 1)
		return err_set(e, ERR_FAILED, "%s wrote no process id into its pid file",
			       m->opts->runtime);
	if (read_pid(m, "pid.container", &m->inside, e) < 0 && e->kind != ERR_NOT_FOUND)
		return -1;
	return 0;
}
