/* SPDX-License-Identifier: Apache-2.0 */
/* The profile that RuntimeDefault means: a list of what ordinary programs need. What is kept out
 * reaches parts of the kernel that no namespace divides (key rings, modules, kexec, swap, clocks, raw
 * ports), makes new attack surface (io_uring, bpf, userfaultfd, perf), or undoes the container (mounts,
 * new namespaces): it fails with EPERM. A capability that the container was given on purpose brings
 * the calls that are of no use without it. What is in neither table is a call that is younger than
 * they are: it answers ENOSYS, as the kernels do for which each program has another way.
 *
 * Names that an architecture or a libseccomp does not know are skipped by the runtimes, so one table
 * serves all architectures. tests/unit/seccomp.c checks that every system call that this machine's
 * headers and its libseccomp know of is decided; seccomp_default.md compares the profile with podman's. */
#include "seccomp.h"

#include "auto.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/socket.h>

#define CAP(c) (1ULL << CAP_##c)
#define ALLOW(list) \
	{ \
		.names = (list) \
	}
#define WITH(c, list) \
	{ \
		.names = (list), .caps = (c) \
	}
/* Arguments that the kernel reads as 32 bits are compared as 32 bits: a filter that looks at all 64
 * is passed by setting a high bit that the kernel never sees. */
#define FAMILIES(m, v) \
	{ \
		.names = "socket", .op = SECCOMP_MASKED, .arg = 0, .mask = (m), .value = (v) \
	}
#define PERSONALITY(v) \
	{ \
		.names = "personality", .op = SECCOMP_EQ, .arg = 0, .value = (v) \
	}
/* s390 alone has clone's stack first. */
#if defined(__s390__)
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif
#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

/* The first is the one that programs are of, the others those whose programs the kernel runs as well.
 * Each costs the runtime some 7 ms a container; x32, which hardly a kernel has switched on, is not
 * worth it, and without it its calls are refused. */
const struct seccomp_arch seccomp_arches[] = {
	{"amd64", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}},
	{"arm64", {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}},
	{"arm", {"SCMP_ARCH_ARM"}},
	{"386", {"SCMP_ARCH_X86"}},
	{"riscv64", {"SCMP_ARCH_RISCV64"}},
	{"ppc64le", {"SCMP_ARCH_PPC64LE"}},
	{"s390x", {"SCMP_ARCH_S390X", "SCMP_ARCH_S390"}},
	{"loong64", {"SCMP_ARCH_LOONGARCH64"}},
};
const size_t seccomp_arch_count = ARRAY_LEN(seccomp_arches);

/* What the default profile keeps out on purpose, whatever the capabilities. */
const char seccomp_default_refused[] =
	/* keys, memory faults, rings, another kernel, swap: not divided by any namespace */
	"add_key request_key keyctl userfaultfd io_uring_setup io_uring_enter io_uring_register "
	"kexec_load kexec_file_load swapon swapoff uselib ustat sysfs _sysctl vm86 vm86old "
	/* gives pages of memory to a pipe: hardly a program needs it, many an exploit did */
	"vmsplice "
	/* the machine's buses, and its firmware's and hypervisor's doors */
	"pciconfig_read pciconfig_write pciconfig_iobase s390_pci_mmio_read s390_pci_mmio_write "
	"s390_guarded_storage s390_sthyi s390_runtime_instr rtas subpage_prot spu_create spu_run "
	"multiplexer swapcontext switch_endian "
	/* no longer, or never, in the kernel */
	"create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall "
	"security vserver break oldstat oldfstat oldlstat stty gtty ftime prof lock mpx ulimit "
	"oldolduname olduname profil idle bdflush sys_debug_setcontext usr26 usr32 get_tls timerfd "
	/* 32-bit relics that no libc calls */
	"sgetmask ssetmask";

