/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TIMEOUT_DEFAULT = 60, TIMEOUT_MAX = 86400 };

static const struct opt common[] = {
	{"root", 0, OPT_STRING, &opts.root, "DIR", "state of the containers (/run/ctrshim)"},
	{"log", 0, OPT_STRING, &opts.log, "FILE", "write the error into it, too"},
	{"log-format", 0, OPT_STRING, &opts.log_format, "FORMAT", "of --log: text or json"},
	{"systemd-cgroup", 0, OPT_FLAG, &opts.systemd, NULL, "the runtime shall ask systemd"},
	{"shim", 0, OPT_STRING, &opts.shim, "PATH", "the shim (/usr/bin/containerd-shim-runc-v2)"},
	{"namespace", 0, OPT_STRING, &opts.space, "NAME",
	 "containerd namespace it is told (crisp)"},
	{"options", 0, OPT_STRING, &opts.options, "KIND",
	 "runtime options it takes: runc, generic or none (by its name)"},
	{"binary", 0, OPT_STRING, &opts.binary, "PATH", "runc options: the runtime (runc)"},
	{"config-path", 0, OPT_STRING, &opts.config, "FILE",
	 "generic options: the shim's configuration, as Kata wants it"},
	{"debug", 0, OPT_FLAG, &opts.debug, NULL, "have the shim log more"},
	{0},
};

static const struct opt create_opts[] = {
	{"bundle", 'b', OPT_STRING, &create_bundle, "DIR", "the bundle (the working directory)"},
	{"console-socket", 0, OPT_STRING, &create_console, "PATH",
	 "send the terminal's master there"},
	{"pid-file", 0, OPT_STRING, &create_pid_file, "FILE",
	 "write the stand-in's process id into it"},
	{0},
};
static const struct opt exec_opts[] = {
	{"process", 'p', OPT_STRING, &exec_process_file, "FILE", "process.json"},
	{"console-socket", 0, OPT_STRING, &create_console, "PATH",
	 "send the terminal's master there"},
	{"pid-file", 0, OPT_STRING, &create_pid_file, "FILE",
	 "write the stand-in's process id into it"},
	{"detach", 'd', OPT_FLAG, &exec_detach, NULL, "do not wait for the command"},
	{"tty", 't', OPT_FLAG, &exec_tty, NULL, "with a terminal"},
	{"cwd", 0, OPT_STRING, &exec_cwd, "DIR", "working directory"},
	{"env", 'e', OPT_STRINGS, &exec_env, "NAME=VALUE", "one more variable; may be repeated"},
	{"user", 'u', OPT_STRING, &exec_user, "UID[:GID]", "numbers"},
	{0},
};
static const struct opt kill_opts[] = {
	{"all", 'a', OPT_FLAG, &kill_all, NULL, "all processes of the container"},
	{0},
};
static const struct opt delete_opts[] = {
	{"force", 'f', OPT_FLAG, &delete_force, NULL,
	 "kill it first; what is not there is deleted"},
	{0},
};
static const struct opt update_opts[] = {
	{"resources", 'r', OPT_STRING, &update_resources, "FILE|-", "LinuxResources as JSON"},
	{0},
};
static const struct opt ps_opts[] = {
	{"format", 'f', OPT_STRING, &ps_format, "FORMAT", "table or json"},
	{0},
};
static const struct opt publish_opts[] = {
	{"topic", 0, OPT_STRING, &publish_topic, "TOPIC", "the event's"},
	{"address", 0, OPT_STRING, &opts.root, "DIR", "as the shim was told (--root)"},
	{0},
};

/* The runtime's log is where its caller looks for the reason. */
static int told(int status, const struct err *e)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(1 << 14);
	char stamp[40];
	time_t now = time(NULL);
	struct tm tm;
	if (status >= 0 || !*opts.log)
		return status;
	AUTO_CLOSE int fd = open(opts.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	if (strcmp(opts.log_format, "json") == 0) {
		AUTO_JSON json_t *j = json_pack("{s:s, s:s+, s:s}", "level", "error", "msg", e->msg,
						"", "time", stamp);
		AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
		if (text)
			(void)buf_addf(&b, &ignored, "%s\n", text);
	} else {
		(void)buf_addf(&b, &ignored, "%s: %s\n", stamp, e->msg);
	}
	if (fd >= 0 && b.data)
		(void)fs_write_all(fd, b.data, b.len, &ignored);
	return status;
}

