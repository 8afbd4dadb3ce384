/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_ARCHIVE_H
#define OCISTORE_ARCHIVE_H
/* The verbs that read whole layers, or bring and take them: verify, repair, save, load. */
#include "err.h"
#include "tool.h"

int store_verify(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_repair(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_save(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_load(struct tool_ctx *c, int argc, char **argv, struct err *e);

extern const struct opt save_opts[], load_opts[];

/* Run ocipull with these arguments (NULL ends; ours for the store come before them). Its answer,
 * without the newline, goes to out (may be NULL); its one-line error becomes *e. */
struct buf;
int run_ocipull(const struct tool_ctx *c, const char *const *args, struct buf *out, struct err *e);
#endif
