/* SPDX-License-Identifier: Apache-2.0 */
#include "ocistore.h"

int main(int argc, char **argv)
{
	static const struct opt rm_opts[] = {
		{"force", 'f', OPT_FLAG, &rm_force, NULL, "remove pinned images too"},
		{.name = NULL},
	};
	static const struct verb verbs[] = {
		{"ls", "", "list the images", NULL, 0, 0, store_ls},
		{"inspect", "IMAGE", "print an image's record, names and configuration", NULL, 1, 1,
		 store_inspect},
		{"rm", "IMAGE...", "remove images with all their names", rm_opts, 1, -1, store_rm},
		{"gc", "", "remove what nothing needs, and say why", NULL, 0, 0, store_gc},
		{.name = NULL},
	};
	static const struct tool tool = {"ocistore", "look after the store of images",
					 TOOL_STATE | TOOL_JSON | TOOL_DRY_RUN, NULL, verbs};
	return tool_main(&tool, argc, argv);
}
