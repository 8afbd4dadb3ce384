/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_BUS_H
#define CRISP_BUS_H
/* The daemon's end of the event bus (event.h): a nanomsg REP socket at <runroot>/events.ipc in the
 * loop. Each message is answered "ok" and makes the index read the object it names. What the index
 * then sees is told to all who subscribe at <runroot>/feed.ipc (PUB). */
#include "crispd.h"

#include <jansson.h>

struct events *events_open(struct crispd *d, struct err *e);
void events_close(struct events *ev);
/* Takes the reference. Never waits: whoever does not read in time misses it. */
void events_tell(struct events *ev, json_t *what);
#endif
