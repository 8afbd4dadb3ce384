/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_ANSWER_H
#define CRISP_ANSWER_H
/* What a run of a tool tells whoever started it, as one message of a SOCK_SEQPACKET socket: which run it was, one line
 * of JSON, and bytes, as much as there are. Of the message that is
 *
 *	ID NUL LINE NUL BYTES
 *
 * and where that would be more than ANSWER_MAX, the bytes are in an anonymous file, sealed, whose descriptor comes
 * with the message. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

enum { ANSWER_MAX = 64 << 10, ANSWER_PARTS = 2 };

/* The parts of the bytes one after the other. Waits while the socket is full. */
int answer_send(int fd, const char *id, const char *line, const struct iovec body[ANSWER_PARTS],
		struct err *e);

struct answer {
	const char *id, *line, *body; /* inside of what follows */
	size_t line_len, body_len;
	bool torn; /* there is a file and we cannot have it, as with too many descriptors: no bytes */
	void *map; /* of the file, or NULL */
	char room[ANSWER_MAX];
};

/* Does not wait. 1 and it is there until answer_release, 0 nothing yet, -1 no more will come. A message that is no
 * answer is left out. */
int answer_receive(int fd, struct answer *a);
void answer_release(struct answer *a);
#endif
