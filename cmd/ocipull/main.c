/* SPDX-License-Identifier: Apache-2.0 */
#include "event.h"
#include "pull.h"
#include "tool.h"
#include "unpack.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { PARALLEL_MAX = 64 }; /* as max_parallel_downloads */

static const char *platform, *how, *name;
static long auth_fd = -1, parallel;
static struct opt_strings again;

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	static struct pull p; /* too large for a stack */
	char id[IMAGE_ID_SIZE];
	(void)argc;
	p.ctx = c;
	p.name = name;
	p.auth_fd = (int)auth_fd;
	p.again = &again;
	if (parallel == 0)
		parallel = (long)c->cfg.max_parallel_downloads;
	if (parallel < 1 || parallel > PARALLEL_MAX)
		return err_set(e, ERR_USAGE, "-j: %ld is not between 1 and %d", parallel,
			       PARALLEL_MAX);
	p.max_parallel = (int)parallel;
	if (platform_parse(&p.platform, platform, e) < 0 || progress_init(&p.progress, how, e) < 0)
		return -1;
	if (auth_fd >= 0 && fcntl(p.auth_fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, "--auth-fd %ld", auth_fd);
	if (pull_image(&p, argv[0], id, e) < 0)
		return -1;
	event_publish(&c->st, "changed", "image", id, "", false);
	printf("%s\n", id);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{"platform", 0, OPT_STRING, &platform, "OS/ARCH[/VARIANT]",
		 "which image of an index (default: this machine's)"},
		{"auth-fd", 0, OPT_INT, &auth_fd, "N",
		 "read credentials (a CRI AuthConfig as JSON) from descriptor N"},
		{"progress", 0, OPT_STRING, &how, "bars|plain|json|none",
		 "how to tell on stderr how it goes (default: bars on a terminal)"},
		{"parallel", 'j', OPT_INT, &parallel, "N",
		 "layers at once (default: max_parallel_downloads)"},
		{"name", 0, OPT_STRING, &name, "REF", "what to call the image"},
		{"again", 0, OPT_STRINGS, &again, "LAYER", NULL}, /* pull.h */
		{.name = NULL},
	};
	static const struct verb verbs[] = {
		{"", "REF|oci:DIR[:TAG]|oci-archive:FILE[:TAG]|docker-archive:FILE[:REF]",
		 "pull an image and print its id", opts, 1, 1, run},
		{.name = NULL},
	};
	static const struct tool tool = {"ocipull", "pull an image into the store", TOOL_STATE,
					 NULL, verbs};
	if (argc >= 3 && strcmp(argv[1], UNPACK_ARG) == 0)
		return unpack_main(argc - 2, argv + 2);
	return tool_main(&tool, argc, argv);
}
