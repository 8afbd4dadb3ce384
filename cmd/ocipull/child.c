/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include "auto.h"
#include "fs.h"
#include "unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { PIPE_SIZE = 1 << 20, PENDING_MAX = 4 << 20, HELPER_KEEP_MAX = 8 };

static int start(struct unpacker *u, const char *const *argv, int recipe, int dir, int in, int out,
		 struct err *e)
{
	const int keep[] = {recipe, -1};
	const char *const envp[] = {"PATH=/", NULL};
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = envp;
	spec.keep = keep;
	spec.in = in;
	spec.out = out;
	spec.cwd = dir;
	spec.new_group = true;
	spec.die_with_parent = true;
	return proc_start(&u->proc, &spec, e);
}

static int start_piped(struct unpacker *u, const char *const *argv, int recipe, int dir, int input,
		       struct err *e)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	*u = UNPACKER_NONE;
	u->report = BUF_INIT(UNPACK_REPORT_MAX);
	u->pending = BUF_INIT(PENDING_MAX);
	if (pipe2(out, O_CLOEXEC) < 0 || (input < 0 && pipe2(in, O_CLOEXEC) < 0)) {
		err_sys(e, "pipe");
		auto_close(&out[0]);
		auto_close(&out[1]);
		return -1;
	}
	int rc = start(u, argv, recipe, dir, input < 0 ? in[0] : input, out[1], e);
	auto_close(&in[0]);
	auto_close(&out[1]);
	u->in = in[1];
	u->out = out[0];
	fcntl(u->out, F_SETFL, O_NONBLOCK);
	if (u->in >= 0) {
		fcntl(u->in, F_SETFL, O_NONBLOCK);
		/* Fewer changes of context; refused beyond the user's share, which does no harm. */
		(void)fcntl(u->in, F_SETPIPE_SZ, PIPE_SIZE);
	}
	return rc;
}

static int start_bounded(struct unpacker *u, const char *mode, int recipe, int dir, int input,
			 const struct unpack_limits *max, struct err *e)
{
	char fd[16], bytes[24], entries[24], ratio[24];
	const char *argv[8] = {"/proc/self/exe", UNPACK_ARG, mode};
	size_t n = 3;
	snprintf(fd, sizeof fd, "%d", recipe);
	snprintf(bytes, sizeof bytes, "%llu", max->bytes);
	snprintf(entries, sizeof entries, "%llu", max->entries);
	snprintf(ratio, sizeof ratio, "%llu", max->ratio);
	if (recipe >= 0)
		argv[n++] = fd;
	argv[n++] = bytes;
	argv[n++] = entries;
	argv[n++] = ratio;
	argv[n] = NULL;
	return start_piped(u, argv, recipe, dir, input, e);
}

int unpacker_start_files(struct unpacker *u, int dir, int input, const struct unpack_limits *max,
			 struct err *e)
{
	return start_bounded(u, "files", -1, dir, input, max, e);
}

int unpacker_start_layer(struct unpacker *u, int dir, int recipe, const struct unpack_limits *max,
			 struct err *e)
{
	return start_bounded(u, "layer", recipe, dir, -1, max, e);
}

