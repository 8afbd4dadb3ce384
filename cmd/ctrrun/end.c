/* SPDX-License-Identifier: Apache-2.0 */
/* How containers end: waiting, killing, cleaning up. */
#include "auto.h"
#include "cgroup.h"
#include "ctr.h"
#include "exitinfo.h"
#include "freezer.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

enum {
	CLEANUP_TIMEOUT_MS = 10000, /* for the runtime, which may be what hangs */
	MONITOR_END_MS = 4000,      /* it drains streams for 2 s */
	DEATH_MS = 5000,
	CGROUP_TRIES = 200,
	CGROUP_NAP_NS = 5000000,
};

static bool is_dead(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	return pidfd < 0 || poll(&p, 1, 0) > 0;
}

static bool wait_dead(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	return pidfd < 0 || poll(&p, 1, timeout_ms) > 0;
}

/* Nobody but us has seen the end. */
static int write_unseen_exit(struct ctr *k, int pidfd, struct err *e)
{
	int code, signo;
	char reason[16], message[] = "the monitor was lost", none[1] = "";
	if (pidfd < 0 || k->rec.sandboxed ||
	    !exitinfo_read(pidfd, (pid_t)k->rec.pid, (unsigned long long)k->rec.pid_start, &code,
			   &signo))
		return ctr_write_exit(k, 255, "ContainerStatusUnknown", "unknown, monitor lost", e);
	snprintf(reason, sizeof reason, "%s", code ? "Error" : "Completed");
	struct exit_record x = {
		.exit_code = code,
		.signal = signo,
		.started_at = k->rec.started_at,
		.finished_at = record_now_ns(),
		.reason = reason,
		.message = message,
		.stderr_tail = none,
	};
	return exit_record_write(&k->c->st, k->id, &x, e);
}

/* Is the exit on disk? With neither monitor nor process left nobody else will write it. */
static bool has_ended(struct ctr *k, int pidfd, int monitor)
{
	struct err e;
	bool nobody = is_dead(monitor) && is_dead(pidfd);
	struct exit_record x;
	if (exit_record_read(&k->c->st, k->id, &x, &e) == 0) {
		exit_record_release(&x);
		return true;
	}
	if (!nobody)
		return false;
	if (e.kind == ERR_NOT_FOUND && write_unseen_exit(k, pidfd, &e) < 0)
		log_warn("%s", e.msg);
	return true;
}

int ctr_wait_exit(struct ctr *k, long long timeout_ms, struct err *e)
{
	long long deadline = proc_now_ms() + timeout_ms;
	struct err ignored;
	AUTO_CLOSE int pidfd = ctr_pidfd(k);
	AUTO_CLOSE int monitor = ctr_monitor_pidfd(k);
	/* The monitor tells when the exit is on disk: it may stay on for a stream that somebody
	 * keeps. (An inotify watch would do, but its removal costs 10 ms.) */
	AUTO_CLOSE int told = ctl_send(k, "{\"op\":\"wait\"}", &ignored);
	while (!has_ended(k, pidfd, monitor)) {
		long long left = deadline - proc_now_ms();
		/* A process that is dead while its monitor lives, or the reverse, would wake us for
		 * ever. */
		struct pollfd p[] = {
			{.fd = told, .events = POLLIN},
			{.fd = is_dead(monitor) ? -1 : monitor, .events = POLLIN},
			{.fd = is_dead(pidfd) ? -1 : pidfd, .events = POLLIN},
		};
		if (left <= 0)
			return 0;
		if (poll(p, ARRAY_LEN(p), left > 1 << 30 ? 1 << 30 : (int)left) < 0 &&
		    errno != EINTR)
			return err_sys(e, "poll");
		if (p[0].revents)
			close(TAKE_FD(told));
	}
	ctr_look(k);
	return 1;
}

/* Nobody but the runtime has anything of one that was not started; its monitor cannot see it go. */
static void end_unstarted(const struct ctr *k)
{
	struct err e;
	if (rt_call(k, "delete", "--force", NULL, &e) < 0)
		log_debug("delete: %s", e.msg);
	if (ctl_ask(k, "{\"op\":\"gone\"}", &e) < 0)
		log_debug("%s", e.msg);
}

void ctr_kill_all(const struct ctr *k, bool runtime)
{
	struct err e;
	AUTO_CLOSE int pidfd = ctr_pidfd(k);
	/* A sandbox is not this container's alone. */
	if (k->rec.sandboxed && k->state == CTR_CREATED)
		return end_unstarted(k);
	if (pidfd >= 0 && !k->rec.sandboxed)
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	cgroup_kill(k->rec.cgroup_path, k->id);
	/* In the freezer of cgroup v1 nothing dies. */
	if (pidfd >= 0 && freezer_is_set((pid_t)k->rec.pid, k->id, &e) == 1 &&
	    freezer_set((pid_t)k->rec.pid, k->id, false, &e) < 0)
		log_warn("container %s: %s", k->id, e.msg);
	if ((runtime || k->rec.sandboxed || pidfd < 0) &&
	    rt_call(k, "kill", "--all", "KILL", &e) < 0)
		log_debug("kill --all: %s", e.msg);
}

