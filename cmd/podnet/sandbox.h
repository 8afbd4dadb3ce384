/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_SANDBOX_H
#define PODNET_SANDBOX_H
/* The pod's sandbox container, for a handler whose runtime wants one: the container whose id is the
 * pod's, made, started and removed by the tools that do so for every other container. */
#include "handler.h"
#include "podnet.h"

/* Made and running; what a failure leaves is sandbox_remove's. */
int sandbox_start(const struct pod *p, const struct handler *h, struct err *e);
/* None is success. */
int sandbox_remove(const struct pod *p, struct err *e);
/* Is there anything of one? */
bool sandbox_exists(const struct pod *p);
bool sandbox_runs(const struct pod *p);
#endif
