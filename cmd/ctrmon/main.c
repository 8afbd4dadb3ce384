/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor.h"

#include <signal.h>
#include <string.h>

enum { LINE_MAX_DEFAULT = 16384, TIMEOUT_DEFAULT = 120 };

static struct mon_opts opts = {.line_max = LINE_MAX_DEFAULT, .rate_policy = "block"};

static const struct opt option_table[] = {
	{"runtime", 0, OPT_STRING, &opts.runtime, "PATH", "the OCI runtime"},
	{"runtime-root", 0, OPT_STRING, &opts.runtime_root, "DIR", "its --root"},
	{"runtime-arg", 0, OPT_STRINGS, &opts.runtime_args, "ARG",
	 "argument before the runtime's verb; may be repeated"},
	{"systemd-cgroup", 0, OPT_FLAG, &opts.systemd, NULL, "the runtime shall ask systemd"},
	{"pod", 0, OPT_STRING, &opts.pod, "POD", "the container's pod, for the exit event"},
	{"log-path", 0, OPT_STRING, &opts.log_path, "FILE",
	 "log in the CRI format; none if absent"},
	{"log-line-max", 0, OPT_INT, &opts.line_max, "BYTES", "cut longer lines (16384)"},
	{"log-rate-limit", 0, OPT_INT, &opts.rate, "BYTES",
	 "log that much a second at the most (0: any)"},
	{"log-rate-policy", 0, OPT_STRING, &opts.rate_policy, "POLICY",
	 "beyond it: block (the container waits), drop, or sample (every 100th line)"},
	{"tty", 't', OPT_FLAG, &opts.tty, NULL, "the container has a terminal"},
	{"stdin", 'i', OPT_FLAG, &opts.stdin_open, NULL, "keep the container's stdin open"},
	{"stdin-once", 0, OPT_FLAG, &opts.stdin_once, NULL,
	 "close it when the first attached client is done with it"},
	{"sandboxed", 0, OPT_FLAG, &opts.sandboxed, NULL,
	 "the pid file names a sandbox; its processes are the runtime's to signal"},
	{"wait", 0, OPT_FLAG, &opts.wait, NULL,
	 "the runtime's wait tells how the container ended (with --pod)"},
	{"restore", 0, OPT_STRING, &opts.restore, "DIR",
	 "make the container from the images of a checkpoint"},
	{"restore-arg", 0, OPT_STRINGS, &opts.restore_args, "ARG",
	 "argument for the runtime's restore; may be repeated"},
	{"adopt", 0, OPT_FLAG, &opts.adopt, NULL,
	 "take over a running container whose monitor was lost"},
	{0},
};

/* As id_is_valid of state.h, which would bring libcrypto with it. */
static bool is_id(const char *s)
{
	return strlen(s) == ID_LEN && strspn(s, "0123456789abcdef") == ID_LEN;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	if (!is_id(argv[0]))
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not an id (64 hex digits)", argv[0]);
	if (!c->cfg.root || !c->cfg.runroot)
		return err_set(e, ERR_USAGE, "--root and --runroot are needed");
	if (!opts.runtime || opts.runtime[0] != '/' || !opts.runtime_root)
		return err_set(e, ERR_USAGE,
			       "--runtime (an absolute path) and --runtime-root are "
			       "needed");
	if (strlen(c->cfg.root) > 4000 || strlen(c->cfg.runroot) > 4000)
		return err_set(e, ERR_BAD_INPUT, "state directory: path too long");
	if (opts.wait && !opts.pod)
		return err_set(e, ERR_USAGE, "--wait needs --pod");
	if (opts.line_max < 256 || opts.line_max > 1 << 20)
		return err_set(e, ERR_USAGE, "--log-line-max: not within 256 to %d", 1 << 20);
	if (opts.rate && (opts.rate < 1024 || opts.rate > 1L << 40))
		return err_set(e, ERR_USAGE, "--log-rate-limit: not within 1024 to 2^40");
	if (limit_policy(opts.rate_policy) < 0)
		return err_set(e, ERR_USAGE,
			       "--log-rate-policy: '%.32s' is not block, drop or sample",
			       opts.rate_policy);
	if (c->timeout < 0)
		c->timeout = TIMEOUT_DEFAULT;
	return monitor_run(c, &opts, argv[0], e);
}

static const struct verb verbs[] = {
	{"", "CTR", "watch one container for its whole life", option_table, 1, 1, run},
	{0},
};

static const struct tool tool = {
	.name = "ctrmon",
	.summary = "the monitor of one container; started by ctrrun create",
	.flags = TOOL_NO_CONFIG | TOOL_STATE | TOOL_TIMEOUT | TOOL_STATUS_FD,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	/* From the first instruction on: what arrives early waits for the signal descriptor. */
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	return tool_main_bare(&tool, argc, argv);
}
