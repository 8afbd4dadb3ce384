/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRICALL_COMPARE_H
#define CRICALL_COMPARE_H
/* Is the answer of one server that of another to the same call? What each gives out by itself does
 * not count: ids are translated, times are there or not, addresses are any, texts for people and what
 * is measured are left out; of lists only what the replay has made counts, in any order. */
#include "cri_method.h"

#include <jansson.h>
#include <stdbool.h>

/* What the record's server called one thing, and what this one does. */
struct ids {
	json_t *now;    /* old id -> new id */
	json_t *made;   /* set of new ids */
	json_t *images; /* set: ids of the images that were asked for, of either server */
};
void ids_init(struct ids *x);
void ids_release(struct ids *x);
/* Learn from the answers to the same call. */
void ids_learn(struct ids *x, const struct cri_method *m, json_t *recorded, json_t *now);
/* In place: every id of the record in a request becomes this server's, a prefix of one, too. */
void ids_translate(const struct ids *x, json_t *j);

/* All messages of an answer as one object that can be compared (new reference). */
json_t *answer_plain(const struct ids *x, const struct cri_method *m, const json_t *messages,
		     bool is_recorded);
/* Append {"path", "recorded", "now"} for what differs, at most `max`. Text of the record that was
 * redacted is any text. */
void answer_compare(const json_t *recorded, const json_t *now, json_t *differences, size_t max);
#endif
