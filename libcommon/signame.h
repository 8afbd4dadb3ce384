/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SIGNAME_H
#define CRISP_SIGNAME_H
/* Signals as people and images write them. */
#include "err.h"

/* "TERM", "SIGTERM", "term", "15", "RTMIN+3", "SIGRTMAX-2"; ERR_USAGE for anything else. */
int signame_parse(const char *s, int *number, struct err *e);
#endif
