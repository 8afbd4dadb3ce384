/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_KEEPER_H
#define CRISP_KEEPER_H
/* The process of a tool that stands at a turnstile (turnstile.h) and forks for each run: started with the first, gone
 * KEEPER_IDLE_MS after the last, replaced when the tool was. */
#include "answer.h"
#include "crispd.h"

struct keeper;

enum { KEEPER_IDLE_MS = 60000 };

/* Embedded in its owner. */
struct keeper_run {
	struct keeper_run *next;
	struct stand *at; /* NULL = not under way */
	unsigned long long number;
	void *arg; /* the owner's; set before keeper_run */
	/* It is over: with the run's answer, or with how its keeper ended. */
	void (*cb)(struct keeper_run *r, const struct answer *a);
};

struct keeper *keeper_new(struct crispd *d, const char *tool, const char *verb);
/* What is under way is ended. */
void keeper_free(struct keeper *k);
/* Command lines may be others from now on. What is under way goes on. */
void keeper_drop(struct keeper *k);

/* One with these words (NULL-terminated) after the verb, for the request `req`. -1 when it cannot be, of which nothing
 * has come: the tool is a script, the words are too many, or too many runs come at once. */
int keeper_run(struct keeper *k, struct keeper_run *r, const char *const *words, const char *req,
	       void (*cb)(struct keeper_run *, const struct answer *), struct err *e);
/* Have it end, of which it gives an answer as well. */
void keeper_end(struct keeper_run *r);
/* For one that gives none, though it had its time: nobody hears of it any more, and its keeper, which may be what
 * hangs, gets no other. */
void keeper_give_up(struct keeper *k, struct keeper_run *r);
/* As keeper_end, and nobody hears of it. Harmless when it is over. */
void keeper_forget(struct keeper *k, struct keeper_run *r);
#endif