const struct seccomp_rule seccomp_default_rules[] = {
	/* files: open, read, write, names, metadata */
	ALLOW("read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 "
	      "open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock "
	      "lseek _llseek ioctl stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 "
	      "statx statfs statfs64 fstatfs fstatfs64 access faccessat faccessat2 truncate "
	      "truncate64 ftruncate ftruncate64 fallocate fsync fdatasync sync syncfs "
	      "sync_file_range sync_file_range2 arm_sync_file_range readahead fadvise64 "
	      "fadvise64_64 arm_fadvise64_64 sendfile sendfile64 splice tee "
	      "copy_file_range cachestat"),
	ALLOW("getcwd chdir fchdir mkdir mkdirat rmdir link linkat unlink unlinkat symlink "
	      "symlinkat readlink readlinkat rename renameat renameat2 getdents getdents64 readdir "
	      "mknod mknodat umask chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 "
	      "lchown lchown32 fchownat utime utimes futimesat utimensat utimensat_time64 "
	      "name_to_handle_at setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr "
	      "fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat removexattr "
	      "lremovexattr fremovexattr removexattrat file_getattr file_setattr"),
	/* waiting for things */
	ALLOW("poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create "
	      "epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 epoll_ctl_old "
	      "epoll_wait_old eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime "
	      "timerfd_settime64 timerfd_gettime timerfd_gettime64 inotify_init inotify_init1 "
	      "inotify_add_watch inotify_rm_watch fanotify_mark pipe pipe2"),
	/* asynchronous input and output of the old kind */
	ALLOW("io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents "
	      "io_pgetevents_time64"),
	/* memory */
	ALLOW("brk mmap mmap2 munmap mremap mprotect msync mincore madvise mlock mlock2 munlock "
	      "mlockall munlockall remap_file_pages memfd_create memfd_secret membarrier "
	      "pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack process_mrelease"),
	/* processes and threads */
	ALLOW("fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill "
	      "getpid gettid getppid getpgid getpgrp setpgid getsid setsid pidfd_open "
	      "pidfd_send_signal prctl arch_prctl seccomp ptrace process_vm_readv "
	      "process_vm_writev set_tid_address set_robust_list get_robust_list rseq "
	      "set_thread_area get_thread_area modify_ldt set_tls cacheflush breakpoint uretprobe "
	      "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue "
	      "restart_syscall landlock_create_ruleset landlock_add_rule landlock_restrict_self "
	      "lsm_get_self_attr lsm_list_modules riscv_flush_icache "
	      "riscv_hwprobe"),
	/* signals */
	ALLOW("rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait "
	      "rt_sigtimedwait_time64 rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend "
	      "sigaltstack sigaction sigprocmask sigreturn sigpending sigsuspend signal pause"),
	/* scheduling and limits */
	ALLOW("sched_yield sched_setparam sched_getparam sched_setscheduler sched_getscheduler "
	      "sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
	      "sched_rr_get_interval_time64 sched_setaffinity sched_getaffinity sched_setattr "
	      "sched_getattr getpriority setpriority nice ioprio_get ioprio_set getcpu getrlimit "
	      "ugetrlimit setrlimit prlimit64 getrusage times"),
	/* users and groups: what they may do, the capabilities say */
	ALLOW("getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 setuid "
	      "setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
	      "setresuid32 getresuid getresuid32 setresgid setresgid32 getresgid getresgid32 "
	      "setfsuid setfsuid32 setfsgid setfsgid32 getgroups getgroups32 setgroups "
	      "setgroups32 capget capset"),
	/* time: reading it, and timers. adjtimex and clock_adjtime read without CAP_SYS_TIME */
	ALLOW("time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 "
	      "clock_nanosleep clock_nanosleep_time64 nanosleep alarm getitimer setitimer "
	      "timer_create timer_settime timer_settime64 timer_gettime timer_gettime64 "
	      "timer_getoverrun timer_delete adjtimex clock_adjtime clock_adjtime64"),
	/* what machine is this */
	ALLOW("uname sysinfo getrandom"),
	/* sockets. socketcall (32-bit x86) packs its arguments in memory, where no filter can look:
	 * the fence around families below does not hold for it */
	ALLOW("socketpair socketcall bind listen accept accept4 connect getsockname getpeername "
	      "getsockopt setsockopt send recv sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg "
	      "recvmmsg_time64 shutdown"),
	/* every family but AF_ALG (38), the kernel's crypto by socket, and AF_VSOCK (40), a way to
	 * the hypervisor around all networks */
	FAMILIES(0xffffffe0, 0),  /* 0 to 31 */
	FAMILIES(0xfffffffc, 32), /* 32 to 35 */
	FAMILIES(0xfffffffe, 36), /* 36, 37 */
	FAMILIES(0xffffffff, 39),
	FAMILIES(0xffffffff, 41),
	FAMILIES(0xfffffffe, 42), /* 42, 43 */
	FAMILIES(0xfffffffc, 44), /* 44 (AF_XDP) to 47 */
	/* System V and POSIX message passing: divided by the IPC namespace */
	ALLOW("shmget shmat shmdt shmctl semget semop semctl semtimedop semtimedop_time64 msgget "
	      "msgsnd msgrcv msgctl ipc mq_open mq_unlink mq_timedsend mq_timedsend_time64 "
	      "mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr"),

	/* Linux, the 32-bit personality, the 2.6 version string, both; and asking which it is. The
	 * others switch off parts of the address layout's randomness */
	PERSONALITY(0x0),
	PERSONALITY(0x8),
	PERSONALITY(0x20000),
	PERSONALITY(0x20008),
	PERSONALITY(0xffffffff),

	/* New threads and processes, but in the namespaces that there are. clone3 has its flags in
	 * memory: it answers as an old kernel would, and every libc then takes clone */
	{.names = "clone",
	 .unless = CAP(SYS_ADMIN),
	 .op = SECCOMP_MASKED,
	 .arg = CLONE_FLAGS,
	 .mask = NAMESPACES,
	 .value = 0},
	{.names = "clone3", .unless = CAP(SYS_ADMIN), .err = ENOSYS},

	WITH(CAP(SYS_ADMIN),
	     "clone clone3 unshare setns mount umount umount2 mount_setattr move_mount open_tree "
	     "open_tree_attr fsopen fsconfig fsmount fspick statmount listmount pivot_root "
	     "sethostname setdomainname quotactl quotactl_fd fanotify_init lookup_dcookie"),
	WITH(CAP(SYS_ADMIN) | CAP(BPF), "bpf"),
	WITH(CAP(SYS_ADMIN) | CAP(PERFMON), "perf_event_open"),
	WITH(CAP(SYS_ADMIN) | CAP(SYSLOG), "syslog"),
	WITH(CAP(SYS_CHROOT), "chroot"),
	WITH(CAP(SYS_PTRACE), "kcmp pidfd_getfd process_madvise"),
	WITH(CAP(CHECKPOINT_RESTORE), "kcmp"),
	WITH(CAP(DAC_READ_SEARCH), "open_by_handle_at"),
	WITH(CAP(SYS_NICE), "mbind get_mempolicy set_mempolicy set_mempolicy_home_node "
			    "migrate_pages move_pages"),
	WITH(CAP(SYS_TIME), "settimeofday clock_settime clock_settime64 stime"),
	WITH(CAP(SYS_MODULE), "init_module finit_module delete_module"),
	WITH(CAP(SYS_RAWIO), "iopl ioperm"),
	WITH(CAP(SYS_BOOT), "reboot"),
	WITH(CAP(SYS_PACCT), "acct"),
	WITH(CAP(SYS_TTY_CONFIG), "vhangup"),
};

const size_t seccomp_default_count = ARRAY_LEN(seccomp_default_rules);
