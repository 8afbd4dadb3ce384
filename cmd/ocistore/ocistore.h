/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_H
#define OCISTORE_H
#include "err.h"
#include "image.h"
#include "tool.h"

#include <jansson.h>

/* An image as people and the adapter see it: {"id","repo_tags","repo_digests","size","pinned",
 * "created"}; names as of image_names. A new reference. */
json_t *image_summary(const struct tool_ctx *c, const struct image *img, json_t *names);

int store_ls(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_rm(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_gc(struct tool_ctx *c, int argc, char **argv, struct err *e);

extern bool rm_force;
#endif
