/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FREEZER_H
#define CRISP_FREEZER_H
/* The freezer of a container's control group, found by its first process: that of cgroup v1 (also on
 * hybrid hosts) or v2. The group's path must contain `id`: no other group is ever touched. Runtimes
 * pause by it; here is what is needed where no runtime can be asked. */
#include "err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Nothing in the group runs any more, or everything does again. Freezing is asked for, not waited
 * for: no process gets back to its program from here on. */
int freezer_set(pid_t pid, const char *id, bool frozen, struct err *e);
/* 1 frozen or about to be, 0 not, -1 when there is no such group. */
int freezer_is_set(pid_t pid, const char *id, struct err *e);
/* Move those processes of the group out of it (to the root of the hierarchy) that nobody traces: beside
 * what a CRIU restores and holds, that is CRIU itself and whom it started. */
int freezer_leave_traced(pid_t pid, const char *id, struct err *e);
/* Let the group run that config.json's cgroupsPath names, where no process of it is known. */
void freezer_thaw_path(const char *path, const char *id);
#endif
