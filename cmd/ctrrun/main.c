/* SPDX-License-Identifier: Apache-2.0 */
#include "ctr.h"

static const struct opt create_opts[] = {
	{"defer-errors", 0, OPT_FLAG, &create_defer_errors, NULL,
	 "a refusal of the runtime is told by start"},
	{0},
};
static const struct opt rm_opts[] = {
	{"force", 'f', OPT_FLAG, &rm_force, NULL, "also a running container, which is killed"},
	{0},
};
static const struct opt exec_opts[] = {
	{"tty", 't', OPT_FLAG, &exec_tty, NULL, "give the command a terminal"},
	{"stdin", 'i', OPT_FLAG, &exec_stdin, NULL, "pass our standard input on"},
	{0},
};

static const struct verb verbs[] = {
	{"create", "CTR", "create a prepared container by its runtime", create_opts, 1, 1,
	 verb_create},
	{"start", "CTR", "start a created container", NULL, 1, 1, verb_start},
	{"stop", "CTR", "signal, wait for --timeout, kill", NULL, 1, 1, verb_stop},
	{"kill", "CTR SIGNAL", "send a signal to the container's first process", NULL, 2, 2,
	 verb_kill},
	{"rm", "CTR", "remove what create made; the bundle stays", rm_opts, 1, 1, verb_rm},
	{"exec", "CTR COMMAND...", "run a command in a running container", exec_opts, 2, -1,
	 verb_exec},
	{"state", "CTR", "print record and present state as JSON", NULL, 1, 1, verb_state},
	{"ls", "", "list containers, newest first", NULL, 0, 0, verb_ls},
	{"reopen", "CTR", "open the log anew after it was renamed", NULL, 1, 1, verb_reopen},
	{0},
};

static const struct tool tool = {
	.name = "ctrrun",
	.summary = "container life cycle by any OCI runtime",
	.flags = TOOL_STATE | TOOL_JSON | TOOL_TIMEOUT | TOOL_STATUS_FD | TOOL_OPERANDS_LAST,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return tool_main(&tool, argc, argv);
}
