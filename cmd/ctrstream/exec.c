/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrstream.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

extern char **environ;

enum {
	STATUS_MAX = 16 << 10,
	PIPE_SIZE = 256 << 10,
	DRAIN_MS = 2000, /* for output of processes that outlive the command */
	AGAIN_MS = 200,
	KILL_AFTER_MS = 10000, /* ctrrun takes five seconds to end all processes of a command */
};

struct exec {
	struct remote r;
	struct proc proc;
	struct watch end;
	struct timer clock;
	int status, master; /* master: for the size */
	bool ended;
	struct proc_result result;
};

static void on_kill(struct timer *t)
{
	struct exec *x = t->arg;
	proc_kill(&x->proc, SIGKILL);
}

/* Nobody is there any more for whom the command could work. */
static void hung_up(struct remote *r)
{
	struct exec *x = r->arg;
	if (x->ended || x->proc.pid < 0) {
		loop_stop(r->loop);
		return;
	}
	proc_kill(&x->proc, SIGTERM);
	loop_timer(r->loop, &x->clock, KILL_AFTER_MS, on_kill, x);
}

static void resize(struct remote *r, unsigned width, unsigned height)
{
	struct exec *x = r->arg;
	struct winsize ws = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
	if (x->master < 0 || ioctl(x->master, TIOCSWINSZ, &ws) < 0)
		return;
	/* It is nobody's controlling terminal, so the kernel tells nobody. */
	if (x->proc.pidfd >= 0)
		pidfd_send_signal(x->proc.pidfd, SIGWINCH, NULL, 0);
}

static void stdin_ended(struct remote *r)
{
	(void)r; /* the pipe is closed: that says it all */
}

/* ctrrun's own word; without one its exit status has to do. */
static void report(struct exec *x)
{
	char text[STATUS_MAX];
	struct err e;
	ssize_t n = read(x->status, text, sizeof text);
	int code = proc_exit_code(&x->result);
	AUTO_JSON json_t *j =
		n > 0 ? json_loadb(text, (size_t)n, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	const json_t *told = json_object_get(j, "code");
	if (json_is_integer(told)) {
		remote_exit_code(&x->r, (int)json_integer_value(told));
	} else if (json_is_string(told)) {
		err_set(&e, err_kind_of_name(json_string_value(told)), "%s",
			jsonx_opt_string(j, "msg", "exec failed"));
		remote_failure(&x->r, &e);
	} else {
		err_set(&e, ERR_FAILED, "ctrrun exec ended with status %d", code);
		remote_failure(&x->r, &e);
	}
}

static void check_end(struct exec *x)
{
	if (!x->ended)
		return;
	if (x->r.hung_up)
		loop_stop(x->r.loop);
	else if (!remote_outputs_open(&x->r))
		report(x);
}

static void outputs_ended(struct remote *r)
{
	check_end(r->arg);
}

/* Something that the command has left behind holds the pipes. What the command itself wrote goes to
 * the client all the same, however slow that is. */
static void on_drained(struct timer *t)
{
	struct exec *x = t->arg;
	remote_cut_outputs(&x->r);
	if (remote_outputs_open(&x->r))
		loop_timer(x->r.loop, &x->clock, AGAIN_MS, on_drained, x);
}

static void on_end(struct watch *w, uint32_t events)
{
	struct exec *x = w->arg;
	struct err e;
	(void)events;
	int n = proc_try_reap(&x->proc, &x->result, &e);
	if (n == 0)
		return;
	if (n < 0)
		x->result = (struct proc_result){.exited = true, .status = 1};
	loop_del(x->r.loop, &x->end);
	x->ended = true;
	remote_close_stdin(&x->r);
	remote_owe_outputs(&x->r);
	loop_timer(x->r.loop, &x->clock, DRAIN_MS, on_drained, x);
	check_end(x);
}

static const struct remote_ops ops = {
	.resize = resize,
	.stdin_ended = stdin_ended,
	.outputs_ended = outputs_ended,
	.hung_up = hung_up,
};

/* Our ends and the child's. */
struct ends {
	int in, out, err;
	int child[3], status;
};

static int make_pipe(int *ours, int *theirs, bool we_read, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	*ours = fds[we_read ? 0 : 1];
	*theirs = fds[we_read ? 1 : 0];
	fcntl(*ours, F_SETFL, O_NONBLOCK);
	/* So that the command and we need not take turns; the default does, too. */
	(void)fcntl(*ours, F_SETPIPE_SZ, PIPE_SIZE);
	return 0;
}

/* A terminal between ctrrun and us. ctrrun has the command's own behind it, so this one must leave
 * every byte as it is. */
static int make_terminal(struct exec *x, struct ends *n, struct err *e)
{
	struct termios raw;
	int slave;
	if (openpty(&x->master, &slave, NULL, NULL, NULL) < 0)
		return err_sys(e, "terminal");
	fcntl(x->master, F_SETFD, FD_CLOEXEC);
	fcntl(x->master, F_SETFL, O_NONBLOCK);
	n->child[0] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	n->child[1] = slave;
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	if (tcgetattr(slave, &raw) < 0)
		return err_sys(e, "terminal");
	cfmakeraw(&raw);
	if (tcsetattr(slave, TCSANOW, &raw) < 0)
		return err_sys(e, "terminal");
	n->out = fcntl(x->master, F_DUPFD_CLOEXEC, 3);
	n->in = fcntl(x->master, F_DUPFD_CLOEXEC, 3);
	return n->out < 0 || n->in < 0 ? err_sys(e, "terminal") : 0;
}

static int make_ends(struct exec *x, struct ends *n, struct err *e)
{
	const bool *wanted = x->r.wanted;
	if (make_pipe(&x->status, &n->status, true, e) < 0)
		return -1;
	if (x->r.tty)
		return make_terminal(x, n, e);
	if (wanted[CHAN_STDIN] && make_pipe(&n->in, &n->child[0], false, e) < 0)
		return -1;
	if (wanted[CHAN_STDOUT] && make_pipe(&n->out, &n->child[1], true, e) < 0)
		return -1;
	return wanted[CHAN_STDERR] ? make_pipe(&n->err, &n->child[2], true, e) : 0;
}

/* Ours, but what ctrrun says to people is for people: it goes to the client. */
static const char **environment(void)
{
	size_t n = 0, i = 0;
	while (environ[n])
		n++;
	const char **env = xcalloc(n + 1, sizeof *env);
	for (char **v = environ; *v; v++)
		if (strncmp(*v, "CRISP_LOG=", 10) != 0)
			env[i++] = *v;
	return env;
}

static char *tool_path(const struct config *cfg, struct err *e)
{
	char self[PATH_MAX];
	if (*cfg->tools_dir)
		return xasprintf("%s/ctrrun", cfg->tools_dir);
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n < 0) {
		err_sys(e, "read /proc/self/exe");
		return NULL;
	}
	self[n] = '\0';
	return xasprintf("%s/ctrrun", dirname(self));
}

