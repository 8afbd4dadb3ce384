/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor.h"

#include "auto.h"
#include "cgroup.h"
#include "event.h"
#include "exitinfo.h"
#include "flatjson.h"
#include "fs.h"
#include "log.h"
#include "proctree.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	DRAIN_MS = 2000, /* for a stream that somebody outside the container still holds */
	RETRY_MS = 1000, /* between tries to write exit.json */
	RETRY_MAX = 600, /* that many */
	END_CHILDREN_MS = 2000,
};

/* One line on the status descriptor, then it is closed. Whoever waited may be gone: no matter. */
static void report(struct monitor *m, const struct buf *b)
{
	struct err ignored;
	if (m->status_fd < 0)
		return;
	fs_write_all(m->status_fd, b->data, b->len, &ignored);
	close(TAKE_FD(m->status_fd));
}

static void report_created(struct monitor *m)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(256);
	buf_addf(&b, &ignored, "{\"event\":\"created\",\"pid\":%d,\"pid_start\":%llu}\n",
		 (int)runtime_pid(m), proc_start_time(runtime_pid(m)));
	report(m, &b);
}

static void report_failed(struct monitor *m, const char *stage, const struct err *why)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(8192);
	buf_addf(&b, &ignored,
		 "{\"event\":\"failed\",\"stage\":\"%s\",\"code\":\"%s\",\"msg\":", stage,
		 err_name(why));
	flatjson_put(&b, why->msg, strlen(why->msg), &ignored);
	buf_addstr(&b, "}\n", &ignored);
	report(m, &b);
}

/* Processes whose parents in the container's line died are ours to reap (we are the subreaper). */
static void reap_orphans(struct monitor *m)
{
	for (;;) {
		siginfo_t si = {0};
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
			return;
		/* The container's own end goes through its pidfd. */
		if (m->pidfd >= 0 && si.si_pid == m->pid)
			return;
		if (m->wait.proc.pid > 0 && si.si_pid == m->wait.proc.pid)
			return;
		waitid(P_PID, (id_t)si.si_pid, &si, WEXITED | WNOHANG);
	}
}

static void on_signal(int signo, void *arg)
{
	struct monitor *m = arg;
	/* Everything else is ignored on purpose: only the container's end ends its monitor. */
	if (signo == SIGCHLD && m->state != MON_STARTING)
		reap_orphans(m);
}

static void on_child(struct watch *w, uint32_t events)
{
	struct monitor *m = w->arg;
	(void)events;
	monitor_event(m, m->state == MON_STARTING ? EV_RUNTIME_EXIT : EV_CHILD_EXIT);
}

static void on_clock(struct timer *t)
{
	monitor_event(t->arg, EV_TIMEOUT);
}

static enum mon_state stay(struct monitor *m)
{
	return m->state;
}

static enum mon_state runtime_hangs(struct monitor *m)
{
	m->timed_out = true;
	proc_kill(&m->runtime, SIGKILL);
	return MON_STARTING; /* its end follows */
}

static enum mon_state failed(struct monitor *m, const struct err *why)
{
	if (!proctree_end_children(END_CHILDREN_MS))
		log_warn("processes of a failed creation do not die");
	unlinkat(m->root_dir, ".exit.json.new", 0);
	m->status = log_err(why);
	report_failed(m, "runtime", why);
	return MON_DONE;
}

/* The kernel's OOM killer should not take the monitor before the container. Not before now: the
 * container would have inherited it. Lowering needs CAP_SYS_RESOURCE. */
static void protect_self(void)
{
	AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-998", 4) < 0)
		log_debug("oom_score_adj stays as it is: %s", strerrordesc_np(errno));
}

static int sign_lock(struct monitor *m, struct err *e)
{
	char text[160];
	adopt_note(m, text, sizeof text);
	ssize_t n = (ssize_t)strlen(text);
	if (pwrite(m->lock, text, (size_t)n, 0) != n || ftruncate(m->lock, n) < 0)
		return err_sys(e, "monitor.lock");
	return 0;
}

static enum mon_state runtime_ended(struct monitor *m)
{
	struct proc_result r;
	struct err e;
	int reaped = proc_try_reap(&m->runtime, &r, &e);
	if (reaped == 0)
		return MON_STARTING;
	int fd = m->child_watch.fd;
	loop_del(m->loop, &m->child_watch);
	/* proc_try_reap has closed it unless it failed. */
	if (reaped < 0)
		close(fd);
	loop_timer_cancel(m->loop, &m->clock);
	if (reaped < 0 || runtime_result(m, &r, &e) < 0)
		return failed(m, &e);
	m->pidfd = pidfd_open(m->pid, 0);
	if (m->pidfd < 0) {
		err_sys(&e, "container's process %d", (int)m->pid);
		return failed(m, &e);
	}
	if (loop_add(m->loop, &m->child_watch, m->pidfd, EPOLLIN, on_child, m, &e) < 0)
		return failed(m, &e);
	cgroup_hold(&m->cgroup, runtime_pid(m), m->opts->wait ? m->opts->pod : m->id, &e);
	oom_begin(m, runtime_pid(m));
	if (m->inside && sign_lock(m, &e) < 0)
		log_warn("%s", e.msg);
	stdio_begin(m);
	protect_self();
	report_created(m);
	m->state = MON_RUNNING;
	reap_orphans(m);
	return MON_RUNNING;
}

