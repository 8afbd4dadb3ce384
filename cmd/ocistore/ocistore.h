/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_H
#define OCISTORE_H
#include "err.h"
#include "image.h"
#include "imgstore.h"
#include "tool.h"

#include <jansson.h>

/* What is asked of the store as a whole, read once. */
struct store_view {
	json_t *names, *pins;
	json_t *by_image; /* id -> its names, as image_names has them; made when first asked for */
	struct imgstore_users users;
};
/* users: read the records of all containers and mounts, too. */
int store_view_read(const struct tool_ctx *c, struct store_view *v, bool users, struct err *e);
/* The names of one image, borrowed; NULL = none. */
json_t *store_view_names(struct store_view *v, const char *id);
void store_view_release(struct store_view *v);
#define AUTO_VIEW __attribute__((cleanup(store_view_release)))

/* An image as people and the adapter see it: {"id","repo_tags","repo_digests","size","pinned",
 * "created"}. A new reference. */
json_t *image_summary(const struct tool_ctx *c, const struct image *img, struct store_view *v);
/* Sort an array of summaries: by the first tag, those without one last; then by id. */
int sort_summaries(json_t *rows, struct err *e);
/* 1.2G */
void print_size(long long n, char out[16]);
/* Was a name typed, not an id or the beginning of one? Then its normal form is in out. */
bool typed_name(const char *typed, const char *id, json_t *names, char *out, size_t size);

int store_ls(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_rm(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_pulls(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_gc(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_tag(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_untag(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_pin(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_unpin(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_df(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_mount(struct tool_ctx *c, int argc, char **argv, struct err *e);
int store_umount(struct tool_ctx *c, int argc, char **argv, struct err *e);

extern const struct opt ls_opts[], rm_opts[], umount_opts[];
#endif
