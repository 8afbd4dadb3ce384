/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"

#include "auto.h"
#include "sealed.h"
#include "xalloc.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

/* A sanitizer would take a stack that it does not know for a fault. */
#define OWN_STACK __attribute__((no_sanitize("address"), noinline))
enum { STACK_SIZE = 16384 };

/* Signals that are not as by default: inherited so (put into the background by a shell we ignore SIGINT), which
 * is looked up once, as it takes a system call a signal, or set by proc_ignore. */
static struct {
	bool inherited;
	sigset_t set;
} odd;

static void look_at_signals(void)
{
	struct sigaction sa;
	if (odd.inherited)
		return;
	odd.inherited = true;
	for (int sig = 1; sig < NSIG; sig++)
		if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL)
			sigaddset(&odd.set, sig);
}

void (*proc_ignore(int signo))(int)
{
	sigaddset(&odd.set, signo);
	return signal(signo, SIG_IGN);
}

enum { FIRST = -10 };
static bool goes_first;

bool proc_go_first(void)
{
	if (getpriority(PRIO_PROCESS, 0) != 0)
		return true;
	if (setpriority(PRIO_PROCESS, 0, FIRST) < 0)
		return false;
	setenv("CRISP_NICE", "0", 1);
	goes_first = true;
	return true;
}

void proc_as_others(void)
{
	if (!getenv("CRISP_NICE"))
		return;
	setpriority(PRIO_PROCESS, 0, 0);
	unsetenv("CRISP_NICE");
}

/* Until it executes its program the child runs in our memory while we stand still: nothing is copied
 * or mapped anew, which is most of what a fork costs. On a stack of its own, with all signals
 * blocked, it makes system calls only and leaves nothing behind but child.errnum. */
struct child {
	const struct proc_spec *spec;
	int devnull, errnum;
	pid_t parent;
};

OWN_STACK static int child_setup(const struct proc_spec *s, int devnull, pid_t parent)
{
	int src[3] = {s->in, s->out, s->err};
	sigset_t none;
	sigemptyset(&none);
	/* What the parent ignores, or blocks for a signalfd, is no container's affair. */
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&odd.set, sig) == 1)
			signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (s->new_session)
		setsid();
	else if (s->new_group)
		setpgid(0, 0);
	if (s->die_with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			return -1;
	}
	/* Lift every source above 2 first, so that dup2 cannot overwrite one. */
	for (int i = 0; i < 3; i++) {
		src[i] = fcntl(src[i] >= 0 ? src[i] : devnull, F_DUPFD_CLOEXEC, 3);
		if (src[i] < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(src[i], i) < 0) /* dup2 clears FD_CLOEXEC */
			return -1;
	/* Whatever our own parent leaked to us stops here as well. */
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	for (const int *k = s->keep; k && *k >= 0; k++)
		if (fcntl(*k, F_SETFD, 0) < 0)
			return -1;
	return s->cwd >= 0 ? fchdir(s->cwd) : 0;
}

OWN_STACK static int child_run(void *arg)
{
	struct child *c = arg;
	const struct proc_spec *s = c->spec;
	char *const *argv = (char *const *)s->argv;
	char *const *envp = s->envp ? (char *const *)s->envp : environ;
	if (child_setup(s, c->devnull, c->parent) == 0) {
		if (s->exe >= 0)
			execveat(s->exe, "", argv, envp, AT_EMPTY_PATH);
		else
			execve(argv[0], argv, envp);
	}
	c->errnum = errno ? errno : EIO;
	_exit(127);
}

