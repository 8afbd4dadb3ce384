/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_LISTEN_H
#define CRISP_LISTEN_H
/* The listening socket of server.h: made, handed over by systemd, or refused; and the one at its
 * path removed. */
#include "err.h"

#include <stdbool.h>
#include <sys/types.h>

struct listener {
	int fd;     /* non-blocking; -1 = none */
	char *path; /* NULL when it was handed over */
	dev_t dev;  /* the socket file that is ours */
	ino_t ino;
};
#define LISTENER_NONE ((struct listener){.fd = -1})

/* address: a path, "unix://" before it is allowed. */
int listener_open(struct listener *l, const char *address, struct err *e);
/* Closes; the file goes too if it is still ours. */
void listener_close(struct listener *l);
#endif
