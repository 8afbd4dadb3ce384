/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages to a monitor: the input's lines are the messages of one client, the first byte says
 * whether the container has a terminal. Whatever comes, each is answered at most once, with JSON, and
 * no descriptor is left over. */
#include "../../cmd/ctrmon/monitor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mon_opts opts = {.rate_policy = "block", .line_max = 16384};
static struct monitor m;

static void must(bool good)
{
	if (!good)
		abort();
}

static void set_up(void)
{
	struct err e;
	int in[2];
	static char dir[] = "/tmp/crisp-fuzz-ctl.XXXXXX", log[80];
	signal(SIGPIPE, SIG_IGN);
	must(mkdtemp(dir) != NULL);
	m = (struct monitor){.opts = &opts, .id = "fuzz", .pidfd = -1, .cgroup = CGROUP_DIRS_NONE};
	m.run_dir = m.root_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	m.loop = loop_new(&e);
	m.ctl.listen = WATCH_NONE;
	m.io.console = m.io.in = m.io.master = -1;
	m.state = MON_RUNNING;
	must(m.loop && m.run_dir >= 0 && pipe2(in, O_CLOEXEC | O_NONBLOCK) == 0);
	m.io.in = in[1];
	m.io.out.watch.fd = m.io.err.watch.fd = in[0];
	snprintf(log, sizeof log, "%s/0.log", dir);
	must(logfile_open(&m.log, log, &e) == 0);
}

/* What the client gets: an object a message; descriptors are closed. */
static int take_answers(int fd)
{
	char text[16384];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;
	for (int n = 0;; n++) {
		struct iovec iov = {text, sizeof text};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof control};
		ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (len <= 0)
			return n;
		must(text[0] == '{' && text[len - 1] == '}');
		const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		for (size_t at = 0; c && at < c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int got;
			memcpy(&got, CMSG_DATA(c) + at, sizeof got);
			close(got);
		}
	}
}

static int open_files(void)
{
	int n = 0;
	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	int pair[2];
	if (!m.loop)
		set_up();
	if (size < 2)
		return 0;
	opts.tty = data[0] & 1;
	opts.stdin_once = false;
	int before = open_files();
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	static struct ctl_client client;
	struct ctl_client *c = m.ctl.client = &client;
	*c = (struct ctl_client){.watch = WATCH_NONE, .m = &m, .out = {-1, -1}};
	m.ctl.high = 1;
	must(loop_add(m.loop, &c->watch, pair[0], 0, NULL, c, &e) == 0);
	for (size_t at = 1; at < size && c->watch.fd >= 0;) {
		const uint8_t *nl = memchr(data + at, '\n', size - at);
		size_t n = nl ? (size_t)(nl - data) - at : size - at;
		/* On the heap, so that a read beyond the end is seen. */
		char *text = malloc(n ? n : 1);
		memcpy(text, data + at, n);
		ctl_serve(c, text, n);
		free(text);
		must(take_answers(pair[1]) <= 1);
		attach_feed(&m, 0, "output\n", 7);
		at += n + 1;
	}
	if (c->watch.fd >= 0)
		ctl_drop(c);
	guard_release(c);
	close(pair[1]);
	must(open_files() == before);
	return 0;
}
