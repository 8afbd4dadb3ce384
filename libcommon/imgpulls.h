/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMGPULLS_H
#define CRISP_IMGPULLS_H
/* The pulls under way: each directory tmp/pull-<n> (imgstore.h) whose lock is held tells in
 * progress.json how far it is. */
#include "err.h"
#include "state.h"

#include <jansson.h>

/* An array (new reference) of what the pulls tell, each with its "pull" (its directory's name) put
 * in: {"pull","reference","started","pid","layers":[{"digest","state","bytes","size"}]}. One that
 * has told nothing yet has only its name. Nothing waits for anything. */
json_t *imgstore_pulls(const struct state *s, struct err *e);
#endif
