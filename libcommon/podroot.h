/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PODROOT_H
#define CRISP_PODROOT_H
/* A pod with a user namespace, seen by those who give its containers their streams. */
#include "state.h"

/* Let the pod's root own a pipe that one of its containers gets as standard input, output or error:
 * inside, a pipe of the host's root belongs to nobody, and /dev/stdout could not be opened. Its root is
 * who owns the pod's `hostname` file (podnet). What is no pipe is left alone: it may be anybody's. */
void podroot_give_pipe(const char *runroot, const char *pod_id, int fd);
/* Take away the mapped volumes that ocibundle has mounted at <runroot>/containers/<id>/mapped: once the
 * runtime has bound them they would only keep the volumes' file systems busy. */
void podroot_drop_mapped(const struct state *s, const char *ctr_id);
#endif
