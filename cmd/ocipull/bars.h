/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_BARS_H
#define OCIPULL_BARS_H
/* The terminal's picture of a pull, drawn over the one before. Its size is asked for each time: no
 * line is ever as wide as the terminal, and nothing is drawn that does not fit in its height. */
#include "progress.h"

void bars_draw(struct progress *p);
/* Leave the last picture there and go on below it. */
void bars_leave(struct progress *p);
#endif
