/* SPDX-License-Identifier: Apache-2.0 */
#include "podreplay.h"

#include "replay.h"

#include <string.h>

int podreplay_state(struct tool_ctx *c, struct err *e)
{
	return c->st.root >= 0 ? 0 : state_open(&c->st, c->cfg.root, c->cfg.runroot, e);
}

static const struct verb verbs[] = {
	{"capture", "POD", "pack a pod and all that is known of it into an archive", capture_table,
	 1, 1, podreplay_capture},
	{"run", "FILE", "make the pod of an archive again, in a place of its own", run_table, 1, 1,
	 podreplay_run},
	{"why", "POD|CONTAINER|FILE [CONTAINER]",
	 "tell in order what happened, what failed first, and what it means", why_table, 1, 2,
	 podreplay_why},
	{"diff", "FILE FILE", "compare how the pods of two archives went", diff_table, 2, 2,
	 podreplay_diff},
	{"script", "FILE", "print the shell script that does the same as run", NULL, 1, 1,
	 podreplay_script},
	{.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct tool tool = {
		.name = "podreplay",
		.summary = "tell why a pod failed, take it along, make it fail elsewhere",
		.flags = TOOL_STATE | TOOL_STATE_LATER | TOOL_JSON,
		.verbs = verbs,
	};
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	if (slash && strcmp(slash + 1, STUBNET_NAME) == 0)
		return stubnet_main();
	return tool_main(&tool, argc, argv);
}