static int end_monitor(const struct ctr *k, int monitor, struct err *e)
{
	if (wait_dead(monitor, MONITOR_END_MS))
		return 0;
	pidfd_send_signal(monitor, SIGKILL, NULL, 0);
	if (wait_dead(monitor, DEATH_MS))
		return 0;
	return err_set(e, ERR_UNAVAILABLE, "the monitor of container %s does not die", k->id);
}

/* The kernel takes its time to empty a group after the last process is gone, and tells nobody. */
static int remove_cgroup(const struct ctr *k, struct err *e)
{
	struct timespec nap = {.tv_nsec = CGROUP_NAP_NS};
	for (int i = 0; cgroup_remove(k->rec.cgroup_path, k->id, e) < 0; i++) {
		if (i == CGROUP_TRIES)
			return -1;
		cgroup_kill(k->rec.cgroup_path, k->id);
		nanosleep(&nap, NULL);
	}
	return 0;
}

static void remove_files(const struct ctr *k)
{
	static const char *const names[] = {"pid",         "pid.container", "pid.oom",
					    "runtime.log", "monitor.log",   "ctl.sock",
					    "console.sock"};
	struct err ignored;
	AUTO_CLOSE int run = object_open_run(&k->c->st, OBJ_CONTAINER, k->id, false, &ignored);
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_CONTAINER, k->id, &ignored);
	for (size_t i = 0; run >= 0 && i < ARRAY_LEN(names); i++)
		unlinkat(run, names[i], 0);
	if (dir >= 0)
		unlinkat(dir, ".exit.json.new", 0);
	/* An empty lock file says that there is nothing to clean up. */
	AUTO_CLOSE int lock = run < 0 ? -1 : openat(run, "monitor.lock", O_WRONLY | O_CLOEXEC);
	if (lock >= 0 && ftruncate(lock, 0) < 0)
		log_warn("monitor.lock: %s", strerrordesc_np(errno));
}

static bool was_created(const struct ctr *k)
{
	struct err ignored;
	struct stat st;
	AUTO_CLOSE int run = object_open_run(&k->c->st, OBJ_CONTAINER, k->id, false, &ignored);
	return run >= 0 && fstatat(run, "monitor.lock", &st, 0) == 0 && st.st_size > 0;
}

/* The monitor of an ended container has the runtime delete it, and is about to end itself. */
static bool deleted_by_monitor(const struct ctr *k, int monitor)
{
	return k->state == CTR_EXITED && wait_dead(monitor, MONITOR_END_MS) && !was_created(k);
}

/* A runtime that failed or was killed in its delete would know the id for ever. Both runc and crun keep what they
 * know of one in <root>/<id>, and the ids are nobody else's. */
static void forget_in_runtime(const struct ctr *k)
{
	struct err why;
	AUTO_CLOSE int root = open(k->rec.runtime_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0 && fs_remove_tree(root, k->id, &why) < 0)
		log_warn("container %s: %s", k->id, why.msg);
}

int ctr_cleanup(struct ctr *k, struct err *e)
{
	struct err why;
	AUTO_CLOSE int monitor = ctr_monitor_pidfd(k);
	/* Nothing to do; but one that has said so may still hold its lock. */
	if (!was_created(k))
		return end_monitor(k, monitor, e);
	AUTO_CLOSE int pidfd = ctr_pidfd(k);
	if (deleted_by_monitor(k, monitor)) {
		if (remove_cgroup(k, e) < 0)
			return -1;
		remove_files(k);
		return 0;
	}
	struct rt_args a;
	int limit = rt_timeout_ms(k);
	bool failed = false;
	/* One that has not finished its creation must not go on behind our back. */
	if (monitor >= 0 && k->rec.monitor <= 0)
		pidfd_send_signal(monitor, SIGKILL, NULL, 0);
	rt_begin(&a, k);
	rt_add(&a, "delete");
	rt_add(&a, "--force");
	rt_add(&a, k->id);
	if (*k->rec.runtime &&
	    rt_run(k, &a, limit < CLEANUP_TIMEOUT_MS ? limit : CLEANUP_TIMEOUT_MS, &why) < 0) {
		log_warn("container %s: %s", k->id, why.msg);
		failed = true;
	}
	if (k->rec.sandboxed)
		(void)ctl_ask(k, "{\"op\":\"gone\"}", &why);
	else if (!is_dead(pidfd)) {
		cgroup_kill(k->rec.cgroup_path, k->id);
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		if (!wait_dead(pidfd, DEATH_MS))
			return err_set(e, ERR_UNAVAILABLE,
				       "process %d of container %s does not die", (int)k->rec.pid,
				       k->id);
	}
	if (end_monitor(k, monitor, e) < 0 || remove_cgroup(k, e) < 0)
		return -1;
	if (failed)
		forget_in_runtime(k);
	remove_files(k);
	return 0;
}
