/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STANDBY_H
#define CRISP_STANDBY_H
/* Tools that wait at the gate (gate.h) for the step that will probably be next: what makes the container is
 * loaded while its bundle is made, what starts it while it is created. Each is for one command line. A step
 * with just these words takes it, any other starts its own; one that nobody takes in time is ended. There are
 * STANDBYS_MAX at the most: one more takes the place of the oldest. */
#include "crispd.h"
#include "state.h"
#include "toolrun.h"

struct standbys;

#define STANDBY_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
enum { STANDBYS_MAX = 16, STANDBY_MS = 10000 };

struct standbys *standbys_new(struct crispd *d);
void standbys_free(struct standbys *all);
void standbys_drop(struct standbys *all); /* command lines may be others from now on */

/* Start it soon: in a later turn of the loop, as the start of a process holds one up. argv as of
 * job_step_argv, copied. Nothing happens when one of these words waits. No failure is told: the step will. */
void standby_want(struct standbys *all, long long for_ms, const char *const *argv);

/* Command lines that name a new object: `id` is the word argv[at]. */
/* One for the next object of this kind, with a new id; nothing happens when one waits. */
void standby_want_next(struct standbys *all, long long for_ms, const char *const *argv, size_t at,
		       char id[ID_SIZE]);
/* The id of the one that waits for such an object, which nobody else is given, or a new one. */
void standby_next_id(struct standbys *all, const char *const *argv, size_t at, char id[ID_SIZE]);

/* The one of this full command line has its input and begins, for the request `req`; the process is the
 * caller's. False when there is none that can; one that was to be started will not be. */
bool standby_begin(struct standbys *all, const char *const *argv, const char *input,
		   size_t input_len, const char *req, struct toolrun *r);
#endif
