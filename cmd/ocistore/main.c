/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"
#include "ocistore.h"
#include "verify.h"

#include <string.h>

int main(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{"ls", "[PATTERN...]", "list the images", ls_opts, 0, -1, store_ls},
		{"inspect", "IMAGE...", "print all about images", NULL, 1, -1, store_inspect},
		{"rm", "IMAGE...", "remove a name, and the image with its last one", rm_opts, 1, -1,
		 store_rm},
		{"tag", "IMAGE NAME...", "give an image more names", NULL, 2, -1, store_tag},
		{"untag", "NAME...", "take names away, never the image", NULL, 1, -1, store_untag},
		{"pin", "[IMAGE...]", "keep images from removal; without IMAGE list what is pinned",
		 NULL, 0, -1, store_pin},
		{"unpin", "IMAGE...", "undo pin", NULL, 1, -1, store_unpin},
		{"gc", "", "remove what nothing needs, and say why", NULL, 0, 0, store_gc},
		{"pulls", "", "tell of the pulls under way", NULL, 0, 0, store_pulls},
		{"df", "", "say what takes the space", NULL, 0, 0, store_df},
		{"mount", "[IMAGE [DIR]]",
		 "show an image's files, read-only; without IMAGE list the mounts", NULL, 0, 2,
		 store_mount},
		{"umount", "IMAGE|DIR...", "undo mount", umount_opts, 1, -1, store_umount},
		{"verify", "[IMAGE...]", "compare what is stored with what was pulled", NULL, 0, -1,
		 store_verify},
		{"repair", "[IMAGE...]", "fetch anew what verify finds bad", NULL, 0, -1,
		 store_repair},
		{"save", "IMAGE...", "write images to an archive or a layout", save_opts, 1, -1,
		 store_save},
		{"load", "", "take in all images of an archive or a layout", load_opts, 0, 0,
		 store_load},
		{.name = NULL},
	};
	static const struct tool tool = {"ocistore", "look after the store of images",
					 TOOL_STATE | TOOL_JSON | TOOL_DRY_RUN, NULL, verbs};
	if (argc == 2 && strcmp(argv[1], VERIFY_ARG) == 0)
		return verify_tar_main();
	return tool_main(&tool, argc, argv);
}