static int start_command(struct exec *x, const struct start *s, const struct ends *n,
			 const char *ctr, char *const *command, struct err *e)
{
	size_t k = 0, count = 0;
	char number[16];
	while (command[count])
		count++;
	AUTO_FREE const char **env = environment();
	AUTO_FREE const char **argv = xcalloc(count + 20, sizeof *argv);
	AUTO_FREE char *path = tool_path(&s->ctx->cfg, e);
	if (!path)
		return -1;
	snprintf(number, sizeof number, "%d", n->status);
	argv[k++] = path;
	if (s->ctx->config_file) {
		argv[k++] = "--config";
		argv[k++] = s->ctx->config_file;
	}
	argv[k++] = "--root";
	argv[k++] = s->ctx->cfg.root;
	argv[k++] = "--runroot";
	argv[k++] = s->ctx->cfg.runroot;
	argv[k++] = "exec";
	argv[k++] = "--status-fd";
	argv[k++] = number;
	if (x->r.tty)
		argv[k++] = "--tty";
	if (x->r.wanted[CHAN_STDIN])
		argv[k++] = "--stdin";
	argv[k++] = ctr;
	for (size_t i = 0; i < count; i++)
		argv[k++] = command[i];
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = env;
	spec.in = n->child[0];
	spec.out = n->child[1];
	spec.err = n->child[2];
	spec.keep = (const int[]){n->status, -1};
	spec.new_group = true;
	if (proc_start(&x->proc, &spec, e) < 0)
		return -1;
	return loop_add(s->client.loop, &x->end, x->proc.pidfd, EPOLLIN, on_end, x, e);
}

static int begin(struct exec *x, const struct start *s, const char *ctr, char *const *command,
		 struct err *e)
{
	struct ends n = {-1, -1, -1, {-1, -1, -1}, -1};
	int r = make_ends(x, &n, e);
	if (r == 0)
		r = start_command(x, s, &n, ctr, command, e);
	for (int i = 0; i < 3; i++)
		auto_close(&n.child[i]);
	auto_close(&n.status);
	remote_attach(&x->r, n.in, n.out, n.err);
	return r;
}

int exec_session(struct start *s, const char *ctr, char *const *command, struct err *e)
{
	struct exec x = {.proc = PROC_NONE, .end = WATCH_NONE, .status = -1, .master = -1};
	struct err why;
	if (remote_open(&x.r, &s->client, WORK_EXEC, &s->flags, &ops, &x, e) < 0) {
		remote_release(&x.r);
		return -1;
	}
	x.r.ends_terminal = s->flags.tty;
	/* A client that is gone already gets nothing started. */
	if (!x.r.hung_up && begin(&x, s, ctr, command, &why) < 0) {
		proc_kill(&x.proc, SIGKILL);
		remote_failure(&x.r, &why);
	}
	int r = x.r.hung_up ? 0 : loop_run(s->client.loop, e);
	/* However we came here, nothing of it stays. */
	if (!x.ended && x.proc.pid > 0) {
		proc_kill(&x.proc, SIGTERM);
		(void)proc_wait(&x.proc, KILL_AFTER_MS, &x.result, &why);
	}
	loop_timer_cancel(s->client.loop, &x.clock);
	loop_del(s->client.loop, &x.end);
	remote_release(&x.r);
	auto_close(&x.status);
	auto_close(&x.master);
	return r;
}
