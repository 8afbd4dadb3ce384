/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODINIT_SHRINK_H
#define PODINIT_SHRINK_H
/* Reap for ever, all signals blocked, on a few pages: a copy of the loop gives back everything else
 * that the process has mapped, the C library included. Returns only when that is not possible here,
 * with nothing changed. */
void shrink_and_reap(void);
#endif
