/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STOPSIG_H
#define CRISP_STOPSIG_H
/* The number of a signal as people and images name it: "SIGTERM", "TERM", "sigterm", "15",
 * "SIGRTMIN+3", "RTMAX-1", and the CRI's "SIGRTMINPLUS3", "SIGRTMAXMINUS1". -1 when it is none. */
int stopsig_number(const char *name);
#endif
