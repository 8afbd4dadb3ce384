/* SPDX-License-Identifier: Apache-2.0 */
#include "ocibundle.h"

#include <string.h>

static struct create_options create_options = {.origin = "hand"};

static int run_create(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	if (strcmp(create_options.origin, "cri") != 0 && strcmp(create_options.origin, "hand") != 0)
		return err_set(e, ERR_USAGE, "--origin: '%s' is not cri or hand",
			       create_options.origin);
	return create_container(c, &create_options, argv[0], argv[1], e);
}

static int run_rm(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return remove_container(&c->st, argv[0], c->dry_run, e);
}

int main(int argc, char **argv)
{
	static const struct opt create_opts[] = {
		{"id", 0, OPT_STRING, &create_options.id, "ID",
		 "the container's id (64 hex digits) instead of a new one"},
		{"origin", 0, OPT_STRING, &create_options.origin, "cri|hand",
		 "who asks; crispd lists only its own to the kubelet (hand)"},
		{0},
	};
	static const struct opt show_opts[] = {
		{"explain", 0, OPT_FLAG, &show_explain, NULL,
		 "each line of config.json with its value and its source"},
		{0},
	};
	static const struct verb verbs[] = {
		{"create", "POD CTR.json|-",
		 "make a container of a pod, and its bundle; print its id", create_opts, 2, 2,
		 run_create},
		{"show", "CTR | POD CTR.json|-",
		 "print the config.json of a container, or the one that create would write",
		 show_opts, 1, 2, run_show},
		{"diff", "A B", "print in what two containers or config.json files differ", NULL, 2,
		 2, run_diff},
		{"rm", "CTR", "unmount and remove a container that does not run", NULL, 1, 1,
		 run_rm},
		{"sandbox", "POD", "make a pod's own container, for podnet create", NULL, 1, 1,
		 run_sandbox},
		{"du", "[CTR...]", "print the sizes of writable layers, of all by default", du_opts,
		 0, -1, run_du},
		{0},
	};
	static const struct tool tool = {
		.name = "ocibundle",
		.summary = "image and container configuration to OCI bundle",
		.flags = TOOL_STATE | TOOL_DRY_RUN,
		.verbs = verbs,
	};
	return tool_main(&tool, argc, argv);
}
