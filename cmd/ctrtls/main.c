/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"
#include "relay.h"
#include "secret.h"
#include "tool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static long tls_fd = -1, plain_fd = -1;

static const struct opt serve_opts[] = {
	{"fd", 0, OPT_INT, &tls_fd, "N", "the connected socket"},
	{"plain-fd", 0, OPT_INT, &plain_fd, "N", "the socket on which it goes on without TLS"},
	{0},
};

static int take_socket(long n, const char *option, struct err *e)
{
	struct stat st;
	if (n < 0 || n > INT32_MAX || fstat((int)n, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_USAGE, "--%s: a socket is needed", option);
	if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0 || fcntl((int)n, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, "--%s", option);
	return 0;
}

static int verb_serve(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc, (void)argv;
	if (take_socket(tls_fd, "fd", e) < 0 || take_socket(plain_fd, "plain-fd", e) < 0)
		return -1;
	proc_ignore(SIGPIPE);
	secret_init();
	AUTO_SSL SSL *ssl = secret_session(&c->cfg, e);
	return ssl ? relay_run(ssl, (int)tls_fd, (int)plain_fd, e) : -1;
}

static int verb_check(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc, (void)argv;
	secret_init();
	AUTO_SSL SSL *ssl = secret_session(&c->cfg, e);
	return ssl ? 0 : -1;
}

static const struct verb verbs[] = {
	{"serve", "", "be the server of one TLS connection", serve_opts, 0, 0, verb_serve},
	{"check", "", "can certificate, key and CA of the configuration be used?", NULL, 0, 0,
	 verb_check},
	{0},
};

static const struct tool tool = {
	.name = "ctrtls",
	.summary = "TLS for one streaming connection of the CRI; started by crispd",
	.flags = TOOL_STATE,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return tool_main(&tool, argc, argv);
}