/* Returns how much the pipe took. */
static size_t push(struct unpacker *u, const char *data, size_t len)
{
	size_t done = 0;
	while (done < len && !u->broken) {
		ssize_t n = write(u->in, data + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return done;
		/* EPIPE: it has failed; its report tells why. */
		u->broken = n < 0;
		done += n < 0 ? 0 : (size_t)n;
	}
	return u->broken ? len : done;
}

bool unpacker_feed(struct unpacker *u, const void *data, size_t len)
{
	struct err ignored;
	if (u->pending.len > 0)
		return false;
	size_t done = push(u, data, len);
	if (done < len)
		u->broken =
			buf_add(&u->pending, (const char *)data + done, len - done, &ignored) < 0;
	return true;
}

void unpacker_finish_input(struct unpacker *u)
{
	auto_close(&u->in);
	u->in = -1;
}

void unpacker_watch(struct unpacker *u, struct engine *en)
{
	if (u->in >= 0 && u->pending.len > 0)
		engine_watch(en, u->in, POLLOUT, &u->can_write);
	if (u->out >= 0)
		engine_watch(en, u->out, POLLIN, &u->can_read);
}

static void child_broke(struct unpacker *u, const struct proc_result *r)
{
	u->failed = true;
	if (r->exited)
		err_set(&u->error, ERR_FAILED, "the unpacking child ended with %d", r->status);
	else
		err_set(&u->error, ERR_FAILED, "the unpacking child was killed by signal %d",
			r->status);
}

/* The last record decides. */
static void read_verdict(struct unpacker *u, const struct proc_result *r)
{
	const struct buf *b = &u->report;
	size_t last = b->len > 0 ? b->len - 1 : 0;
	child_broke(u, r);
	if (b->len < 3 || b->data[b->len - 1] != '\0')
		return;
	while (last > 0 && b->data[last - 1] != '\0')
		last--;
	const char *rec = b->data + last;
	if (rec[0] == 'e' && rec[1] == ' ') {
		char kind[32] = "";
		const char *text = strchr(rec + 2, ' ');
		if (text)
			snprintf(kind, sizeof kind, "%.*s", (int)(text - rec - 2), rec + 2);
		err_set(&u->error, err_kind_of_name(kind), "%s", text ? text + 1 : rec + 2);
	} else if (rec[0] == 'd' && strlen(rec) > 67 && r->exited && r->status == 0) {
		snprintf(u->hex, sizeof u->hex, "%.64s", rec + 2);
		char *p = NULL;
		u->bytes = strtoll(rec + 67, &p, 10);
		u->inodes = strtoull(p, &p, 10);
		u->usage = strtoull(p, &p, 10);
		u->failed = !digest_is_hex(u->hex) || u->bytes < 0;
	}
}

static int read_report(struct unpacker *u, struct err *e)
{
	for (;;) {
		if (buf_reserve(&u->report, 65536, e) < 0)
			return err_wrap(e, "the unpacking child's report");
		ssize_t n = read(u->out, u->report.data + u->report.len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(e, "read the unpacking child's report");
		buf_grew(&u->report, (size_t)n);
		if (n == 0)
			break;
	}
	struct proc_result r;
	auto_close(&u->out);
	u->out = -1;
	if (proc_wait(&u->proc, 10000, &r, e) < 0)
		return -1;
	u->proc = PROC_NONE;
	u->ended = true;
	u->broken = true;
	read_verdict(u, &r);
	return 0;
}

int unpacker_step(struct unpacker *u, struct err *e)
{
	if (u->can_write && u->in >= 0)
		buf_consume(&u->pending, push(u, u->pending.data, u->pending.len));
	if (u->broken)
		buf_clear(&u->pending);
	u->can_write = false;
	if (!u->can_read || u->out < 0)
		return 0;
	u->can_read = false;
	return read_report(u, e);
}

int unpacker_each(const struct unpacker *u, char letter,
		  int (*fn)(void *arg, const char *path, struct err *e), void *arg, struct err *e)
{
	const char *p = u->report.data, *end = p + u->report.len;
	while (p && p < end) {
		if (p[0] == letter && p[1] == ' ' && fn(arg, p + 2, e) < 0)
			return -1;
		p += strlen(p) + 1;
	}
	return 0;
}

void unpacker_signal(const struct unpacker *u)
{
	if (u->proc.pid > 0)
		(void)kill(u->proc.pid, SIGKILL);
}

static void kill_and_reap(struct proc *p)
{
	struct proc_result r;
	struct err ignored;
	if (p->pid <= 0)
		return;
	proc_kill(p, SIGKILL);
	(void)proc_wait(p, 10000, &r, &ignored);
	*p = PROC_NONE;
}

void unpacker_kill(struct unpacker *u)
{
	kill_and_reap(&u->proc);
	auto_close(&u->in);
	auto_close(&u->out);
	u->in = u->out = -1;
	buf_release(&u->report);
	buf_release(&u->pending);
}

int helper_wait_lock(int fd)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int rc;
	do
		rc = fcntl(fd, F_OFD_SETLKW, &fl);
	while (rc < 0 && errno == EINTR);
	return rc;
}

int helper_sync(int fd)
{
	return syncfs(fd);
}

static int next_kept(const int *keep, unsigned from)
{
	int next = -1;
	for (; *keep >= 0; keep++)
		if ((unsigned)*keep >= from && (next < 0 || *keep < next))
			next = *keep;
	return next;
}

/* In the child: of all descriptors only those of keep stay. */
static int helper_child_begin(const int *keep, pid_t parent)
{
	sigset_t none;
	unsigned from = 0;
	int next;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return -1;
	/* A copy of a lock's descriptor here would keep the lock after the parent let it go. */
	while ((next = next_kept(keep, from)) >= 0) {
		if ((unsigned)next > from && close_range(from, (unsigned)next - 1, 0) < 0)
			return -1;
		from = (unsigned)next + 1;
	}
	return close_range(from, ~0U, 0);
}

static int helper_began(struct helper *h, pid_t pid, struct err *e)
{
	if (pid < 0)
		return err_sys(e, "fork");
	h->proc.pid = pid;
	h->proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (h->proc.pidfd < 0) {
		err_sys(e, "pidfd_open");
		helper_kill(h);
		return -1;
	}
	return 0;
}

int helper_start(struct helper *h, int (*call)(int fd), int fd, struct err *e)
{
	const int keep[] = {fd, -1};
	pid_t parent = getpid();
	*h = HELPER_NONE;
	pid_t pid = fork();
	if (pid == 0) {
		if (helper_child_begin(keep, parent) == 0 && call(fd) == 0)
			_exit(0);
		_exit(errno ? errno : EIO);
	}
	return helper_began(h, pid, e);
}

static int helper_child_call(int (*call)(void *arg, struct err *e), void *arg, const int *keep,
			     int out, pid_t parent)
{
	struct err why, ignored;
	int fds[HELPER_KEEP_MAX + 2] = {out}, n = 1;
	for (; *keep >= 0 && n <= HELPER_KEEP_MAX; keep++)
		fds[n++] = *keep;
	fds[n] = -1;
	if (helper_child_begin(fds, parent) < 0)
		err_sys(&why, "helper");
	else if (call(arg, &why) == 0)
		return 0;
	(void)fs_write_all(out, &why, sizeof why, &ignored);
	return 2;
}

int helper_call(struct helper *h, int (*call)(void *arg, struct err *e), void *arg, const int *keep,
		struct err *e)
{
	int ends[2];
	pid_t parent = getpid();
	*h = HELPER_NONE;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int out = ends[1];
	h->answer = ends[0];
	pid_t pid = fork();
	if (pid == 0)
		_exit(helper_child_call(call, arg, keep, out, parent));
	int rc = helper_began(h, pid, e);
	if (rc < 0)
		auto_close(&h->answer);
	return rc;
}

void helper_watch(struct helper *h, struct engine *en)
{
	if (h->proc.pidfd >= 0)
		engine_watch(en, h->proc.pidfd, POLLIN, &h->ready);
}

int helper_step(struct helper *h, struct err *e)
{
	struct proc_result r;
	if (!h->ready)
		return 0;
	struct err why;
	AUTO_CLOSE int answer = h->answer;
	int rc = proc_wait(&h->proc, 10000, &r, e);
	*h = HELPER_NONE;
	if (rc < 0)
		return -1;
	if (r.exited && r.status == 0)
		return 1;
	if (answer >= 0 && read(answer, &why, sizeof why) == (ssize_t)sizeof why) {
		*e = why;
		return -1;
	}
	/* helper_start's tells by its status what the system call said. */
	errno = r.exited ? r.status : 0;
	return errno ? err_sys(e, "helper") : err_set(e, ERR_FAILED, "helper failed");
}

void helper_kill(struct helper *h)
{
	/* Its end is not waited for: it may be deep in a system call that no signal ends. */
	if (h->proc.pid > 0)
		proc_kill(&h->proc, SIGKILL);
	auto_close(&h->proc.pidfd);
	auto_close(&h->answer);
	*h = HELPER_NONE;
}
