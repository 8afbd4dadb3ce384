/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "cgroup.h"
#include "events.h"
#include "exitinfo.h"
#include "fs.h"
#include "grpc.h"
#include "log.h"
#include "proc.h"
#include "streams.h"
#include "xalloc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* What still comes from the shim after the end is waited for so long: as containerd's own does. */
enum { DRAIN_MS = 2000, END_EXEC_MS = 10000, KILLED = 128 + SIGKILL };

/* To the process that was called. */
struct report {
	bool made;
	pid_t pid; /* the container's or command's own, 0 = cannot be seen */
	struct err why;
};

struct keeper {
	const struct keep_spec *spec;
	struct place *p;
	struct loop *loop;
	struct streams io;
	struct event_server events;
	struct ttrpc guard;     /* a command's, to the container's stand-in */
	struct task task, wait; /* for calls; for Wait, whose answer is in the loop */
	uint32_t wait_stream;
	struct watch wait_watch, caller_watch;
	struct timer drain;
	char exec_dir[48];
	int dir;    /* of the FIFOs */
	int caller; /* socket to the process that was called */
	pid_t pid;
	int pidfd; /* of the process itself, -1 = cannot be seen */
	unsigned long long pid_start;
	bool ended, lost;
	uint32_t status;
};

static const char *exec_id(const struct keeper *k)
{
	return k->spec->exec ? k->spec->exec : "";
}

/* ---- while it lives */

static void on_drained(struct timer *t)
{
	struct keeper *k = t->arg;
	loop_stop(k->loop);
}

static void check_drained(struct keeper *k)
{
	if (k->ended && streams_drained(&k->io))
		loop_stop(k->loop);
}

static void output_ended(void *arg)
{
	check_drained(arg);
}

static void input_ended(void *arg)
{
	struct keeper *k = arg;
	struct err e;
	Shim__CloseIORequest r = SHIM__CLOSE_IOREQUEST__INIT;
	r.id = k->p->id;
	r.exec_id = (char *)exec_id(k);
	r.stdin = true;
	if (!k->ended && k->task.rpc.fd >= 0 && task_empty(&k->task, "CloseIO", &r.base, &e) < 0)
		log_info("close stdin: %s", e.msg);
}

static void set_ended(struct keeper *k, uint32_t status)
{
	if (k->ended)
		return;
	k->ended = true;
	k->status = status;
	loop_del(k->loop, &k->wait_watch);
	loop_timer(k->loop, &k->drain, DRAIN_MS, on_drained, k);
	check_drained(k);
}

/* The shim is gone, and with it whoever could tell the container's end: as containerd does, what is
 * left of it is killed. */
static void lose(struct keeper *k, const struct err *why)
{
	struct err e;
	uint32_t status = KILLED;
	log_error("%s", why->msg);
	k->lost = true;
	if (!k->spec->exec && why->kind != ERR_UNAVAILABLE &&
	    task_kill(&k->task, k->p->id, "", SIGKILL, true, &e) < 0)
		log_error("kill: %s", e.msg);
	if (!k->spec->exec && why->kind == ERR_UNAVAILABLE && boot_delete(k->p, &status, &e) < 0)
		log_error("delete: %s", e.msg);
	set_ended(k, status);
}

static void on_wait(struct watch *w, uint32_t events)
{
	struct keeper *k = w->arg;
	struct err e;
	ProtobufCMessage *m = NULL;
	(void)events;
	int r = ttrpc_receive(&k->wait.rpc, k->wait_stream, &shim__wait_response__descriptor, 0, &m,
			      &e);
	if (r < 0)
		lose(k, &e);
	if (r <= 0)
		return;
	Shim__WaitResponse *answer = (Shim__WaitResponse *)m;
	uint32_t status = answer->exit_status;
	shim__wait_response__free_unpacked(answer, NULL);
	set_ended(k, status);
}

