/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_INIT_H
#define PODNET_INIT_H
/* The pod's first process (podinit) when it shares a PID namespace; <run>/init.json names it by pid
 * and start time. */
#include "podnet.h"

#include <sys/types.h>

/* Path of the program, to be freed; NULL when it is not installed. */
char *init_program(const struct config *cfg);
/* Its namespace helper started it and holds it at the other end of `sock`: wait until it is ready,
 * write it down, let it go on. */
int init_adopt(const struct pod *p, pid_t pid, int sock, struct err *e);
/* 1 alive, 0 dead, -1 the pod has none. */
int init_alive(const struct pod *p);
/* End it, and every process of its namespace. None is success. */
int init_kill(const struct pod *p, struct err *e);
#endif
