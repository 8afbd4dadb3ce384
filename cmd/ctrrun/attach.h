/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_ATTACH_H
#define CTRRUN_ATTACH_H
#include "tool.h"

#include <stdbool.h>

extern const char *attach_keys; /* --detach-keys of attach and exec; NULL = the configured ones */
extern bool attach_no_stdin;
int verb_attach(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* logs.c */
extern bool logs_follow, logs_timestamps;
extern long logs_tail; /* -1 = all */
extern const char *logs_since;
int verb_logs(struct tool_ctx *c, int argc, char **argv, struct err *e);
#endif
