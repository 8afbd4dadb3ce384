/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RELOAD_H
#define CRISP_RELOAD_H
/* SIGHUP: the configuration's files are read again. What can change while the daemon runs changes,
 * with a line in the log for each key; what cannot is named as waiting for the next start. Files that
 * cannot be read, or say something impossible, change nothing at all.
 *
 * Only what the files say differently than at the last reading counts: the command line stays
 * stronger. */
#include "crispd.h"

/* One line for people of what came of it, to be freed. */
char *reload(struct crispd *d);
#endif