static void status_of_process(struct monitor *m)
{
	struct proc p = {.pid = m->pid, .pidfd = m->pidfd};
	struct proc_result r;
	struct err e;
	int reaped = m->opts->adopt ? 0 : proc_try_reap(&p, &r, &e);
	if (reaped == 1) {
		m->exit.code = proc_exit_code(&r);
		m->exit.signal = r.exited ? 0 : r.status;
	} else {
		int code = 255, signo = 0;
		m->exit.unknown = !exitinfo_read(m->pidfd, m->pid, m->pid_start, &code, &signo);
		m->exit.code = code;
		m->exit.signal = signo;
		close(m->pidfd);
	}
}

static void collect_status(struct monitor *m)
{
	struct timespec now;
	m->exit.finished_at = 0;
	loop_del(m->loop, &m->child_watch);
	if (!m->opts->wait)
		status_of_process(m);
	else if (!m->wait.told)
		waiter_sandbox_ended(m);
	if (m->opts->wait)
		close(m->pidfd);
	m->pidfd = -1;
	clock_gettime(CLOCK_REALTIME, &now);
	m->exit.finished_at = now.tv_sec * 1000000000LL + now.tv_nsec;
}

static enum mon_state write_record(struct monitor *m)
{
	struct state st = STATE_NONE;
	struct err e;
	m->recorded = exitrec_write(m, &e) == 0;
	/* A full or failing disk may recover; a record whose directory was removed is not missed.
	 */
	if (!m->recorded && e.kind != ERR_NOT_FOUND && ++m->exit_tries < RETRY_MAX) {
		log_error("%s", e.msg);
		loop_timer(m->loop, &m->clock, RETRY_MS, on_clock, m);
		return MON_EXITED;
	}
	ctl_tell_exit(m);
	st.run_path = m->ctx->cfg.runroot;
	event_publish(&st, "exited", "container", m->id, m->opts->pod, true);
	if (!stdio_is_open(&m->io))
		return MON_DONE;
	loop_timer(m->loop, &m->clock, DRAIN_MS, on_clock, m);
	return MON_DRAINING;
}

static enum mon_state container_ended(struct monitor *m)
{
	collect_status(m);
	/* A sandbox's group is not the container's; but what ended it ended the container. */
	if (m->cgroup.memory >= 0 && m->opts->wait) {
		m->exit.oom = m->exit.sandbox_ended && cgroup_oom_kills_at(m->cgroup.memory) > 0;
	} else if (m->cgroup.memory >= 0) {
		m->exit.oom = oom_happened(m);
		cgroup_counts_read(&m->cgroup, &m->exit.used);
		/* Without a PID namespace of its own, the rest of the container outlives its first
		 * process. */
		cgroup_kill_at(m->cgroup.memory);
	}
	m->exit.oom = m->exit.oom || runtime_saw_oom(m);
	reap_orphans(m);
	/* The log is whole before anybody hears that the container has ended. */
	stdio_drain(m);
	return write_record(m);
}

static enum mon_state stream_closed(struct monitor *m)
{
	return stdio_is_open(&m->io) ? MON_DRAINING : MON_DONE;
}

static enum mon_state give_up(struct monitor *m)
{
	(void)m;
	return MON_DONE;
}

/* clang-format off */
static enum mon_state (*const table[MON_STATES][EV_COUNT])(struct monitor *m) = {
	/*                 RUNTIME_EXIT   CHILD_EXIT       STDIO_EOF      TIMEOUT */
	[MON_STARTING] = { runtime_ended, stay,            stay,          runtime_hangs },
	[MON_RUNNING]  = { stay,          container_ended, stay,          stay          },
	[MON_EXITED]   = { stay,          stay,            stay,          write_record  },
	[MON_DRAINING] = { stay,          stay,            stream_closed, give_up       },
	[MON_DONE]     = { stay,          stay,            stay,          stay          },
};
/* clang-format on */

void monitor_event(struct monitor *m, enum mon_event ev)
{
	m->state = table[m->state][ev](m);
	if (m->state == MON_DONE)
		loop_stop(m->loop);
}

const char *monitor_state_name(const struct monitor *m)
{
	static const char *const names[MON_STATES] = {"starting", "running", "exited", "draining",
						      "done"};
	return names[m->state];
}

/* The lock is the proof that this container has a monitor; its text names us to whoever finds it
 * held without a record. */
static int take_lock(struct monitor *m, struct err *e)
{
	m->lock = fs_lock_at(m->run_dir, "monitor.lock", 0, e);
	return m->lock < 0 ? -1 : sign_lock(m, e);
}

