/* SPDX-License-Identifier: Apache-2.0 */
/* cycle RUNTIME BUNDLE ROOT CTRRUN CTR N LOWERDIR: create, start, stop, remove of a container, by the bare OCI runtime as
 * cheaply as a caller can do it (the yardstick), and by ctrrun on the prepared container CTR, which includes its
 * monitor, log and records. Taken in turns, so that a busy machine hurts both; prints the medians in
 * ms: bare on a bundle that is there, ctrrun on the same, bare with a fresh overlay on LOWERDIR and a bundle;
 * then of each what create and start alone took. */
#include "auto.h"
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <time.h>

static const char *runtime, *bundle, *root;

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void run(const char *const *argv)
{
	struct err e;
	struct proc p;
	struct proc_result r;
	struct proc_spec s = PROC_SPEC(argv);
	if (proc_start(&p, &s, &e) < 0 || proc_wait(&p, 30000, &r, &e) < 0)
		_exit(log_err(&e));
	if (proc_exit_code(&r) != 0) {
		log_error("%s: status %d", argv[0], proc_exit_code(&r));
		_exit(1);
	}
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static double started; /* when the last cycle's container ran */

static double bare_cycle(const char *pid_file)
{
	struct err e;
	AUTO_BUF struct buf text = BUF_INIT(64);
	double start = now_ms();
	RUN(runtime, "--root", root, "create", "--bundle", bundle, "--pid-file", pid_file, "bench");
	if (fs_read_at(AT_FDCWD, pid_file, &text, &e) < 0)
		_exit(log_err(&e));
	AUTO_CLOSE int pidfd = pidfd_open((pid_t)strtol(text.data, NULL, 10), 0);
	RUN(runtime, "--root", root, "start", "bench");
	started = now_ms();
	RUN(runtime, "--root", root, "kill", "bench", "KILL");
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
	poll(&pfd, 1, 10000);
	RUN(runtime, "--root", root, "delete", "bench");
	return now_ms() - start;
}

/* The same with what a caller of a bare runtime has to do before and after: a fresh overlay and a bundle. */
static double fresh_cycle(const char *lower)
{
	struct err e;
	const char *kept = bundle;
	AUTO_BUF struct buf config = BUF_INIT(1 << 20);
	AUTO_FREE char *dir = xasprintf("%s.fresh", root);
	AUTO_FREE char *made = xasprintf("%s/bundle", dir);
	AUTO_FREE char *rootfs = xasprintf("%s/rootfs", made);
	AUTO_FREE char *file = xasprintf("%s/config.json", made);
	AUTO_FREE char *pid_file = xasprintf("%s/pid", dir);
	AUTO_FREE char *upper = xasprintf("%s.upper", lower);
	AUTO_FREE char *work = xasprintf("%s.work", lower);
	AUTO_FREE char *options =
		xasprintf("lowerdir=%s,upperdir=%s,workdir=%s,volatile", lower, upper, work);
	AUTO_FREE char *from = xasprintf("%s/config.json", kept);
	double start = now_ms();
	if (fs_mkdirs(AT_FDCWD, rootfs, 0755, &e) < 0 || fs_mkdirs(AT_FDCWD, upper, 0755, &e) < 0 ||
	    fs_mkdirs(AT_FDCWD, work, 0755, &e) < 0 ||
	    fs_read_at(AT_FDCWD, from, &config, &e) < 0 ||
	    fs_replace_file_at(AT_FDCWD, file, 0600, config.data, config.len, 0, &e) < 0)
		_exit(log_err(&e));
	if (mount("overlay", rootfs, "overlay", 0, options) < 0) {
		log_error("mount %s: %s", options, strerrordesc_np(errno));
		_exit(1);
	}
	bundle = made;
	bare_cycle(pid_file);
	bundle = kept;
	umount2(rootfs, MNT_DETACH);
	if (fs_remove_tree(AT_FDCWD, dir, &e) < 0 || fs_remove_tree(AT_FDCWD, upper, &e) < 0 ||
	    fs_remove_tree(AT_FDCWD, work, &e) < 0)
		_exit(log_err(&e));
	return now_ms() - start;
}

static double our_cycle(const char *ctrrun, const char *ctr)
{
	double start = now_ms();
	RUN(ctrrun, "create", ctr);
	RUN(ctrrun, "start", ctr);
	started = now_ms();
	RUN(ctrrun, "stop", "--timeout", "0", ctr);
	RUN(ctrrun, "rm", ctr);
	return now_ms() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *took, size_t n)
{
	qsort(took, n, sizeof *took, by_value);
	return took[n / 2];
}

int main(int argc, char **argv)
{
	log_init("cycle");
	if (argc != 8) {
		log_error("usage: cycle RUNTIME BUNDLE ROOT CTRRUN CTR N LOWERDIR");
		return 2;
	}
	runtime = argv[1];
	bundle = argv[2];
	root = argv[3];
	size_t n = strtoul(argv[6], NULL, 10);
	enum { BARE, OURS, FRESH, WAYS };
	double *took[WAYS], *up[WAYS];
	AUTO_FREE char *pid_file = xasprintf("%s/bench.pid", bundle);
	for (int w = 0; w < WAYS; w++) {
		took[w] = xcalloc(n + 1, sizeof *took[w]);
		up[w] = xcalloc(n + 1, sizeof *up[w]);
	}
	for (size_t i = 0; i <= n; i++) /* the first warms the caches */
		for (int w = 0; w < WAYS; w++) {
			double start = now_ms();
			took[w][i ? i - 1 : 0] = w == BARE   ? bare_cycle(pid_file)
						 : w == OURS ? our_cycle(argv[4], argv[5])
							     : fresh_cycle(argv[7]);
			up[w][i ? i - 1 : 0] = started - start;
		}
	for (int w = 0; w < WAYS; w++)
		printf("%.2f ", median(took[w], n));
	for (int w = 0; w < WAYS; w++) {
		printf("%.2f%s", median(up[w], n), w + 1 < WAYS ? " " : "\n");
		free(took[w]);
		free(up[w]);
	}
	return 0;
}
