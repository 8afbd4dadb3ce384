/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FEED_H
#define CRISP_FEED_H
/* GetContainerEvents: what the index sees change, told to whoever listens. A pod is told like a
 * container with its id. Several steps at once (a command that ends as soon as it is started) are
 * told one by one, all with the state as it is now.
 *
 * A listener that does not read is dropped with RESOURCE_EXHAUSTED when SLOW_MAX bytes wait for it;
 * neither the others nor the daemon notice. Nothing is kept for one that is not there: who listens
 * lists first. */
#include "call.h"
#include "index.h"

enum feed_phase { FEED_NONE, FEED_CREATED, FEED_STARTED, FEED_STOPPED };

struct feed *feed_new(struct crispd *d);
void feed_free(struct feed *f);

/* How far it has come, as a client of the CRI sees it: FEED_NONE also for what is hidden; or, with
 * `all`, as the bus is told. NULL is fine. */
enum feed_phase feed_phase_ctr(const struct ctr *c, bool all);
enum feed_phase feed_phase_pod(const struct pod *p, bool all);
/* The index has changed already; `ran`: it was running at some time. f may be NULL: nobody listens
 * yet. */
void feed_ctr(struct feed *f, const char *id, const char *pod, enum feed_phase from,
	      enum feed_phase to, bool ran);
/* p is the pod as it is now, or as it was before it went. */
void feed_pod(struct feed *f, struct pod *p, enum feed_phase from, enum feed_phase to);

/* The same for the bus (bus.h), with phases of `all`: p and c as they are now, or as they were. */
void feed_bus_pod(struct feed *f, const struct pod *p, enum feed_phase from, enum feed_phase to);
void feed_bus_ctr(struct feed *f, const struct ctr *c, enum feed_phase from, enum feed_phase to,
		  bool ran);

/* Something in the image store may be different. */
void feed_bus_images(struct feed *f);

void svc_get_container_events(struct call *c, const ProtobufCMessage *request);
#endif
