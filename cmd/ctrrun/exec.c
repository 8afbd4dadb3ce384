/* SPDX-License-Identifier: Apache-2.0 */
#include "exec.h"

#include "attach.h"
#include "auto.h"
#include "cgroup.h"
#include "console.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "podroot.h"
#include "proc.h"
#include "proctree.h"
#include "rtwords.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum { OWN_FAILURE = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127, LOG_TAIL = 4096 };
enum { END_MS = 5000, STAND_IN_MS = 2000 };

bool exec_tty, exec_stdin, exec_collect;

/* The last that is done. */
static void tell(struct exec *x)
{
	struct err e;
	AUTO_JSON json_t *line = TAKE(x->told);
	if (x->status_fd < 0 || !line)
		return;
	if (x->got.used) {
		collect_tell(&x->got, x->status_fd, line);
		return;
	}
	AUTO_FREE char *text = json_dumps(line, JSON_COMPACT);
	if (!text)
		return;
	size_t n = strlen(text);
	text[n] = '\n';
	fs_write_all(x->status_fd, text, n + 1, &e);
}

static int prepare_signals(struct exec *x, struct err *e)
{
	sigset_t set;
	pid_t parent = getppid();
	const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH, SIGCHLD};
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		sigaddset(&set, caught[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, "block signals");
	sigdelset(&set, SIGCHLD); /* pidfds tell; blocked for proctree_end_children only */
	x->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (x->signals < 0)
		return err_sys(e, "signalfd");
	/* A command whose caller is gone has nobody left to talk to. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_sys(e, "prctl");
	if (getppid() != parent)
		x->signo = SIGTERM;
	proc_ignore(SIGPIPE);
	return 0;
}

static void take_signals(struct exec *x)
{
	struct signalfd_siginfo si;
	while (read(x->signals, &si, sizeof si) == sizeof si) {
		if (si.ssi_signo == SIGWINCH)
			terminal_resize(&x->term);
		else
			x->signo = (int)si.ssi_signo;
	}
}

static int open_spec(struct exec *x, struct err *e)
{
	AUTO_JSON json_t *process = exec_process(&x->k, x->command, x->term.used, e);
	AUTO_FREE char *text = process ? json_dumps(process, JSON_COMPACT) : NULL;
	if (!text)
		return -1;
	/* In memory: the environment may hold secrets, and nothing is left behind whatever happens
	 * to us. */
	x->spec = memfd_create("process.json", MFD_CLOEXEC);
	x->log = memfd_create("runtime.log", MFD_CLOEXEC);
	if (x->spec < 0 || x->log < 0)
		return err_sys(e, "memfd");
	return fs_write_all(x->spec, text, strlen(text), e);
}

/* Before there is anything to guard. */
static void ask_for_guard(struct exec *x)
{
	char request[80];
	struct err why;
	snprintf(request, sizeof request, "{\"op\":\"guard\",\"pid_file\":\"%s\"}", x->pid_file);
	x->guard = ctl_send(&x->k, request, &why);
	if (x->guard < 0)
		log_debug("%s", why.msg);
}

/* Where a stand-in (cmd/ctrmon/monitor.h) writes whom it stands for, beside its own pid file. */
enum { SECOND_SIZE = sizeof((struct exec *)0)->pid_file + 16 };
static const char *second_file(const struct exec *x, char name[SECOND_SIZE])
{
	snprintf(name, SECOND_SIZE, "%s.container", x->pid_file);
	return name;
}

/* The command has ended, by itself or by us. */
static void dismiss_guard(struct exec *x)
{
	static const char text[] = "{\"op\":\"guard_end\"}";
	char second[SECOND_SIZE];
	if (*x->pid_file) {
		unlinkat(x->run_dir, x->pid_file, 0);
		unlinkat(x->run_dir, second_file(x, second), 0);
	}
	inside_forget(x);
	if (x->guard >= 0)
		(void)send(x->guard, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A command is as dear to the OOM killer as its container. What a runtime leaves alone (crun 1.8 a score
 * of 0) is inherited, and ours may be that of the protected daemon. Going below ours needs a
 * capability: then the runtime's own attempt is all there is. */
static void take_oom_score(const struct exec *x)
{
	char path[48], score[16];
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)x->k.rec.pid);
	AUTO_CLOSE int theirs = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int ours = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = theirs < 0 ? -1 : read(theirs, score, sizeof score);
	if (n > 0 && ours >= 0 && write(ours, score, (size_t)n) < 0)
		log_debug("oom_score_adj of container %s cannot be taken", x->k.id);
}