static int check_options(const struct tool_ctx *c, struct err *e)
{
	static char root[PATH_MAX];
	static const char *const kinds[] = {"", "runc", "generic", "none"};
	size_t i = 0;
	double limit = c->timeout < 0 ? TIMEOUT_DEFAULT : c->timeout;
	if (opts.shim[0] != '/')
		return err_set(e, ERR_USAGE, "--shim: '%.200s' is not an absolute path", opts.shim);
	if (strcmp(opts.log_format, "text") != 0 && strcmp(opts.log_format, "json") != 0)
		return err_set(e, ERR_USAGE, "--log-format: '%.32s' is not text or json",
			       opts.log_format);
	while (i < ARRAY_LEN(kinds) && strcmp(kinds[i], opts.options) != 0)
		i++;
	if (i == ARRAY_LEN(kinds))
		return err_set(e, ERR_USAGE, "--options: '%.32s' is not runc, generic or none",
			       opts.options);
	if (id_check(opts.space, e) < 0)
		return err_set(e, ERR_USAGE, "--namespace: '%.80s' is not a name", opts.space);
	if (limit <= 0 || limit > TIMEOUT_MAX)
		return err_set(e, ERR_USAGE, "--timeout: not within 0 to %d", TIMEOUT_MAX);
	opts.timeout_ms = (long long)(limit * 1000);
	/* Shims work in the bundle, and are told paths. */
	if (fs_mkdirs(AT_FDCWD, opts.root, 0700, e) < 0)
		return -1;
	if (!realpath(opts.root, root))
		return err_sys(e, "--root %s", opts.root);
	opts.root = root;
	return 0;
}

typedef int verb_fn(struct tool_ctx *c, int argc, char **argv, struct err *e);

static int run(verb_fn *fn, struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	return told(check_options(c, e) < 0 ? -1 : fn(c, argc, argv, e), e);
}

#define VERB(name) \
	static int run_##name(struct tool_ctx *c, int argc, char **argv, struct err *e) \
	{ \
		return run(verb_##name, c, argc, argv, e); \
	}
VERB(create)
VERB(start)
VERB(state)
VERB(kill)
VERB(delete)
VERB(exec)
VERB(ps)
VERB(update)
VERB(pause)
VERB(resume)
VERB(features)
VERB(publish)

static const struct verb verbs[] = {
	{"create", "ID", "create a container from a bundle", create_opts, 1, 1, run_create},
	{"start", "ID", "run its process", NULL, 1, 1, run_start},
	{"state", "ID", "its state as JSON", NULL, 1, 1, run_state},
	{"kill", "ID [SIGNAL]", "send a signal (TERM) to its process", kill_opts, 1, 2, run_kill},
	{"delete", "ID", "remove a stopped container", delete_opts, 1, 1, run_delete},
	{"exec", "ID [COMMAND...]", "run a command in it", exec_opts, 1, -1, run_exec},
	{"ps", "ID", "its processes", ps_opts, 1, 1, run_ps},
	{"update", "ID", "change its limits", update_opts, 1, 1, run_update},
	{"pause", "ID", "suspend its processes", NULL, 1, 1, run_pause},
	{"resume", "ID", "let them go on", NULL, 1, 1, run_resume},
	{"features", "", "what the shim's runtime can do, as JSON", NULL, 0, 0, run_features},
	{"publish", "", "take an event from standard input; for shims", publish_opts, 0, 0,
	 run_publish},
	{0},
};

static const struct tool tool = {
	.name = "ctrshim",
	.summary = "an OCI runtime over any containerd shim v2",
	.flags = TOOL_NO_CONFIG | TOOL_TIMEOUT | TOOL_OPERANDS_LAST,
	.opts = common,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return tool_main_bare(&tool, argc, argv);
}
