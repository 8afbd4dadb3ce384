/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_EVENT_H
#define CRISP_EVENT_H
/* The event bus: nanomsg REQ/REP at <runroot>/events.ipc. It only wakes people up: what an event
 * says is on disk already, so a lost one costs latency, never truth. A message is one JSON object:
 *
 *	{"event":"exited","kind":"container","id":"…","pod":"…"}
 *
 * events: created, started, exited, removed, changed (records of that object should be read again);
 * kinds: pod, container, image (id "" = the store). The reply "ok" proves receipt.
 *
 * What crispd then sees change it tells to all who subscribe to the PUB socket <runroot>/feed.ipc
 * (ctrevents(1)), as one JSON object a message:
 *
 *	{"time":"2026-01-31T12:00:00.123456789Z","event":"stopped","kind":"container","id":"…",
 *	 "pod":"…","name":"…","exit_code":1,"reason":"Error"}
 *
 * events: created, started, stopped, deleted, and changed of the image store; exit_code and reason
 * only when a container has stopped. {"kind":"hello",…} sent to events.ipc is told back as it is.
 *
 * What crispd and ctrevents leave to libnanomsg a tool says itself, for it is one message: the library
 * would cost each of them 3 ms, a thread and, in a sleeping ctrmon, memory. */
#include "state.h"

/* Best effort, at most about a second; nobody listening is not an error. Does nothing when crispd
 * started this process (CRISP_REQ set) and is still there (its pid is CRISP_DAEMON) unless
 * `always`: crispd learns from the exit status. */
void event_publish(const struct state *s, const char *event, const char *kind, const char *id,
		   const char *pod, bool always);
/* Does a crispd listen? */
bool event_heard(const struct state *s);
/* "ipc:///run/crisp/events.ipc"; false if the path is too long for a socket. */
bool event_address(const char *run_path, char *out, size_t size);
bool event_feed_address(const char *run_path, char *out, size_t size);
#endif
