/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_NETWATCH_H
#define CRISP_NETWATCH_H
/* Whether a new pod would get a network. The directories of configurations and plugins are watched,
 * so that a change is known at once, by the log and by whoever asks for the Status; plugins of CNI
 * 1.1 are asked themselves (STATUS, by `podnet network`), after a change and when somebody wants to
 * know. */
#include "crispd.h"

struct netwatch *netwatch_new(struct crispd *d);
void netwatch_free(struct netwatch *w);
/* The configuration's directories may be others now: look soon. */
void netwatch_reload(struct netwatch *w);
/* 0, or -1 and why not. Reads some small files; never waits for a plugin: what one says in answer
 * to this question is told the next time. */
int netwatch_ready(struct netwatch *w, struct err *e);
#endif
