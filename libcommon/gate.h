/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_GATE_H
#define CRISP_GATE_H
/* A tool that is started before it is wanted. To load a program takes longer than many a step does, and which
 * step is likely to be next is known while the one before it still works: crispd starts that tool then, with
 * its whole command line, and it waits in gate_wait, at the beginning of its main, where it has not read or
 * touched anything. Only what runs anyhow runs earlier.
 *
 * Its first word is GATE_OPTION and the number of a pipe's reading end, which is taken off before anybody
 * parses: a tool that knows no gate refuses the word and does nothing. What comes through the pipe is one line, the
 * id of the request that the tool works for (CRISP_REQ is set to that). An end without a line, as when crispd dies,
 * means that nobody wants it: it ends with status 0 and has done nothing. */
#define GATE_OPTION "--gate="
enum { GATE_LINE_MAX = 64 };

/* Returns at once in a program without a gate. */
void gate_wait(int *argc, char **argv);
#endif
