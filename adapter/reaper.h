/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_REAPER_H
#define CRISP_REAPER_H
/* Processes whose work is done, or not wanted any more: nobody asks how they end, only that they do is waited for.
 * The kernel needs as long to take a tool down as the tool for many a step. */
#include "crispd.h"
#include "proc.h"

struct reaper;

struct reaper *reaper_new(struct crispd *d);
void reaper_free(struct reaper *r); /* whoever lives still goes on by itself */

/* The process is the reaper's; p is PROC_NONE then. Its descriptor is in no loop. */
void reaper_take(struct reaper *r, struct proc *p);
#endif
