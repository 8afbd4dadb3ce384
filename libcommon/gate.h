/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_GATE_H
#define CRISP_GATE_H
/* A tool that is started before it is wanted. To load a program takes longer than many a step does, and which
 * step is likely to be next is known while the one before it still works: crispd starts that tool then, with
 * its whole command line. It parses that, reads the configuration, opens the state directories and waits in
 * gate_wait; a configuration or a directory that is another by the time it is wanted is read or opened again. Only
 * what runs anyhow runs earlier.
 *
 * Its first word is GATE_OPTION and the number of a socket, which is taken off before anybody parses: a tool that
 * knows no gate refuses the word and does nothing. What comes through the socket is one line, the id of the request
 * that the tool works for (CRISP_REQ is set to that). An end without a line, as when crispd dies, means that nobody
 * wants it: it ends with status 0 and has done nothing.
 *
 * What goes back is one byte, the status that the tool is about to end with, once all is done, written and let go: to
 * take a process down takes a while. One that does not get there says nothing, and its end tells. */
#include <stdbool.h>

#define GATE_OPTION "--gate="
enum { GATE_LINE_MAX = 64 };

/* Takes the word off, when it is there. */
void gate_take(int *argc, char **argv);
bool gate_given(void);
/* Until the tool is wanted; false, at once, in one without a gate. */
bool gate_wait(void);
void gate_tell(int status);
/* Takes such a word off (turnstile.h has another): the number of the descriptor, or -1 when there is none. */
int gate_take_word(int *argc, char **argv, const char *option);
#endif
