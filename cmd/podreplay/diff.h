/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_DIFF_H
#define PODREPLAY_DIFF_H
/* Did two pods go the same way? Both are archives: a capture, and what `podreplay run -o` wrote, or two
 * of either. Containers are paired by name and attempt. The result is one document:
 *
 *	{ "version": 1, "same": true|false,
 *	  "differences": [ {"container", "what", "path", "a", "b"} ],
 *	  "times": [ {"step", "a_ms", "b_ms"} ] }
 *
 * what is "container" (only one has it), "state", "exit_code", "signal", "oom", "reason", "log",
 * "config.json", "order" or "time". Not compared are ids, times, addresses, the places of the state
 * directories and of control groups, and what was redacted on either side. */
#include "story.h"

enum { DIFF_PER_PART = 10 }; /* differences told of one log or one config.json */

/* slower: a step that takes so many times as long in b (and 100 ms longer) is a difference; 0 = none
 * is. A new reference. */
json_t *diff_stories(const struct story *a, const struct story *b, double slower);

/* ---- diff_plain.c: without what a machine, a run or a moment gives out */

struct plain {
	const struct story *s;
	const char *root, *runroot;         /* state directories there */
	const char *was_root, *was_runroot; /* those of the pod that was replayed; "" = none */
	json_t *paths;                      /* path there -> host path of the pod; NULL = none */
};
void plain_init(struct plain *p, const struct story *s);
/* In a new document, or string to be freed. */
json_t *plain_json(const struct plain *p, json_t *j);
char *plain_text(const char *text, size_t len); /* of a line of a log */
/* Are two plain strings alike? What was redacted is like anything from there on. */
bool plain_equal(const char *a, const char *b);
#endif
