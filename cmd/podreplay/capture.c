/* SPDX-License-Identifier: Apache-2.0 */
#include "podreplay.h"

int podreplay_capture(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	return podreplay_state(c, e);
}
const struct opt capture_table[] = {{.name = NULL}};
