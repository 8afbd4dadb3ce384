/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrstream.h"

#include "auto.h"
#include "log.h"
#include "proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_MAX = 16 << 10, PORTS_MAX = 100 };

static long socket_fd = -1, head_fd = -1;
static struct stream_flags flags;

static const struct opt common[] = {
	{"fd", 0, OPT_INT, &socket_fd, "N", "the connected socket"},
	{"head-fd", 0, OPT_INT, &head_fd, "N", "what has been read from it: the request's head"},
	{0},
};
static const struct opt stream_opts[] = {
	{"tty", 't', OPT_FLAG, &flags.tty, NULL, "a terminal"},
	{"stdin", 'i', OPT_FLAG, &flags.in, NULL, "the client sends standard input"},
	{"stdout", 0, OPT_FLAG, &flags.out, NULL, "the client takes standard output"},
	{"stderr", 0, OPT_FLAG, &flags.err, NULL, "the client takes standard error"},
	{0},
};

static void on_signal(int signo, void *arg)
{
	(void)signo;
	loop_stop(arg);
}

static int check_fd(long n, const char *option, struct err *e)
{
	if (n < 0 || n > INT32_MAX || fcntl((int)n, F_GETFD) < 0)
		return err_set(e, ERR_USAGE, "--%s: a descriptor is needed", option);
	return fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0 ? err_sys(e, "--%s", option) : 0;
}

/* Terminated; the descriptor is closed. */
static int read_head(struct start *s, char *head, struct err *e)
{
	AUTO_CLOSE int fd = (int)head_fd;
	size_t len = 0;
	ssize_t n;
	while (len < HEAD_MAX && (n = read(fd, head + len, HEAD_MAX - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return err_sys(e, "read the request");
		len += n > 0 ? (size_t)n : 0;
	}
	head[len] = '\0';
	s->client.head = head;
	s->client.head_len = len;
	return 0;
}

static int prepare(struct start *s, struct tool_ctx *c, char *head, struct err *e)
{
	sigset_t set;
	struct stat st;
	if (check_fd(socket_fd, "fd", e) < 0 || check_fd(head_fd, "head-fd", e) < 0)
		return -1;
	if (fstat((int)socket_fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_USAGE, "--fd: not a socket");
	*s = (struct start){.ctx = c, .flags = flags};
	s->client.fd = (int)socket_fd;
	s->client.idle_ms = c->cfg.stream_idle_timeout * 1000;
	s->client.creation_ms = c->cfg.stream_creation_timeout * 1000;
	if (read_head(s, head, e) < 0)
		return -1;
	proc_ignore(SIGPIPE);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	struct loop *l = s->client.loop = loop_new(e);
	return l ? loop_signals(l, &set, on_signal, l, e) : -1;
}

static int verb_exec(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char head[HEAD_MAX + 1];
	struct start s = {0};
	(void)argc;
	int r = prepare(&s, c, head, e);
	if (r == 0)
		r = exec_session(&s, argv[0], argv + 1, e);
	loop_free(s.client.loop);
	return r;
}

static int verb_attach(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char head[HEAD_MAX + 1];
	struct start s = {0};
	(void)argc;
	int r = prepare(&s, c, head, e);
	if (r == 0)
		r = attach_session(&s, argv[0], e);
	loop_free(s.client.loop);
	return r;
}

static int verb_forward(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char head[HEAD_MAX + 1];
	struct start s = {0};
	unsigned ports[PORTS_MAX];
	for (int i = 1; i < argc; i++) {
		long port;
		if (tool_parse_long(argv[i], &port) < 0 || port < 1 || port > 65535)
			return err_set(e, ERR_USAGE, "'%.20s' is not a port", argv[i]);
		ports[i - 1] = (unsigned)port;
	}
	int r = prepare(&s, c, head, e);
	if (r == 0)
		r = forward_session(&s, argv[0], ports, (size_t)argc - 1, e);
	loop_free(s.client.loop);
	return r;
}

static const struct verb verbs[] = {
	{"exec", "CTR COMMAND...", "run a command in a running container", stream_opts, 2, -1,
	 verb_exec},
	{"attach", "CTR", "attach to a running container", stream_opts, 1, 1, verb_attach},
	{"portforward", "POD [PORT...]", "forward connections to ports of a pod", NULL, 1,
	 1 + PORTS_MAX, verb_forward},
	{0},
};

static const struct tool tool = {
	.name = "ctrstream",
	.summary = "one streaming connection of the CRI; started by crispd",
	.flags = TOOL_STATE | TOOL_OPERANDS_LAST,
	.opts = common,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return tool_main(&tool, argc, argv);
}
