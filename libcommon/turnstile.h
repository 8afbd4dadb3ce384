/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TURNSTILE_H
#define CRISP_TURNSTILE_H
/* A tool that is wanted again and again, as `ctrrun exec` is by a kubelet's probes: to load it takes longer than its
 * work does, and holds up who starts it. It is started once, with the words that all its runs have in common, reads
 * the configuration, opens the state directories and waits. For each run that is wanted it forks, and what comes out
 * goes on as if it had been started with the words of the message. So there is one process a run here as well.
 *
 * Its first word is TURNSTILE_OPTION and the number of a socket (AF_UNIX, SOCK_SEQPACKET), which is taken off before
 * anybody parses. A message is words, each with its NUL, TURNSTILE_MAX bytes at the most:
 *
 *	RUN REQUEST WORD...   begin the run of this name; CRISP_REQ is set to the request's id, the words come after
 *	                      the tool's own
 *	RUN                   nobody wants it any more: SIGTERM, and SIGKILL after TURNSTILE_KILL_MS
 *
 * What comes back are answers (answer.h) by the run's name. A run gives its own, and --status-fd is the socket for
 * it; for one that ends without we give {"event":"ended","exit":N}, 128+n for a signal. When the socket's other end is
 * closed we end, and whenever we end the runs get SIGTERM. */
#include <stdbool.h>
#include <stddef.h>

#define TURNSTILE_OPTION "--turnstile="
#define TURNSTILE_ENDED "{\"event\":\"ended\",\"exit\":%d}" /* of one that gave no answer */
enum {
	TURNSTILE_MAX = 64 << 10,
	TURNSTILE_KILL_MS = 5000,
	TURNSTILE_HELD_MAX = 128 << 20, /* bytes that all runs together keep for their answers */
};

/* Takes the word off, when it is there. */
void turnstile_take(int *argc, char **argv);
bool turnstile_given(void);
/* Until a run is wanted; serves the others meanwhile, and those that are not wanted any more. */
void turnstile_wait(void);
/* Begins it. True in the run; false in the one that stays. */
bool turnstile_enter(void);

/* In a run: its words, after argv[0] (they may be moved), the socket, and its name, "" in one that is none. */
char **turnstile_words(int *argc);
int turnstile_socket(void);
const char *turnstile_run(void);
/* May it keep n bytes more? Always, when it is none. */
bool turnstile_hold(size_t n);
/* It has given its answer. */
void turnstile_told(void);
#endif
