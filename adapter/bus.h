/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_BUS_H
#define CRISP_BUS_H
/* The receiving end of the event bus (event.h): a nanomsg REP socket at <runroot>/events.ipc in the
 * loop. Each message is answered "ok" and makes the index read the object it names. */
#include "crispd.h"

struct events *events_open(struct crispd *d, struct err *e);
void events_close(struct events *ev);
#endif