static void pass_size(struct keeper *k)
{
	struct err e;
	int width, height;
	Shim__ResizePtyRequest r = SHIM__RESIZE_PTY_REQUEST__INIT;
	if (k->ended || !k->spec->terminal || !streams_size(&k->io, &width, &height))
		return;
	r.id = k->p->id;
	r.exec_id = (char *)exec_id(k);
	r.width = (uint32_t)width;
	r.height = (uint32_t)height;
	if (task_empty(&k->task, "ResizePty", &r.base, &e) < 0)
		log_info("resize: %s", e.msg);
}

/* Deleting comes first: a shim that is about to start the command lets that wait until it has, and
 * one that was never started, or is over, is gone with it. What runs is killed. */
static void end_exec(struct keeper *k, const char *exec)
{
	struct err e;
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	long long limit = k->task.limit_ms;
	r.id = k->p->id;
	r.exec_id = (char *)exec;
	/* The container's bytes wait for us. */
	k->task.limit_ms = limit < END_EXEC_MS ? limit : END_EXEC_MS;
	if (task_delete(&k->task, k->p->id, exec, &e) < 0 && e.kind != ERR_NOT_FOUND &&
	    (task_kill(&k->task, k->p->id, exec, SIGKILL, false, &e) < 0 ||
	     task_call(&k->task, "Wait", &r.base, &shim__wait_response__descriptor, NULL, &e) < 0 ||
	     task_delete(&k->task, k->p->id, exec, &e) < 0))
		log_info("end command %s: %s", exec, e.msg);
	k->task.limit_ms = limit;
}

/* A command whose stand-in was killed. */
static void end_command(void *arg, const char *exec)
{
	struct keeper *k = arg;
	struct err e;
	if (k->ended || k->task.rpc.fd < 0 || strchr(exec, '/'))
		return;
	log_info("command %s has lost its stand-in", exec);
	end_exec(k, exec);
	AUTO_FREE char *dir = xasprintf("exec-%s", exec);
	(void)fs_remove_tree(k->p->dir, dir, &e);
}

/* Signals are the container's: whoever has the number in the pid file means it. A command of exec is
 * ended by SIGTERM for certain: nobody else could end one inside a virtual machine. */
static void on_signal(int signo, void *arg)
{
	struct keeper *k = arg;
	struct err e;
	if (signo == SIGWINCH && k->spec->terminal) {
		pass_size(k);
		return;
	}
	if (k->ended || signo == SIGCHLD || signo == SIGPIPE || signo == SIGTTOU ||
	    signo == SIGTTIN || (signo == SIGHUP && k->spec->terminal))
		return;
	int sent = k->spec->exec && signo == SIGTERM ? SIGKILL : signo;
	if (task_kill(&k->task, k->p->id, exec_id(k), sent, false, &e) < 0)
		log_info("signal %d: %s", sent, e.msg);
}

/* The process that was called has ended, which its pidfd says no sooner than that it has ceased to be
 * our parent: from now on the caller itself is, and when that ends its command has nobody to talk to.
 */
static void on_caller(struct watch *w, uint32_t events)
{
	struct keeper *k = w->arg;
	(void)events;
	loop_del(k->loop, w);
	if (k->spec->exec && !k->spec->foreground)
		prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
}

/* ---- making it */

static int open_dir(struct keeper *k, const char **path, struct err *e)
{
	static char exec_path[4200];
	k->dir = k->p->dir;
	*path = k->p->path;
	if (!k->spec->exec)
		return 0;
	snprintf(k->exec_dir, sizeof k->exec_dir, "exec-%.40s", k->spec->exec);
	if (mkdirat(k->p->dir, k->exec_dir, 0700) < 0)
		return err_sys(e, "make directory %s", k->exec_dir);
	snprintf(exec_path, sizeof exec_path, "%s/%s", k->p->path, k->exec_dir);
	*path = exec_path;
	k->dir = fs_open_dir(k->p->dir, k->exec_dir, e);
	return k->dir < 0 ? -1 : 0;
}

