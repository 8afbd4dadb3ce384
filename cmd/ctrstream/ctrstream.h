/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_H
#define CTRSTREAM_H
/* The verbs, and what main.c gives them. */
#include "remote.h"
#include "tool.h"

struct start {
	const struct tool_ctx *ctx;
	struct client client;
	struct stream_flags flags;
};

/* 0 when the session has run, whatever became of it: the client was told. */
int exec_session(struct start *s, const char *ctr, char *const *command, struct err *e);
int attach_session(struct start *s, const char *ctr, struct err *e);
int forward_session(struct start *s, const char *pod, const unsigned *ports, size_t n_ports,
		    struct err *e);
#endif
