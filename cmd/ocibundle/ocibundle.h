/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_OCIBUNDLE_H
#define CRISP_OCIBUNDLE_H
/* The verbs of ocibundle. */
#include "err.h"
#include "tool.h"

#include <jansson.h>
#include <stdbool.h>

struct create_options {
	const char *id, *origin; /* NULL = a new id; "cri" or "hand" */
};

/* Make the container that the file describes in the pod, and its bundle; prints the id (with
 * c->dry_run: makes nothing and prints the config.json it would write). */
int create_container(struct tool_ctx *c, const struct create_options *o, const char *pod,
		     const char *file, struct err *e);

/* Unmount and remove everything of a container that does not run; with dry_run print what that
 * would be. Nothing there is success. */
int remove_container(const struct state *s, const char *typed, bool dry_run, struct err *e);
/* The part of it that needs no lock and no record: for a creation that failed or was abandoned. */
int remove_remains(const struct state *s, const char *id, struct err *e);

/* show.c: with --explain, lines PATH TAB VALUE TAB SOURCE instead of config.json. */
extern bool show_explain;
void print_explained(json_t *spec, const char *sources, size_t len);
int run_show(struct tool_ctx *c, int argc, char **argv, struct err *e);
/* Lines PATH TAB OLD TAB NEW; 1 when there are any. */
int run_diff(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* The verb sandbox, for podnet create. */
int run_sandbox(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* The verb du. */
int run_du(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt du_opts[];
#endif
