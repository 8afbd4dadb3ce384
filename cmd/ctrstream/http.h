/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_HTTP_H
#define CTRSTREAM_HTTP_H
/* The upgrade request and its answer. Pure: no I/O. */
#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>

enum work { WORK_EXEC, WORK_ATTACH, WORK_PORTFORWARD };

/* What is spoken after the answer. */
enum wire {
	WIRE_SPDY,        /* SPDY/3.1 */
	WIRE_WS_CHANNELS, /* WebSocket messages that begin with a channel's number */
	WIRE_WS_SPDY,     /* SPDY/3.1 inside binary WebSocket messages */
};

struct upgrade {
	enum wire wire;
	int version;          /* of the channel protocol, 1 to 5; 0 for port-forward */
	bool base64;          /* channels carry text */
	const char *protocol; /* as it is answered; NULL = the client named none */
	bool is_ws;
	char ws_key[32];
};

enum { HTTP_HEADERS_MAX = 100 };

/* `head` ends with the empty line; it is taken apart in place. 0, or -1: *answer is then what the
 * client is told (a whole response), and *e why. */
int http_upgrade(char *head, size_t len, enum work work, struct upgrade *u, struct buf *answer,
		 struct err *e);
/* The 101 response. */
int http_accept(const struct upgrade *u, struct buf *answer, struct err *e);
#endif