static int start_runtime(struct exec *x, struct err *e)
{
	struct rt_args a;
	char log[64], spec[64], pid_file[96], inside[96], console[96];
	snprintf(log, sizeof log, "/proc/%d/fd/%d", (int)getpid(), x->log);
	snprintf(spec, sizeof spec, "/proc/%d/fd/%d", (int)getpid(), x->spec);
	snprintf(x->pid_file, sizeof x->pid_file, "exec.%d.pid", (int)getpid());
	ask_for_guard(x);
	take_oom_score(x);
	console_path(x->run_dir, x->pid_file, pid_file, sizeof pid_file);
	rt_begin(&a, &x->k);
	rt_add(&a, "--log");
	rt_add(&a, log);
	rt_add(&a, "--log-format");
	rt_add(&a, "json");
	rt_add(&a, "exec");
	rt_add(&a, "--detach");
	rt_add(&a, "--process");
	rt_add(&a, spec);
	rt_add(&a, "--pid-file");
	rt_add(&a, pid_file);
	if (x->k.rec.sandboxed) {
		inside_path(x, inside, sizeof inside);
		rt_add(&a, "--internal-pid-file");
		rt_add(&a, inside);
	}
	if (x->term.used) {
		console_path(x->run_dir, x->term.name, console, sizeof console);
		rt_add(&a, "--console-socket");
		rt_add(&a, console);
	}
	rt_add(&a, x->k.id);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.envp = rt_env();
	s.new_group = true;
	s.die_with_parent = true;
	if (x->got.used) {
		s.out = x->got.command[0];
		s.err = x->got.command[1];
	} else if (!x->term.used) {
		s.in = exec_stdin ? STDIN_FILENO : -1;
		s.out = STDOUT_FILENO;
		s.err = STDERR_FILENO;
		for (int i = 0; i < 3; i++)
			podroot_give_pipe(x->k.c->cfg.runroot, x->k.rec.pod_id, i);
	}
	int r = proc_start(&x->runtime, &s, e);
	collect_started(&x->got);
	return r;
}

/* 1 = pidfd is readable (-1: what is collected has ended), 0 = the time is up, -1 = a signal (x->signo) or an error. */
static int wait_for(struct exec *x, int pidfd, long long deadline, struct err *e)
{
	for (;;) {
		struct pollfd p[2 + TERMINAL_POLLS + COLLECT_POLLS] = {
			{.fd = pidfd, .events = POLLIN}, {.fd = x->signals, .events = POLLIN}};
		long long left = deadline < 0 ? -1 : deadline - proc_now_ms();
		terminal_want(&x->term, p + 2);
		collect_want(&x->got, p + 2 + TERMINAL_POLLS);
		if (deadline >= 0 && left <= 0)
			return 0;
		if (x->signo)
			return err_set(e, ERR_CANCELLED, "ended by signal %d", x->signo);
		int n = poll(p, ARRAY_LEN(p), left > 1 << 30 ? 1 << 30 : (int)left);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (n <= 0)
			continue;
		if (p[1].revents)
			take_signals(x);
		terminal_serve(&x->term, p + 2);
		collect_serve(&x->got, p + 2 + TERMINAL_POLLS);
		/* Who leaves hangs up: without its terminal the command cannot go on. */
		if (x->term.detached)
			x->signo = SIGHUP;
		if (p[0].revents || (pidfd < 0 && collect_ended(&x->got)))
			return 1;
	}
}

/* The command that cannot be run is told from a runtime that cannot run it, as far as prose tells.
 */
static int refused(const struct exec *x, const struct proc_result *r, struct err *e)
{
	char log[LOG_TAIL], words[900];
	off_t size = lseek(x->log, 0, SEEK_END);
	ssize_t n = pread(x->log, log, sizeof log, size > LOG_TAIL ? size - LOG_TAIL : 0);
	rtwords_pick(log, n > 0 ? (size_t)n : 0, NULL, 0, words, sizeof words);
	if (!*words)
		snprintf(words, sizeof words, "%s exec: %s %d", x->k.rec.runtime,
			 r->exited ? "exit status" : "killed by signal", r->status);
	if (strstr(words, "not running") || strstr(words, "stopped container") ||
	    strstr(words, "does not exist"))
		err_set(e, ERR_BAD_STATE, "%s", words);
	else
		err_set(e, ERR_FAILED, "%s", words);
	/* A namespace that cannot be entered is the container's: it ends just now. */
	bool is_command = strstr(words, "exec") && !strstr(words, "chdir") &&
			  !strstr(words, "namespace path");
	if (is_command && (strcasestr(words, "not found") || strcasestr(words, "no such file")))
		return NOT_FOUND;
	if (is_command &&
	    (strcasestr(words, "permission denied") || strcasestr(words, "not permitted") ||
	     strcasestr(words, "exec format") || strcasestr(words, "directory")))
		return CANNOT_EXECUTE;
	return OWN_FAILURE;
}

