/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_ARCHIVE_H
#define OCISTORE_ARCHIVE_H
/* The verbs that read whole layers, or bring and take them: verify, repair, save, load. */
#include "err.h"
#include "imgstore.h"
#include "tool.h"

int store_verify(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_repair(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_save(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_load(struct tool_ctx *c, int argc, char **argv, struct err *e);

extern const struct opt save_opts[], load_opts[];

/* Whoever reads layers for long: from here until imgstore_tmp_drop no removal takes those that the
 * images (array of ids) have; an image that is gone already has none. A store that cannot be written
 * is as safe without. */
int hold_layers(const struct tool_ctx *c, const json_t *images, struct imgstore_tmp *t,
		struct err *e);

/* Run ocipull with these arguments (NULL ends; ours for the store come before them). Its answer,
 * without the newline, goes to out (may be NULL); its one-line error becomes *e. */
struct buf;
int run_ocipull(const struct tool_ctx *c, const char *const *args, struct buf *out, struct err *e);
#endif
