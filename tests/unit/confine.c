/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined child can still do, asked from inside of it. */
#include "confine.h"

#include "fs.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Calls that succeed, or fail otherwise, for anybody who is not confined. */
static const struct {
	const char *name;
	long number, args[3];
} refused[] = {
	{"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"socket (unix)", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"execve", SYS_execve, {0, 0, 0}},
	{"execveat", SYS_execveat, {-1, 0, 0}},
	{"ptrace", SYS_ptrace, {PTRACE_TRACEME, 0, 0}},
	{"process_vm_readv", SYS_process_vm_readv, {0, 0, 0}},
	{"clone", SYS_clone, {0, 0, 0}},
	{"kill", SYS_kill, {0, 0, 0}},
	{"unshare", SYS_unshare, {0, 0, 0}},
	{"setns", SYS_setns, {-1, 0, 0}},
	{"mount", SYS_mount, {0, 0, 0}},
	{"chroot", SYS_chroot, {0, 0, 0}},
	{"fchdir", SYS_fchdir, {-1, 0, 0}},
	{"setuid", SYS_setuid, {0, 0, 0}},
	{"capset", SYS_capset, {0, 0, 0}},
	{"prctl", SYS_prctl, {0, 0, 0}},
	{"seccomp", SYS_seccomp, {0, 0, 0}},
	{"bpf", SYS_bpf, {0, 0, 0}},
	{"keyctl", SYS_keyctl, {0, 0, 0}},
	{"io_uring_setup", SYS_io_uring_setup, {0, 0, 0}},
	{"userfaultfd", SYS_userfaultfd, {0, 0, 0}},
	{"perf_event_open", SYS_perf_event_open, {0, 0, 0}},
	{"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
	{"memfd_create", SYS_memfd_create, {0, 0, 0}},
	{"renameat2", SYS_renameat2, {-1, 0, -1}},
	{"ioctl", SYS_ioctl, {-1, 0, 0}},
	{"pidfd_open", SYS_pidfd_open, {1, 0, 0}},
};
enum { REFUSED = sizeof refused / sizeof *refused };

struct seen {
	bool confined, out, makes, refused[REFUSED];
};

static void look_around(struct seen *s, enum confine_kind kind)
{
	struct err e;
	struct stat st;
	if (confine(kind, 64, &e) < 0)
		return;
	s->confined = true;
	for (size_t i = 0; i < REFUSED; i++) {
		errno = 0;
		s->refused[i] = syscall(refused[i].number, refused[i].args[0], refused[i].args[1],
					refused[i].args[2], 0, 0, 0) < 0 &&
				errno == EPERM;
	}
	int fd = openat(AT_FDCWD, "/../../etc/passwd", O_RDONLY | O_CLOEXEC);
	s->out = fd >= 0 || (kind == CONFINE_FILES && fstatat(AT_FDCWD, "/proc", &st, 0) == 0);
	/* What unpacking is there for. */
	s->makes = mknodat(AT_FDCWD, "/null", S_IFCHR | 0600, makedev(1, 3)) == 0 &&
		   fchownat(AT_FDCWD, "/null", 7, 8, 0) == 0 &&
		   fchmodat(AT_FDCWD, "/null", 04711, 0) == 0 && mkdirat(AT_FDCWD, "/d", 0) == 0 &&
		   mkdirat(AT_FDCWD, "/d/in", 0) == 0;
}

static void child(enum confine_kind kind)
{
	char dir[] = "/tmp/crisp-confine.XXXXXX";
	struct err e;
	struct seen *s =
		mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool files = kind == CONFINE_FILES;
	const char *what = files ? "files" : "pipes";
	int status;
	if (s == MAP_FAILED || !mkdtemp(dir))
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		if (chdir(dir) == 0)
			look_around(s, kind);
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s: it lives", what);
	ok(s->confined, "%s: confined", what);
	for (size_t i = 0; i < REFUSED; i++)
		ok(s->refused[i], "%s: %s is refused", what, refused[i].name);
	ok(!s->out, "%s: nothing of the outside can be opened", what);
	ok(s->makes == files, "%s: devices, owners and modes %s", what, files ? "work" : "do not");
	if (fs_remove_tree(AT_FDCWD, dir, &e) < 0)
		abort();
	munmap(s, sizeof *s);
}

int main(void)
{
	if (geteuid() != 0) {
		printf("1..0 # skip needs root\n");
		return 0;
	}
	child(CONFINE_FILES);
	child(CONFINE_PIPES);
	return tap_done();
}
