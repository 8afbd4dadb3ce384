/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRICALL_TAPE_H
#define CRICALL_TAPE_H
/* A record of calls, as crispd --record writes it (crispd(8), RECORD): the calls in the order in which
 * they came, each with its answer. Input is hostile: what is no such record is ERR_BAD_INPUT that
 * names the line. A last line that is cut off is left out: the daemon may be writing it. */
#include "cri_method.h"
#include "err.h"

#include <jansson.h>

enum {
	TAPE_MAX = 512 << 20,     /* bytes of a record */
	TAPE_CALLS_MAX = 4 << 20, /* calls of it */
	TAPE_UNANSWERED = -1,     /* the code of a call whose end is not recorded */
};

struct tape_call {
	struct cri_method method;
	json_t *request;  /* NULL: too large to be recorded */
	json_t *messages; /* of a stream: array; the answer of a unary call alone in one */
	bool omitted;     /* one of the messages was too large to be recorded */
	int code;         /* gRPC's */
	long long us;     /* what it took */
	size_t line;      /* of its request */
};

struct tape {
	struct tape_call *calls;
	size_t n, cap;
	json_t *open; /* req -> index of the call, since the daemon's start */
	size_t lost;  /* lines that the daemon could not write */
};

int tape_parse(struct tape *t, const char *text, size_t len, const char *what, struct err *e);
/* A tool's operand: FILE or "-". */
int tape_load(struct tape *t, const char *operand, struct err *e);
void tape_release(struct tape *t);
#define AUTO_TAPE __attribute__((cleanup(tape_release)))
#endif
