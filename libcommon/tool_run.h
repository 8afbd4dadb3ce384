/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TOOL_RUN_H
#define CRISP_TOOL_RUN_H
/* The part of a tool's main that needs neither configuration nor state directories, hence neither
 * jansson nor libcrypto: tool_main and tool_main_bare (tool.h) are made of it. */
#include "tool.h"
#include "tool_help.h"

/* Called when the command line is good; 0 or -1. */
typedef int tool_prepare_fn(struct tool_ctx *c, const struct tool_common *k, struct err *e);

int tool_run(const struct tool *t, int argc, char **argv, tool_prepare_fn *prepare,
	     void (*finish)(struct tool_ctx *));
/* Log level, --json, --timeout, --status-fd and so on from the common options. */
int tool_prepare_common(struct tool_ctx *c, const struct tool_common *k, struct err *e);
#endif
