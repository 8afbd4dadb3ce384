/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TOOLRUN_H
#define CRISP_TOOLRUN_H
/* One process of a tool. Its standard streams are anonymous files, so only its end has to be waited for; a
 * tool lives on, and never meets a broken pipe, when the daemon dies. */
#include "proc.h"

struct toolrun {
	struct proc proc;
	int in, out, err; /* in: -1 = /dev/null */
	int gate;         /* gate.h; -1 = it was not started to wait */
};
#define TOOLRUN_NONE \
	((struct toolrun){.proc = PROC_NONE, .in = -1, .out = -1, .err = -1, .gate = -1})

/* An anonymous file of this content, to be read from its beginning. */
int toolrun_file(const char *name, const void *data, size_t len, struct err *e);

/* Start it at once. input NULL = none; secret: a descriptor to pass under its number, -1 = none. */
int toolrun_start(struct toolrun *r, const char *const *argv, const char *const *env,
		  const char *input, size_t input_len, int secret, struct err *e);
/* A script in a tool's place knows no gate and no turnstile: it would run. */
bool toolrun_can_wait(const char *path);
/* Start it to wait; give it its input and the word. One that has not got it has done nothing, and ends when
 * its gate is closed. */
int toolrun_wait(struct toolrun *r, const char *const *argv, const char *const *env, struct err *e);
int toolrun_begin(struct toolrun *r, const char *input, size_t input_len, const char *req,
		  struct err *e);
/* What comes through the gate of one that has begun: 1 with the status that it ends with, 0 nothing yet, -1 no more,
 * its end will tell. */
int toolrun_told(const struct toolrun *r, int *status);
void toolrun_close(struct toolrun *r); /* the files, not the process */
#endif
