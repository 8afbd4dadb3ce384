/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRICALL_CLIENT_H
#define CRICALL_CLIENT_H
/* One gRPC call over a Unix socket: a connection of its own, one HTTP/2 stream, no TLS. The client
 * blocks; a deadline, SIGINT and SIGTERM end it at any point. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client_call {
	const char *path; /* "/runtime.v1.RuntimeService/Version" */
	const uint8_t *request;
	size_t request_len;
	size_t max_message; /* larger answers are refused */
	long long due_ms;   /* on the monotonic clock (proc_now_ms), -1 = no deadline */
	bool streaming;
	/* For each message as it comes; the message of a unary call only once its status is known
	 * to be OK. -1 ends the call with that error. */
	int (*on_message)(void *arg, const uint8_t *data, size_t len, struct err *e);
	void *arg;
	int *code; /* NULL, or where the gRPC code goes, -1 when a signal ended the call */
};

/* A path, also as unix://PATH or unix:PATH. A socket that is absent or has nobody behind it is
 * ERR_UNAVAILABLE. */
int client_connect(const char *socket, long long due_ms, struct err *e);
/* 0, or -1: the error's text begins with the name of the gRPC code. SIGINT, SIGTERM, or nobody
 * reading standard output any more end a stream with 0 and a unary call with ERR_CANCELLED. */
int client_run(int fd, const struct client_call *call, struct err *e);
#endif
