/* SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include "auto.h"
#include "sanitizer.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const unsigned kept_caps[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
				     CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP};

/* What reading a pipe, thinking, and writing to another takes. */
static const int pipe_calls[] = {
	SCMP_SYS(read),         SCMP_SYS(write),        SCMP_SYS(writev),
	SCMP_SYS(close),        SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),        SCMP_SYS(mmap),         SCMP_SYS(munmap),
	SCMP_SYS(mremap),       SCMP_SYS(mprotect),     SCMP_SYS(madvise),
	SCMP_SYS(brk),          SCMP_SYS(getrandom),    SCMP_SYS(clock_gettime),
	SCMP_SYS(futex),        SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid),       SCMP_SYS(gettid),
	SCMP_SYS(tgkill),       SCMP_SYS(exit),         SCMP_SYS(exit_group),
#if SANITIZED
	SCMP_SYS(sigaltstack),  SCMP_SYS(prctl),        SCMP_SYS(readlink),
	SCMP_SYS(sched_yield),  SCMP_SYS(getrusage),    SCMP_SYS(openat),
#endif
};

static const int calls[] = {
	SCMP_SYS(read),           SCMP_SYS(write),        SCMP_SYS(writev),
	SCMP_SYS(pwrite64),       SCMP_SYS(pread64),      SCMP_SYS(close),
	SCMP_SYS(lseek),          SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(statx),          SCMP_SYS(fcntl),        SCMP_SYS(openat),
	SCMP_SYS(mkdirat),        SCMP_SYS(openat2), /* fs_remove_tree */
	SCMP_SYS(mknodat),        SCMP_SYS(linkat),       SCMP_SYS(symlinkat),
	SCMP_SYS(unlinkat),       SCMP_SYS(readlinkat),   SCMP_SYS(fchown),
	SCMP_SYS(fchownat),       SCMP_SYS(fchmod),       SCMP_SYS(fchmodat),
	SCMP_SYS(ftruncate),      SCMP_SYS(utimensat),    SCMP_SYS(fsetxattr),
	SCMP_SYS(fgetxattr),      SCMP_SYS(getdents64),   SCMP_SYS(mmap),
	SCMP_SYS(munmap),         SCMP_SYS(mremap),       SCMP_SYS(mprotect),
	SCMP_SYS(madvise),        SCMP_SYS(brk),          SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),  SCMP_SYS(futex),        SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid),
	SCMP_SYS(gettid),         SCMP_SYS(tgkill), /* abort() */
	SCMP_SYS(exit),           SCMP_SYS(exit_group),
#if SANITIZED
	SCMP_SYS(sigaltstack),    SCMP_SYS(prctl),        SCMP_SYS(readlink),
	SCMP_SYS(sched_yield),    SCMP_SYS(getrusage),
#endif
};

static int limit(int what, rlim_t max, struct err *e)
{
	struct rlimit r;
	if (getrlimit((__rlimit_resource_t)what, &r) < 0)
		return err_sys(e, "getrlimit");
	/* Only downwards: upwards needs a capability that not every root has. */
	if (r.rlim_max == RLIM_INFINITY || r.rlim_max > max)
		r.rlim_max = max;
	r.rlim_cur = r.rlim_max;
	return setrlimit((__rlimit_resource_t)what, &r) < 0 ? err_sys(e, "setrlimit") : 0;
}

static int limits(unsigned descriptors, struct err *e)
{
	if (limit(RLIMIT_CORE, 0, e) < 0 || limit(RLIMIT_NOFILE, descriptors, e) < 0)
		return -1;
	/* zstd's largest window, libarchive, and the lists of directories fit well. */
	return SANITIZED ? 0 : limit(RLIMIT_AS, (rlim_t)1 << 30, e);
}

static int drop_caps(enum confine_kind kind, struct err *e)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = 0}};
	unsigned long long kept = 0;
	for (size_t i = 0; kind == CONFINE_FILES && i < ARRAY_LEN(kept_caps); i++)
		kept |= 1ULL << kept_caps[i];
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap >= 64 || !(kept >> cap & 1))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	struct __user_cap_data_struct now[2];
	if (syscall(SYS_capget, &head, now) < 0)
		return err_sys(e, "capget");
	for (int i = 0; i < 2; i++) {
		data[i].permitted = now[i].permitted & (unsigned)(kept >> (32 * i));
		data[i].effective = data[i].permitted;
	}
	return syscall(SYS_capset, &head, data) < 0 ? err_sys(e, "capset") : 0;
}

static int filter_calls(enum confine_kind kind, struct err *e)
{
	const int *allowed = kind == CONFINE_FILES ? calls : pipe_calls;
	size_t n = kind == CONFINE_FILES ? ARRAY_LEN(calls) : ARRAY_LEN(pipe_calls);
	/* EPERM, not death: a C library that tries a call which we did not foresee goes on without
	 * it. */
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc < 0) {
		errno = -rc;
		return err_sys(e, "seccomp");
	}
	return 0;
}

int confine(enum confine_kind kind, unsigned descriptors, struct err *e)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
		return err_sys(e, "unshare");
	if (kind == CONFINE_FILES && (chroot(".") < 0 || chdir("/") < 0))
		return err_sys(e, "chroot");
	umask(0);
	if (limits(descriptors, e) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_wrap(e, "confine");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, "prctl");
	return drop_caps(kind, e) < 0 ? -1 : filter_calls(kind, e);
}

static void child(int (*work)(void *arg, struct err *e), void *arg, int answer)
{
	struct err why = {.kind = ERR_OK};
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	int r = work(arg, &why);
	if (r < 0 && write(answer, &why, sizeof why) < 0)
		_exit(2);
	_exit(r < 0);
}

int confine_child(int (*work)(void *arg, struct err *e), void *arg, const char *silent,
		  struct err *e)
{
	int ends[2], status;
	struct err why = {.kind = ERR_OK};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int ours = ends[0];
	pid_t pid = fork();
	if (pid == 0)
		child(work, arg, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return err_sys(e, "fork");
	ssize_t n = read(ours, &why, sizeof why);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	why.msg[sizeof why.msg - 1] = '\0';
	return n == sizeof why && why.kind > ERR_OK && why.kind < ERR_KIND_COUNT
		       ? err_set(e, why.kind, "%s", why.msg)
		       : err_set(e, ERR_BAD_INPUT, "%s", silent);
}
