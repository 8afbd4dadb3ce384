/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TOOL_HELP_H
#define CRISP_TOOL_HELP_H
/* tool.c's other half: the options that all tools share, and what is printed from the tables. */
#include "tool.h"

enum { TOOL_COMMON_MAX = 16 };

struct tool_common {
	struct opt opts[TOOL_COMMON_MAX];
	const char *root, *runroot, *config, *log_level;
	bool json, dry_run, help, version, option_table;
	double timeout;
	long status_fd;
};

/* The shared options that a tool with these flags has. */
void tool_common_init(struct tool_common *c, int flags);
/* --help: of the tool, or of one verb when v is given. */
void tool_print_help(const struct tool *t, const struct verb *v, const struct tool_common *c);
/* --option-table: one line an option, tab-separated: tool, verb ("-" = all), option, short,
 * placeholder ("-" = flag), help; and one a verb with option "-" and its operands as the
 * placeholder ("operands" for what the program does without a verb). scripts/completions and the
 * man page check read it. */
void tool_print_table(const struct tool *t, const struct tool_common *c);
#endif
