/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_HEADS_H
#define CRISP_HEADS_H
/* A TCP listener for requests of HTTP/1 that need no body: each connection's head is read, within
 * bounds of size and time, and given to its owner, who hands the socket on or answers. One request
 * a connection. */
#include "err.h"
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>

struct heads;
struct head;

/* what: for messages ("streaming"). on_head must end with one of the head_* calls below. */
struct heads *heads_new(struct loop *l, const char *what,
			void (*on_head)(struct head *h, void *arg), void *arg);
/* An address, not a name: nothing may be asked of a name server here. Port "0": any. */
int heads_listen(struct heads *s, const char *address, const char *port, struct err *e);
/* Each connection speaks TLS: `wrap` starts somebody who does, with the socket that was accepted and
 * one end of a pair, on whose other end the request is then read. Both stay the caller's. */
void heads_wrap(struct heads *s, int (*wrap)(int fd, int plain, void *arg, struct err *e));
/* At a path, for root alone; what a dead daemon left there is replaced, so the caller must know that
 * no other lives. */
int heads_listen_at(struct heads *s, int dir, const char *path, struct err *e);
/* "http://127.0.0.1:41234", with heads_wrap "https://…"; "" when it does not listen on an address. */
const char *heads_base(const struct heads *s);
void heads_free(struct heads *s); /* with the connections that are not handed on */

/* The bytes read so far, NUL-terminated: the head, and what came behind it. */
const char *head_data(const struct head *h, size_t *len);
int head_fd(const struct head *h);
/* Is it a GET of exactly this path, whatever query follows? */
bool head_asks(const struct head *h, const char *path);
/* Another process has the socket now. */
void head_done(struct head *h);
/* status: "404 Not Found"; type: "text/plain". The body is copied. */
void head_answer(struct head *h, const char *status, const char *type, const char *body);
#endif