static int open_dirs(struct monitor *m, struct err *e)
{
	char path[4200];
	const struct config *c = &m->ctx->cfg;
	snprintf(path, sizeof path, "%s/containers/%s", c->root, m->id);
	m->root_dir = fs_open_dir(AT_FDCWD, path, e);
	if (m->root_dir < 0)
		return -1;
	snprintf(path, sizeof path, "%s/containers/%s", c->runroot, m->id);
	m->run_dir = fs_open_dir(AT_FDCWD, path, e);
	return m->run_dir < 0 ? -1 : 0;
}

static int watch_adopted(struct monitor *m, struct err *e)
{
	if (adopt(m, take_lock, e) < 0 || sign_lock(m, e) < 0 ||
	    loop_add(m->loop, &m->child_watch, m->pidfd, EPOLLIN, on_child, m, e) < 0)
		return -1;
	protect_self();
	m->state = MON_RUNNING;
	report_created(m);
	if (m->opts->wait && adopted_runs(m))
		waiter_start(m);
	return 0;
}

static int prepare(struct monitor *m, struct err *e)
{
	sigset_t all;
	sigfillset(&all);
	if (open_dirs(m, e) < 0 || (!m->opts->adopt && take_lock(m, e) < 0))
		return -1;
	setsid(); /* fails when ctrrun did it already */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_sys(e, "become subreaper");
	m->loop = loop_new(e);
	if (!m->loop || loop_signals(m->loop, &all, on_signal, m, e) < 0)
		return -1;
	limit_init(&m->log.limit, m->opts->rate,
		   (enum limit_policy)limit_policy(m->opts->rate_policy));
	if (m->opts->adopt)
		return watch_adopted(m, e);
	if (exitrec_prepare(m, e) < 0 || logfile_open(&m->log, m->opts->log_path, e) < 0)
		return -1;
	oom_bare();
	if (ctl_open(m, e) < 0 || stdio_open(m, e) < 0 || sign_lock(m, e) < 0 ||
	    runtime_start(m, e) < 0)
		return -1;
	if (loop_add(m->loop, &m->child_watch, m->runtime.pidfd, EPOLLIN, on_child, m, e) < 0)
		return -1;
	loop_timer(m->loop, &m->clock, (long long)(m->ctx->timeout * 1000), on_clock, m);
	return 0;
}

static void release(struct monitor *m)
{
	if (m->loop) {
		waiter_close(m);
		stdio_close(m);
		ctl_close(m);
	}
	m->log.limit.over = false;
	logfile_tell(&m->log);
	logfile_close(&m->log);
	loop_free(m->loop);
	int fds[] = {m->exit.fd, m->status_fd, m->runtime.pidfd, m->root_dir, m->run_dir, m->lock};
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		auto_close(&fds[i]);
	cgroup_release(&m->cgroup);
}

/* What the runtime keeps of an ended container serves nobody: its removal need not wait for ours.
 * Only when nobody is at the container: a start may still be on its way out of the runtime, and a
 * removal waits for us. Then ctrrun rm does it. An empty lock file says that it is done. */
static void delete_container(struct monitor *m)
{
	struct err ignored;
	AUTO_CLOSE int lock = fs_lock_at(m->root_dir, "lock", 0, &ignored);
	if (lock >= 0 && runtime_delete(m) && ftruncate(m->lock, 0) < 0)
		log_warn("monitor.lock: %s", strerrordesc_np(errno));
}

int monitor_run(const struct tool_ctx *ctx, const struct mon_opts *o, const char *id, struct err *e)
{
	struct monitor m = {
		.ctx = ctx,
		.opts = o,
		.id = id,
		.root_dir = -1,
		.run_dir = -1,
		.lock = -1,
		.status_fd = ctx->status_fd,
		.runtime = PROC_NONE,
		.child_watch = WATCH_NONE,
		.pidfd = -1,
		.cgroup = CGROUP_DIRS_NONE,
		.oom = {.watch = WATCH_NONE},
		.log = {.dir = -1, .fd = -1},
		.exit = {.fd = -1},
		.wait = {.proc = PROC_NONE, .watch = WATCH_NONE, .out = -1},
		.ctl = {.listen = WATCH_NONE},
		.io = {.out = {.watch = WATCH_NONE},
		       .err = {.watch = WATCH_NONE},
		       .console_watch = WATCH_NONE,
		       .in = -1,
		       .console = -1,
		       .master = -1,
		       .child = {-1, -1, -1}},
	};
	int r = prepare(&m, e);
	if (r < 0) {
		if (m.runtime.pidfd >= 0)
			proctree_end_children(END_CHILDREN_MS);
		if (m.exit.fd >= 0)
			unlinkat(m.root_dir, ".exit.json.new", 0);
		report_failed(&m, "monitor", e);
	} else {
		r = loop_run(m.loop, e);
		if (r == 0 && m.recorded)
			delete_container(&m);
	}
	release(&m);
	return r < 0 ? -1 : m.status;
}
