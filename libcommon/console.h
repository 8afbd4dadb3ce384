/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CONSOLE_H
#define CRISP_CONSOLE_H
/* The socket through which an OCI runtime hands over the master of a terminal that it made
 * (--console-socket). The socket lives in a directory of ours and is named to the runtime by our
 * own descriptor, /proc/PID/fd/N/NAME: a state directory's path may be too long for a socket. */
#include "err.h"

#include <stddef.h>

/* A listening, non-blocking socket dirfd/name; what was there is replaced. */
int console_listen(int dirfd, const char *name, struct err *e);
/* The path for the runtime's command line; size 64 is enough for names up to 24 bytes. */
void console_path(int dirfd, const char *name, char *out, size_t size);
/* Accept the one connection that waits and take the master (non-blocking) from it. */
int console_receive(int listening, struct err *e);
#endif
