/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SVC_EXEC_H
#define CRISP_SVC_EXEC_H
/* ExecSync: `ctrrun exec`, which forks for each (keeper.h), with its two streams on pipes. Not a job: it changes
 * nothing, waits for nobody, and dies with its call. */
#include "crispd.h"

struct execs *execs_new(struct crispd *d);
void execs_drop(struct execs *x); /* command lines may be others from now on */
/* Commands under way are ended. */
void execs_free(struct execs *x);
#endif