static pid_t read_pid(const struct exec *x, const char *name, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(32);
	if (fs_read_at(x->run_dir, name, &b, e) < 0)
		return -1;
	return b.data ? (pid_t)strtol(b.data, NULL, 10) : 0;
}

/* From the runtime's end on the command, or its stand-in, is our child. */
static int take_command(struct exec *x, struct err *e)
{
	struct err none;
	char second[SECOND_SIZE];
	x->pid = read_pid(x, x->pid_file, e);
	if (x->pid < 0)
		return err_wrap(e, "the runtime wrote no pid file");
	if (x->pid <= 1)
		return err_set(e, ERR_FAILED, "the runtime wrote no process id");
	x->inside = read_pid(x, second_file(x, second), &none);
	pid_t seen = x->inside > 1 ? x->inside : x->pid;
	x->pidfd = pidfd_open(x->pid, 0);
	if (x->pidfd < 0)
		return err_sys(e, "process %d of the command", (int)x->pid);
	/* What leaves the command's tree is found there when the time is up. */
	struct err why;
	snprintf(x->fence_name, sizeof x->fence_name, "crisp-exec-%d", (int)x->pid);
	if (x->deadline >= 0)
		x->fence = cgroup_fence(seen, x->k.id, x->fence_name, &why);
	if (x->deadline >= 0 && x->fence < 0)
		log_debug("%s", why.msg);
	x->session = proctree_session(seen);
	if (x->session == getsid(0))
		x->session = 0;
	x->term.live = true;
	return x->term.used ? terminal_accept(&x->term, e) : 0;
}

/* Up to the running command: 0, or the exit status that says why not, with *e. */
static int begin(struct exec *x, struct err *e)
{
	struct proc_result r;
	long long limit = proc_now_ms() + rt_timeout_ms(&x->k);
	bool ours = x->deadline >= 0 && x->deadline < limit;
	if (open_spec(x, e) < 0 || start_runtime(x, e) < 0)
		return OWN_FAILURE;
	int n = wait_for(x, x->runtime.pidfd, ours ? x->deadline : limit, e);
	if (n == 0 && ours)
		err_set(e, ERR_TIMEOUT, "command timed out");
	else if (n == 0)
		err_set(e, ERR_TIMEOUT, "%s exec does not end", x->k.rec.runtime);
	if (n <= 0) {
		proc_kill(&x->runtime, SIGKILL);
		return e->kind == ERR_TIMEOUT ? err_exit_status(e) : OWN_FAILURE;
	}
	if (proc_try_reap(&x->runtime, &r, e) < 0)
		return OWN_FAILURE;
	if (!r.exited || r.status != 0)
		return refused(x, &r, e);
	return take_command(x, e) < 0 ? OWN_FAILURE : 0;
}

/* A stand-in ends with what it stands for, and puts away what the shim keeps of that; SIGTERM has it
 * end a command that cannot be seen. */
static void end_command(const struct exec *x)
{
	struct pollfd p = {.fd = x->pidfd, .events = POLLIN};
	if (x->inside > 1)
		proctree_kill(x->inside, x->session);
	if (x->inside >= 0) {
		pidfd_send_signal(x->pidfd, SIGTERM, NULL, 0);
		poll(&p, 1, STAND_IN_MS);
	}
	proctree_kill(x->pid, x->inside < 0 ? x->session : 0);
}

/* Until the command has ended: its status; or -1 with *e, and then nothing of it is left. */
static int finish(struct exec *x, int *signal_number, struct err *e)
{
	siginfo_t si = {0};
	int n = wait_for(x, x->pidfd, x->deadline, e);
	if (n == 1) {
		if (waitid(P_PIDFD, (id_t)x->pidfd, &si, WEXITED) < 0)
			return err_sys(e, "wait for the command");
		terminal_finish(&x->term);
		/* Whatever else holds the pipes gets this long. */
		if (x->got.used && !collect_ended(&x->got))
			(void)wait_for(x, -1, proc_now_ms() + x->k.c->cfg.exec_drain_timeout * 1000,
				       e);
		*signal_number = si.si_code == CLD_EXITED ? 0 : si.si_status;
		return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
	}
	end_command(x);
	return n == 0 ? err_set(e, ERR_TIMEOUT, "command timed out") : -1;
}

static void drop_fence(struct exec *x, bool kill)
{
	if (x->fence >= 0)
		cgroup_unfence(x->fence, x->fence_name, kill);
	auto_close(&x->fence);
	x->fence = -1;
}