static int open_all(struct keeper *k, struct err *e)
{
	const struct keep_spec *s = k->spec;
	const char *path;
	sigset_t all;
	sigfillset(&all);
	if (!s->foreground)
		setsid();
	k->loop = loop_new(e);
	if (!k->loop || loop_signals(k->loop, &all, on_signal, k, e) < 0 ||
	    open_dir(k, &path, e) < 0)
		return -1;
	AUTO_CLOSE int log = openat(k->p->dir, "stand-in.log",
				    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	k->io.arg = k;
	k->io.input_ended = input_ended;
	k->io.output_ended = output_ended;
	if (streams_open(&k->io, k->loop, k->dir, path, s->terminal, s->console, log, e) < 0)
		return -1;
	streams_set_size(&k->io, s->width, s->height);
	k->events.end_command = end_command;
	k->events.arg = k;
	if (s->exec)
		events_guard(&k->guard, k->p, s->exec);
	return s->exec ? 0 : events_open(&k->events, k->loop, k->p, e);
}

static int create_container(struct keeper *k, pid_t *pid, struct err *e)
{
	Shim__CreateTaskRequest r = SHIM__CREATE_TASK_REQUEST__INIT;
	Shim__PidResponse *answer;
	Shim__Any any;
	if (boot_start(k->p, e) < 0)
		return -1;
	/* Before anything is in it: what is killed from here on finds the shim. */
	if (place_save(k->p, e) < 0 || task_open(&k->task, k->p, e) < 0)
		return -1;
	boot_options(&any);
	r.id = k->p->id;
	r.bundle = k->p->path;
	r.terminal = k->spec->terminal;
	r.stdin = k->io.path[0] ? k->io.path[0] : r.stdin;
	r.stdout = k->io.path[1];
	r.stderr = k->io.path[2] ? k->io.path[2] : r.stderr;
	r.options = *any.type_url ? &any : NULL;
	int status =
		task_call(&k->task, "Create", &r.base, &shim__pid_response__descriptor, &answer, e);
	free(any.value.data);
	if (status < 0)
		return -1;
	*pid = answer->pid <= INT32_MAX ? (pid_t)answer->pid : 0;
	shim__pid_response__free_unpacked(answer, NULL);
	return 0;
}

static int create_command(struct keeper *k, struct err *e)
{
	static char type[] = "types.containerd.io/opencontainers/runtime-spec/1/Process";
	Shim__ExecProcessRequest r = SHIM__EXEC_PROCESS_REQUEST__INIT;
	Shim__Any any = SHIM__ANY__INIT;
	any.type_url = type;
	any.value = (ProtobufCBinaryData){.len = strlen(k->spec->process),
					  .data = (uint8_t *)k->spec->process};
	if (task_open(&k->task, k->p, e) < 0)
		return -1;
	r.id = k->p->id;
	r.exec_id = (char *)k->spec->exec;
	r.terminal = k->spec->terminal;
	r.stdin = k->io.path[0] ? k->io.path[0] : r.stdin;
	r.stdout = k->io.path[1];
	r.stderr = k->io.path[2] ? k->io.path[2] : r.stderr;
	r.spec = &any;
	return task_empty(&k->task, "Exec", &r.base, e);
}

static int begin_wait(struct keeper *k, struct err *e)
{
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	r.id = k->p->id;
	r.exec_id = (char *)exec_id(k);
	if (task_open(&k->wait, k->p, e) < 0 ||
	    ttrpc_send(&k->wait.rpc, k->wait.service, "Wait", &r.base, -1, &k->wait_stream, e) < 0)
		return -1;
	return loop_add(k->loop, &k->wait_watch, k->wait.rpc.fd, EPOLLIN, on_wait, k, e);
}

/* The number that the shim gave is the container's own process only if it is in the container's
 * control group: a virtual machine's is not. */
static void look_at(struct keeper *k, pid_t pid)
{
	struct err ignored;
	AUTO_CLOSE int group = pid > 1 ? cgroup_open_of(pid, k->p->id, &ignored) : -1;
	if (group < 0)
		return;
	k->pidfd = pidfd_open(pid, 0);
	k->pid_start = proc_start_time(pid);
	k->pid = k->pidfd < 0 || !k->pid_start ? 0 : pid;
}

/* For one that stops answering. */
static void note_shim(struct keeper *k)
{
	struct err ignored;
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	Shim__ConnectResponse *answer;
	r.id = k->p->id;
	if (task_call(&k->task, "Connect", &r.base, &shim__connect_response__descriptor, &answer,
		      &ignored) < 0)
		return;
	k->p->rec.shim_pid = answer->shim_pid <= INT32_MAX ? (pid_t)answer->shim_pid : 0;
	k->p->rec.shim_start = proc_start_time(k->p->rec.shim_pid);
	shim__connect_response__free_unpacked(answer, NULL);
}

static int note_container(struct keeper *k, struct err *e)
{
	struct record *r = &k->p->rec;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	note_shim(k);
	r->complete = true;
	r->keeper = getpid();
	r->keeper_start = proc_start_time(getpid());
	r->pid = k->pid;
	r->pid_start = k->pid_start;
	r->created_at = now.tv_sec * 1000000000LL + now.tv_nsec;
	return place_save(k->p, e);
}

static int make(struct keeper *k, struct err *e)
{
	pid_t pid = 0;
	if (open_all(k, e) < 0)
		return -1;
	if (k->spec->exec) {
		/* Wait comes first: a command may be over before the next call. */
		if (create_command(k, e) < 0 || begin_wait(k, e) < 0 ||
		    task_start(&k->task, k->p->id, k->spec->exec, &pid, e) < 0)
			return -1;
		look_at(k, pid);
	} else {
		if (create_container(k, &pid, e) < 0 || begin_wait(k, e) < 0)
			return -1;
		look_at(k, pid);
		if (note_container(k, e) < 0)
			return -1;
	}
	pass_size(k);
	return streams_begin(&k->io, e);
}

/* ---- the end */

/* Nothing of what was begun may be left. */
static void undo(struct keeper *k)
{
	struct err e;
	if (k->spec->exec && k->task.rpc.fd >= 0)
		end_exec(k, k->spec->exec);
	if (!k->spec->exec && delete_place(k->p, true, &e) < 0)
		log_error("%s", e.msg);
}

static void write_mark(const struct keeper *k)
{
	struct err ignored;
	if (k->spec->exec || !k->spec->pid_file || faccessat(k->p->dir, "oom", F_OK, 0) < 0)
		return;
	AUTO_FREE char *path = xasprintf("%s.oom", k->spec->pid_file);
	(void)fs_replace_file_at(AT_FDCWD, path, 0600, "", 0, 0, &ignored);
}

static void release(struct keeper *k)
{
	struct err e;
	if (k->spec->exec && k->ended && !k->lost)
		(void)task_delete(&k->task, k->p->id, k->spec->exec, &e);
	write_mark(k);
	if (k->loop) {
		streams_close(&k->io);
		events_close(&k->events);
		loop_del(k->loop, &k->wait_watch);
		loop_del(k->loop, &k->caller_watch);
		loop_timer_cancel(k->loop, &k->drain);
	}
	if (k->spec->exec)
		(void)fs_remove_tree(k->p->dir, k->exec_dir, &e);
	events_done(&k->guard);
	task_close(&k->task);
	task_close(&k->wait);
	loop_free(k->loop);
}

/* As the container ended. A shim says 128 + n of signal n; whether it was one, only the kernel knows,
 * and where it does not tell the code alone is passed on. */
static _Noreturn void end_alike(const struct keeper *k)
{
	int code = 0, signo = k->lost ? SIGKILL : 0;
	const struct rlimit none = {0};
	sigset_t set;
	if (!signo && k->pidfd >= 0 &&
	    (!exitinfo_read(k->pidfd, k->pid, k->pid_start, &code, &signo) ||
	     (uint32_t)code != k->status))
		signo = 0;
	if (signo) {
		/* The core is the container's affair. */
		setrlimit(RLIMIT_CORE, &none);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		signal(signo, SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, signo);
		kill(getpid(), signo);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	_exit((int)(k->status & 0xff));
}

static bool told(const struct keeper *k, const struct report *r)
{
	char byte;
	return send(k->caller, r, sizeof *r, MSG_NOSIGNAL) == (ssize_t)sizeof *r && r->made &&
	       recv(k->caller, &byte, 1, 0) == 1;
}

/* What the caller has open besides is its own affair, and would stay open as long as we live. */
static void close_others(int a, int b, int c, int d)
{
	int keep[] = {a, b, c, d}, next = STDERR_FILENO + 1;
	for (size_t i = 0; i < ARRAY_LEN(keep); i++)
		for (size_t j = i + 1; j < ARRAY_LEN(keep); j++)
			if (keep[j] < keep[i]) {
				int swap = keep[i];
				keep[i] = keep[j];
				keep[j] = swap;
			}
	for (size_t i = 0; i < ARRAY_LEN(keep); i++) {
		if (keep[i] > next)
			close_range((unsigned)next, (unsigned)keep[i] - 1, 0);
		if (keep[i] >= next)
			next = keep[i] + 1;
	}
	close_range((unsigned)next, ~0U, 0);
}

static _Noreturn void stand_in(const struct keep_spec *s, int caller)
{
	struct keeper k = {
		.spec = s,
		.p = s->p,
		.guard = TTRPC_NONE,
		.task = TASK_NONE,
		.wait = TASK_NONE,
		.wait_watch = WATCH_NONE,
		.caller_watch = WATCH_NONE,
		.dir = -1,
		.caller = caller,
		.pidfd = -1,
	};
	struct report r = {.made = true};
	struct err e;
	int called = pidfd_open(getppid(), 0);
	prctl(PR_SET_NAME, "ctrshim-standin", 0, 0, 0);
	close_others(caller, s->p->dir, s->p->lock, called);
	r.made = make(&k, &r.why) == 0;
	r.pid = k.pid;
	/* Who was called, or its caller, may be dead by now: then nobody knows of what was made. */
	if (!r.made)
		undo(&k);
	if (!told(&k, &r)) {
		if (r.made)
			undo(&k);
		release(&k);
		_exit(1);
	}
	auto_close(&k.p->lock);
	k.p->lock = -1;
	close(caller);
	if (called < 0 || loop_add(k.loop, &k.caller_watch, called, EPOLLIN, on_caller, &k, &e) < 0)
		log_info("the caller's end will not be seen");
	if (loop_run(k.loop, &e) < 0)
		log_error("%s", e.msg);
	release(&k);
	end_alike(&k);
}

/* ---- the process that was called */

static int write_number(const char *file, pid_t pid, struct err *e)
{
	char text[16];
	int n = snprintf(text, sizeof text, "%d", (int)pid);
	return fs_replace_file_at(AT_FDCWD, file, 0644, text, (size_t)n, 0, e);
}

static int write_second(const struct keep_spec *s, pid_t pid, struct err *e)
{
	AUTO_FREE char *file = xasprintf("%s.container", s->pid_file);
	return write_number(file, pid, e);
}

static int write_files(const struct keep_spec *s, pid_t keeper, pid_t pid, struct err *e)
{
	if (!s->pid_file)
		return 0;
	if (write_second(s, pid, e) < 0)
		return -1;
	return write_number(s->pid_file, keeper, e);
}

static int wait_for(pid_t pid, struct err *e)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "wait for the command");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int keep(const struct keep_spec *s, struct err *e)
{
	int fds[2];
	struct report r = {.made = false};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, "socketpair");
	AUTO_CLOSE int ours = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	fflush(NULL);
	/* From here on the caller knows that there is a stand-in. */
	if (s->pid_file && write_second(s, 0, e) < 0)
		return -1;
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (pid == 0) {
		close(ours);
		stand_in(s, theirs);
	}
	close(TAKE_FD(theirs));
	if (recv(ours, &r, sizeof r, 0) != (ssize_t)sizeof r)
		return err_set(e, ERR_FAILED, "the container's stand-in was killed");
	if (!r.made) {
		*e = r.why;
		(void)waitpid(pid, NULL, 0);
		return -1;
	}
	/* Closed without a word the socket tells the stand-in to undo it all. */
	if (write_files(s, pid, r.pid, e) < 0 || send(ours, "c", 1, MSG_NOSIGNAL) != 1)
		return -1;
	if (!s->foreground)
		return 0;
	proc_ignore(SIGINT);
	return wait_for(pid, e);
}
