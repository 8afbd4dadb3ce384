/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STANDBY_H
#define CRISP_STANDBY_H
/* Tools that wait at the gate (gate.h) for the step that will probably be next: what makes the container is
 * loaded while its bundle is made, what starts it while it is created. Each is for one command line. A step
 * with just these words takes it, any other starts its own; one that nobody takes is ended after a while. */
#include "crispd.h"
#include "state.h"
#include "toolrun.h"

struct standbys;

#define STANDBY_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
enum { STANDBY_MS = 10000, STANDBY_ALWAYS = -1 };

struct standbys *standbys_new(struct crispd *d);
void standbys_free(struct standbys *all);
void standbys_drop(struct standbys *all); /* command lines may be others from now on */

/* Start it soon: in a later turn of the loop, as the start of a process holds one up. argv as of
 * job_step_argv, copied. Nothing happens when that many wait already, and no failure is told: the step will. */
void standby_want(struct standbys *all, long long for_ms, const char *const *argv);
/* A command line that names a new object by the word at argv[at]: the id for which one waits (with all other
 * words the same), or else a new one. */
void standby_id(const struct standbys *all, const char *const *argv, size_t at, char id[ID_SIZE]);
/* The one of this full command line has its input and begins, for the request `req`; the process is the
 * caller's. False when there is none that can; then none is started for it any more. */
bool standby_begin(struct standbys *all, const char *const *argv, const char *input,
		   size_t input_len, const char *req, struct toolrun *r);
#endif
