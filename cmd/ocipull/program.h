/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_PROGRAM_H
#define OCIPULL_PROGRAM_H
/* A program of somebody else's (a credential helper, a verifier) that runs while the engine goes on:
 * with a clock, in a process group of its own, and what it says is kept up to a limit. */
#include "buf.h"
#include "engine.h"
#include "proc.h"

struct program {
	struct proc proc;
	int out; /* our end of what it writes to, -1 = closed */
	struct buf says;
	bool can_read, ended;
};
#define PROGRAM_INIT(max) ((struct program){.proc = PROC_NONE, .out = -1, .says = BUF_INIT(max)})

/* Its stderr, and with `both` its stdout, come to us; the rest is as in the spec. */
int program_start(struct program *p, struct proc_spec *spec, bool both, struct err *e);
/* Until it has ended, whatever it started may hold open: 1, or 0 when the clock has passed. It is not
 * reaped: its group's number is still nobody else's. */
int program_wait(struct program *p, struct engine *en, long seconds, struct err *e);
/* Take what there is to read; beyond the limit it is dropped. */
void program_listen(struct program *p);
/* Ends it if it runs, and forgets what it said: that may have been a secret. */
void program_release(struct program *p);
#endif
