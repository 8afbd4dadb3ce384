/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STEP_H
#define CRISP_STEP_H
/* One run of a tool, inside the job runner. */
#include "jobs.h"
#include "toolrun.h"

struct step {
	struct step *next;
	struct job *job;
	int flags;
	long long timeout_ms;
	const char *tool;
	const char **argv; /* NULL-terminated, each word owned */
	size_t argc;
	char *input;
	size_t input_len;
	char *stdin_file;
	void *secret;
	size_t secret_len;
	void (*then)(struct job *j);

	struct crispd *d;
	struct toolrun run;
	struct watch watch; /* its end */
	struct watch told;  /* and, for one that has waited, that its work is done */
	struct timer clock;
	bool terminated; /* SIGTERM was sent: the next is SIGKILL */
	bool timed_out;
	int64_t when_ns;
	long long started_ms, ms;
	void (*ended)(struct step *s);

	bool failed;
	int exit_code;
	struct err error; /* when failed */
	char *warning;    /* what it did otherwise than asked; NULL = nothing */
	char *output;     /* STEP_OUTPUT; never NULL after the end */
};

struct step *step_new(struct job *j, int flags, long long timeout_ms, const char *tool);
void step_word(struct step *s, const char *word);
/* For the request `req`. 0 and `ended` is called from the loop, or -1 with s->failed and s->error set. */
int step_start(struct step *s, struct crispd *d, const char *req, void (*ended)(struct step *));
/* Ask it to end, and after a while make it. */
void step_cancel(struct step *s);
/* Frees it; a process under way is left to itself. */
void step_free(struct step *s);
#endif
