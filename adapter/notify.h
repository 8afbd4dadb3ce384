/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_NOTIFY_H
#define CRISP_NOTIFY_H
/* What a service manager is told (sd_notify(3)), and that the event loop turns (its watchdog). The
 * variables by which the manager asks for it are ours alone: the programs that are started do not see
 * them. */
#include "loop.h"

struct notify {
	struct loop *loop;
	char *socket;       /* NOTIFY_SOCKET; NULL = nobody listens */
	long long every_ms; /* between two signs of life; 0 = none wanted */
	struct timer timer;
};

/* Once, before anything is started. */
void notify_open(struct notify *n, struct loop *l);
/* From now on the manager may rely on us: READY=1, with what we do for people, and a sign of life in
 * good time whenever the loop gets to its timers. A loop that hangs gives none, and is ended. */
void notify_ready(struct notify *n, const char *status);
/* The configuration is about to be read again; notify_ready follows. */
void notify_reloading(const struct notify *n);
void notify_stopping(const struct notify *n, const char *status);
void notify_close(struct notify *n);
#endif
