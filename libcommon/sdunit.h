/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SDUNIT_H
#define CRISP_SDUNIT_H
/* What systemd's units have to do with control groups (cgroup_manager "systemd"): names and paths
 * as systemd.slice(5) has them, and the two things that only systemd may do, asked for by way of its
 * busctl(1). */
#include "err.h"

#include <sys/types.h>

/* The path of a slice's group: "a-b.slice" is "/a.slice/a-b.slice", "-.slice" is "". NULL when that
 * is no slice's name. For the caller to free. */
char *sdunit_slice_path(const char *slice);
/* The path of a scope's group, given as a bundle's linux.cgroupsPath: "SLICE:PREFIX:NAME". NULL when
 * it is not of that form. */
char *sdunit_scope_path(const char *cgroups_path);

/* A scope of the slice around a process that runs; it goes when the process does. systemd moves the
 * process a moment later. */
int sdunit_scope(const char *scope, const char *slice, pid_t pid, struct err *e);
/* Stop a unit. One that is not there is an error. */
int sdunit_stop(const char *unit, struct err *e);
#endif