static int fail(struct exec *x, int status, const struct err *e)
{
	if (x->signo)
		status = 128 + x->signo;
	x->told = jsonx_error_event(e, status);
	if (!x->got.used)
		log_err(e);
	return status;
}

/* A stand-in (of whose kind the second file tells before anything is started) that nobody waits for
 * any more ends its command and itself; killed, it would leave a command that is just being started. */
static void await_stand_in(const struct exec *x)
{
	char second[SECOND_SIZE];
	long long deadline = proc_now_ms() + END_MS;
	struct timespec ts = {.tv_nsec = 20000000};
	sigset_t chld;
	if (!*x->pid_file || faccessat(x->run_dir, second_file(x, second), F_OK, 0) < 0)
		return;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	/* The short clock covers an end that came just before. */
	while (waitpid(-1, NULL, WNOHANG) >= 0 && proc_now_ms() < deadline)
		sigtimedwait(&chld, NULL, &ts);
}

static int run(struct exec *x, struct err *e)
{
	int signal_number = 0;
	if (prepare_signals(x, e) < 0)
		return fail(x, OWN_FAILURE, e);
	if (detach_parse(&x->term.keys, attach_keys ? attach_keys : x->k.c->cfg.detach_keys, e) < 0)
		return fail(x, OWN_FAILURE, e);
	if (x->got.used && collect_open(&x->got, x->k.c->cfg.runroot, x->k.rec.pod_id, e) < 0)
		return fail(x, OWN_FAILURE, e);
	if (exec_tty && terminal_open(&x->term, x->run_dir, e) < 0)
		return fail(x, OWN_FAILURE, e);
	int status = begin(x, e);
	if (status == OWN_FAILURE && e->kind != ERR_TIMEOUT)
		ctr_blame_end(&x->k, e);
	if (status == 0) {
		status = finish(x, &signal_number, e);
		if (status >= 0) {
			x->told = json_pack("{s:s, s:i}", "event", "exited", "code", status);
			if (signal_number)
				json_object_set_new(x->told, "signal", json_integer(signal_number));
			return status;
		}
		status = e->kind == ERR_TIMEOUT ? err_exit_status(e) : OWN_FAILURE;
	}
	/* Before the answer: nothing that was started goes on behind it. */
	inside_kill(x);
	drop_fence(x, true);
	await_stand_in(x);
	if (!proctree_end_children(END_MS))
		log_warn("processes of the command do not die");
	return fail(x, status, e);
}

static int open_running(struct exec *x, const struct tool_ctx *c, const char *typed, struct err *e)
{
	if (ctr_open(&x->k, c, typed, 0, e) < 0)
		return -1;
	if (x->k.state != CTR_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", x->k.id,
			       ctr_state_name(x->k.state));
	x->run_dir = ctr_run_dir(&x->k, e);
	return x->run_dir < 0 ? -1 : 0;
}

static bool is_message_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof type;
	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_SEQPACKET;
}

int verb_exec(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct exec x = {
		.k = CTR_NONE,
		.run_dir = -1,
		.command = argv + 1,
		.status_fd = c->status_fd,
		.deadline = c->timeout > 0 ? proc_now_ms() + (long long)(c->timeout * 1000) : -1,
		.signals = -1,
		.spec = -1,
		.log = -1,
		.runtime = PROC_NONE,
		.pidfd = -1,
		.guard = -1,
		.fence = -1,
		.term = {.listening = -1, .master = -1},
		.got = {.used = exec_collect,
			.from = {-1, -1},
			.command = {-1, -1},
			.kept = {BUF_INIT(COLLECT_MAX), BUF_INIT(COLLECT_MAX)}},
	};
	int status;
	(void)argc;
	if (exec_collect && (exec_tty || exec_stdin))
		return err_set(e, ERR_USAGE, "exec: --collect takes neither --tty nor --stdin");
	if (exec_collect && !is_message_socket(c->status_fd))
		return err_set(e, ERR_USAGE,
			       "exec: --collect needs a SOCK_SEQPACKET socket as --status-fd");
	if (open_running(&x, c, argv[0], e) < 0)
		status = fail(&x, OWN_FAILURE, e);
	else
		status = run(&x, e);
	terminal_close(&x.term, x.run_dir);
	drop_fence(&x, false);
	dismiss_guard(&x);
	int fds[] = {x.guard, x.run_dir, x.signals, x.spec, x.log, x.runtime.pidfd, x.pidfd};
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		auto_close(&fds[i]);
	ctr_release(&x.k);
	tell(&x);
	collect_close(&x.got);
	return status;
}
