/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_TOOLS_H
#define PODREPLAY_TOOLS_H
/* The other programs of crisp, run as a person would: no shell, their errors are ours. */
#include "buf.h"
#include "config.h"
#include "err.h"

#include <stdbool.h>

struct tools {
	const struct config *cfg; /* where the programs are */
	const char *config_file;  /* their --config; NULL = default */
	const char *root, *runroot;
	int cancel; /* a descriptor that becomes readable when all is to end; -1 = none */
	bool quiet; /* do not pass on what they remark */
};

/* TOOL --config … --root … --runroot … WORDS…; words end with NULL. Its output goes to *out (NULL: nowhere).
 * The error has the kind and the text of the tool's own. timeout_ms < 0: no clock. */
int tools_run(const struct tools *t, const char *tool, const char *const *words, struct buf *out,
	      int timeout_ms, struct err *e);
/* The same for a result of one line, such as an id. */
int tools_line(const struct tools *t, const char *tool, const char *const *words, char *line,
	       size_t size, int timeout_ms, struct err *e);
#endif
