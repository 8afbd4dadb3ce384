/* SPDX-License-Identifier: Apache-2.0 */
/* bare RUNTIME BUNDLE ROOT N: the yardstick for our own container cycle. Runs create, start, kill,
 * wait for the end, delete of the bare OCI runtime N times, as cheaply as a caller can, and prints
 * the median in ms. */
#include "auto.h"
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>

static const char *runtime, *bundle, *root;

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void call(const char *const *args)
{
	struct err e;
	struct proc p;
	struct proc_result r;
	const char *argv[12] = {runtime, "--root", root};
	size_t n = 3;
	for (; *args && n + 1 < ARRAY_LEN(argv); args++)
		argv[n++] = *args;
	struct proc_spec s = PROC_SPEC(argv);
	if (proc_start(&p, &s, &e) < 0 || proc_wait(&p, 30000, &r, &e) < 0)
		_exit(log_err(&e));
	if (proc_exit_code(&r) != 0) {
		log_error("%s %s: status %d", runtime, argv[3], proc_exit_code(&r));
		_exit(1);
	}
}

static double cycle(const char *pid_file)
{
	struct err e;
	AUTO_BUF struct buf text = BUF_INIT(64);
	double start = now_ms();
	call((const char *const[]){"create", "--bundle", bundle, "--pid-file", pid_file, "bench",
				   NULL});
	if (fs_read_at(AT_FDCWD, pid_file, &text, &e) < 0)
		_exit(log_err(&e));
	AUTO_CLOSE int pidfd = pidfd_open((pid_t)strtol(text.data, NULL, 10), 0);
	call((const char *const[]){"start", "bench", NULL});
	call((const char *const[]){"kill", "bench", "KILL", NULL});
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
	poll(&pfd, 1, 10000);
	call((const char *const[]){"delete", "bench", NULL});
	return now_ms() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	log_init("bare");
	if (argc != 5) {
		log_error("usage: bare RUNTIME BUNDLE ROOT N");
		return 2;
	}
	runtime = argv[1];
	bundle = argv[2];
	root = argv[3];
	size_t n = strtoul(argv[4], NULL, 10);
	AUTO_FREE double *took = xcalloc(n + 1, sizeof *took);
	AUTO_FREE char *pid_file = xasprintf("%s/bench.pid", bundle);
	cycle(pid_file); /* warm the caches */
	for (size_t i = 0; i < n; i++)
		took[i] = cycle(pid_file);
	qsort(took, n, sizeof *took, by_value);
	printf("%.2f\n", took[n / 2]);
	return 0;
}
