/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_EXITINFO_H
#define CRISP_EXITINFO_H
/* How a process ended that is nobody's child here. The kernel tells whoever holds a pidfd since
 * before the end (PIDFD_GET_INFO, Linux 6.15) once the process was reaped; and while it waits for
 * that, /proc/PID/stat does. */
#include <stdbool.h>
#include <sys/types.h>

/* The pidfd is readable. 1 with *code (as a shell reports it) and *signal (0 = none), or 0 when it
 * cannot be known. */
int exitinfo_read(int pidfd, pid_t pid, unsigned long long start_time, int *code, int *signal);
#endif
