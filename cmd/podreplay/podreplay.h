/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_H
#define PODREPLAY_H
/* The verbs of podreplay. The state directories are opened by those that look at a pod here
 * (podreplay_state), not by those that only read archives. */
#include "tool.h"

int podreplay_capture(struct tool_ctx *c, int argc, char **argv, struct err *e);
int podreplay_run(struct tool_ctx *c, int argc, char **argv, struct err *e);
int podreplay_why(struct tool_ctx *c, int argc, char **argv, struct err *e);
int podreplay_diff(struct tool_ctx *c, int argc, char **argv, struct err *e);
int podreplay_script(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt capture_table[], run_table[], why_table[], diff_table[];

/* Open c->st at the configured root and runroot. */
int podreplay_state(struct tool_ctx *c, struct err *e);
#endif
