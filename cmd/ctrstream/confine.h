/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_CONFINE_H
#define CTRSTREAM_CONFINE_H
#include "err.h"

/* Enter the pod's network (path "" = stay in the host's), then give up every privilege: what is
 * left is a process without identity that can open connections. */
int confine_to_network(const char *netns, struct err *e);
#endif
