/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_LOOP_H
#define CRISP_LOOP_H
/* One epoll loop with timers and signals, for the programs that live long (crispd, ctrmon). A watch
 * and a timer are embedded in their owner; the loop never allocates for them. A callback may delete
 * any watch, its own included: deleted entries still in the current batch are skipped. Callbacks
 * return nothing and record state in their owner. */
#include "err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

struct watch {
	int fd;          /* -1 = not in a loop */
	uint32_t events; /* EPOLLIN, EPOLLOUT, … */
	void (*cb)(struct watch *w, uint32_t events);
	void *arg;
	size_t slot; /* the loop's own */
};
#define WATCH_NONE ((struct watch){.fd = -1})

struct timer {
	long long due_ms; /* CLOCK_MONOTONIC; the loop's own */
	void (*cb)(struct timer *t);
	void *arg;
	size_t slot; /* 1-based heap position, 0 = not armed */
	unsigned turn;
};

struct loop *loop_new(struct err *e);
void loop_free(struct loop *l); /* watches and timers must be gone or dead */

/* The descriptor stays the caller's; it must be deleted from the loop before it is closed. */
int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	     void (*cb)(struct watch *, uint32_t), void *arg, struct err *e);
int loop_modify(struct loop *l, struct watch *w, uint32_t events, struct err *e);
void loop_del(struct loop *l, struct watch *w); /* harmless when not added */
/* The same, and the descriptor is closed. */
void loop_close(struct loop *l, struct watch *w);

/* Arms or re-arms. What a timer's callback arms to be due at once has its turn after whatever has come by
 * then; nothing sleeps in between. */
void loop_timer(struct loop *l, struct timer *t, long long in_ms, void (*cb)(struct timer *),
		void *arg);
void loop_timer_cancel(struct loop *l, struct timer *t);

/* Block the signals of `set` in this thread and have cb called for each that arrives. */
int loop_signals(struct loop *l, const sigset_t *set, void (*cb)(int signo, void *arg), void *arg,
		 struct err *e);

/* Until loop_stop. -1 only if epoll itself fails. */
int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);
#endif
