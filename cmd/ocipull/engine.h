/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_ENGINE_H
#define OCIPULL_ENGINE_H
/* The one place where ocipull waits: curl's transfers, pipes to and from children, the end of
 * children, a clock, and SIGTERM/SIGINT, which turn every wait into ERR_CANCELLED.
 *
 * Interest in a descriptor holds for the next wait only: whoever still cares says so again.
 *
 *	bool ready;
 *	engine_watch(en, fd, POLLIN, &ready);
 *	engine_wait(en, e);
 *	if (ready) ... */
#include "err.h"

#include <curl/curl.h>
#include <stdbool.h>

enum { ENGINE_WATCHES = 2048 };

struct engine {
	CURLM *multi;
	int signals;
	long long wake_at; /* proc_now_ms; 0 = no clock */
	unsigned count;
	struct curl_waitfd fds[ENGINE_WATCHES];
	bool *ready[ENGINE_WATCHES];
};

/* One for the process: blocks the signals, ignores SIGPIPE. */
int engine_init(struct engine *en, struct err *e);
void engine_release(struct engine *en);
/* *ready becomes false now and true when one of the events has happened by the end of the wait. */
void engine_watch(struct engine *en, int fd, short events, bool *ready);
void engine_wake(struct engine *en, long long at_ms);
/* Move transfers on, wait for anything, mark finished transfers (http.h). */
int engine_wait(struct engine *en, struct err *e);
#endif
