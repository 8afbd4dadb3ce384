/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SVC_EXEC_H
#define CRISP_SVC_EXEC_H
/* ExecSync: `ctrrun exec --collect`, which forks for each (keeper.h). Not a job: it changes nothing, waits for nobody,
 * and dies with its call. */
#include "crispd.h"

struct execs *execs_new(struct crispd *d);
/* Command lines may be others from now on. */
void execs_drop(struct execs *x);
/* Commands under way are ended. */
void execs_free(struct execs *x);
#endif
