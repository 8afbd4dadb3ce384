/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_JOURNAL_H
#define CRISP_JOURNAL_H
/* The journal of a pod, pods/<id>/journal: one line a step. A line is a shell command that repeats
 * the step, then a comment that tells how it went:
 *
 *	/usr/bin/ctrrun start 4f1c… # 2026-08-22T10:00:00.123456789Z StartContainer req=17 exit=0
 * ms=12 /usr/bin/podnet create --id 9a… - < /var/lib/crisp/pods/9a…/pod.json # … exit=3 ms=4
 * error="…"
 *
 * so it can be read, pasted into a shell, and split at the last " # ". A step that went well, though
 * not quite as asked, ends in warning="…". Lines are appended with one write(2); beyond 1 MiB the file
 * becomes journal.1 and a new one begins. No argv of ours carries a secret; what a client puts on the
 * command line of an exec is its own. */
#include "err.h"
#include "state.h"

#include <stdint.h>

struct journal_step {
	const char *rpc; /* "StartContainer"; "hand" for a tool that was run by hand */
	const char *req; /* request id; NULL or "" = none */
	const char *const *argv;
	const char *stdin_file; /* what "< FILE" names; NULL = none */
	int64_t when_ns;        /* start of the step; 0 = now */
	int exit_status;
	long long ms;
	const char *error;   /* first line of the error; NULL = none */
	const char *warning; /* what was done otherwise than asked; NULL = none */
};

/* Never fails the caller's work: a journal that cannot be written is a warning in the log. */
void journal_append(const struct state *s, const char *pod_id, const struct journal_step *step);

/* For the tools: note our own run, `words` being what followed the program's name (at most 30),
 * unless crispd started us (CRISP_REQ is set), which notes it itself. began_ns is record_now_ns()
 * at the start; error NULL = success. */
void journal_by_hand(const struct state *s, const char *pod_id, const char *const *words,
		     const char *stdin_file, int64_t began_ns, const struct err *error);
#endif
