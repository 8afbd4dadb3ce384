/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TURNSTILE_H
#define CRISP_TURNSTILE_H
/* A tool that is wanted again and again, as `ctrrun exec` is by a kubelet's probes: to load it takes longer than its
 * work does, and holds up who starts it. It is started once, with the words that all its runs have in common, reads
 * the configuration, opens the state directories and waits. Each message is one run: it forks, and what comes out
 * goes on as if it had been started with the words and the streams of the message. So there is one process a run
 * here as well.
 *
 * Its first word is TURNSTILE_OPTION and the number of a socket (AF_UNIX, SOCK_SEQPACKET), which is taken off before
 * anybody parses. A message is the id of the request (CRISP_REQ is set to that) and the words that come after its own,
 * each with its NUL, TURNSTILE_MAX bytes at the most, and TURNSTILE_FDS descriptors: the run's stdin, stdout, stderr
 * and gate. The gate is what gate.h says, a SOCK_SEQPACKET too; before the byte it carries, each as a message, the
 * lines that a verb has for --status-fd.
 *
 * The gate's other end tells that nobody wants the run any more by being shut for writing, or closed: the run gets
 * SIGTERM, and SIGKILL after TURNSTILE_KILL_MS. For a run that ends without a word we tell its status, 128+n for a
 * signal: an end of the gate without one means that we were killed as well. When the turnstile's socket ends there
 * are no more runs, and we end with the last. */
#include <stdbool.h>

#define TURNSTILE_OPTION "--turnstile="
enum { TURNSTILE_MAX = 64 << 10, TURNSTILE_FDS = 4, TURNSTILE_KILL_MS = 5000 };

/* Takes the word off, when it is there. */
void turnstile_take(int *argc, char **argv);
bool turnstile_given(void);
/* Until a message is there; serves the runs meanwhile. */
void turnstile_wait(void);
/* Takes it. True in the run, which has its streams and its gate; false in the one that stays. */
bool turnstile_enter(void);
/* The run's words, after argv[0]. They may be moved. */
char **turnstile_words(int *argc);
#endif