static int start(struct proc *p, const struct proc_spec *spec, struct err *e)
{
	_Alignas(16) char stack[STACK_SIZE];
	struct child c = {.spec = spec, .parent = getpid()};
	sigset_t all, before;
	int pidfd = -1;
	*p = PROC_NONE;
	AUTO_CLOSE int devnull = -1;
	if ((spec->in < 0 || spec->out < 0 || spec->err < 0) &&
	    (devnull = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		return err_sys(e, "open /dev/null");
	c.devnull = devnull;
	look_at_signals();
	/* A handler of ours must not run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = clone(child_run, stack + sizeof stack,
			  CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &pidfd);
	int failed = errno;
	/* Not of one that has given itself another by now. */
	if (goes_first && pid > 0 && getpriority(PRIO_PROCESS, (id_t)pid) == FIRST)
		setpriority(PRIO_PROCESS, (id_t)pid, 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = pid < 0 ? failed : c.errnum;
	if (pid < 0)
		return err_sys(e, "start %s", spec->argv[0]);
	if (c.errnum) {
		close(pidfd);
		waitpid(pid, NULL, 0);
		errno = c.errnum;
		return err_sys(e, "exec %s", spec->argv[0]);
	}
	*p = (struct proc){
		.pid = pid, .pidfd = pidfd, .group = spec->new_group || spec->new_session};
	return 0;
}

int proc_start(struct proc *p, const struct proc_spec *spec, struct err *e)
{
	if (!spec->sealed)
		return start(p, spec, e);
	struct proc_spec s = *spec;
	AUTO_CLOSE int copy = sealed_copy(spec->argv[0]);
	s.exe = copy;
	/* A host may forbid to execute what is in memory. */
	if (copy < 0 || start(p, &s, e) < 0)
		return start(p, spec, e);
	return 0;
}

void proc_kill(struct proc *p, int sig)
{
	/* The group's number is the child's pid, which cannot be reused before we reap the child.
	 */
	if (p->group && p->pid > 0)
		kill(-p->pid, sig);
	else if (p->pidfd >= 0)
		pidfd_send_signal(p->pidfd, sig, NULL, 0);
}

long long proc_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int proc_try_reap(struct proc *p, struct proc_result *r, struct err *e)
{
	siginfo_t si = {0};
	if (waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG) < 0)
		return err_sys(e, "waitid");
	if (si.si_pid == 0)
		return 0;
	close(TAKE_FD(p->pidfd));
	p->pid = -1;
	r->exited = si.si_code == CLD_EXITED;
	r->status = si.si_status;
	return 1;
}

int proc_wait(struct proc *p, int timeout_ms, struct proc_result *r, struct err *e)
{
	long long deadline = proc_now_ms() + timeout_ms;
	bool timed_out = false;
	for (;;) {
		struct pollfd pfd = {.fd = p->pidfd, .events = POLLIN};
		long long left = timeout_ms < 0 || timed_out ? -1 : deadline - proc_now_ms();
		int n = poll(&pfd, 1, timeout_ms >= 0 && !timed_out && left < 0 ? 0 : (int)left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "poll");
		if (n > 0)
			break;
		timed_out = true;
		proc_kill(p, SIGKILL);
	}
	if (proc_try_reap(p, r, e) < 0)
		return -1;
	if (timed_out)
		return err_set(e, ERR_TIMEOUT, "no exit within %d ms", timeout_ms);
	return 0;
}

int proc_exit_code(const struct proc_result *r)
{
	return r->exited ? r->status : 128 + r->status;
}

unsigned long long proc_start_time(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The command name may hold spaces and parentheses: count fields from the last ')'. */
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

int proc_open(pid_t pid, unsigned long long start_time, struct err *e)
{
	AUTO_CLOSE int fd = pidfd_open(pid, 0);
	if (fd < 0)
		return errno == ESRCH ? err_set(e, ERR_NOT_FOUND, "process %d is gone", (int)pid)
				      : err_sys(e, "pidfd_open %d", (int)pid);
	/* Compared after the pidfd pins the process: the number cannot change hands any more. */
	if (proc_start_time(pid) != start_time)
		return err_set(e, ERR_NOT_FOUND, "process %d is gone", (int)pid);
	return TAKE_FD(fd);
}

bool proc_is_alive(pid_t pid, unsigned long long start_time)
{
	struct err ignored;
	if (pid <= 0)
		return false;
	AUTO_CLOSE int fd = proc_open(pid, start_time, &ignored);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&pfd, 1, 0) == 0;
}

int proc_end_signals(struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, "sigprocmask");
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, "signalfd") : fd;
}
