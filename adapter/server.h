/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SERVER_H
#define CRISP_SERVER_H
/* The CRI socket and its connections. Bytes go to and come from http2.h.
 *
 * The socket is <runroot>/crisp.sock unless the configuration's `listen` names another path
 * ("unix://" before it is allowed). It is bound under a temporary name and renamed, so that clients
 * see the old one or the new one, and never a moment without; one that a dead daemon left is
 * replaced, one that somebody answers on is refused. With LISTEN_FDS the socket handed over is used
 * as it is. */
#include "crispd.h"

struct server;

/* Listens on d->cfg.listen; d->loop must exist. */
struct server *server_new(struct crispd *d, struct err *e);
/* Send the answers that wait for the loop's next turn now. Nothing that has come is read. */
void server_push(struct server *s);
/* No new connections; GOAWAY on those there are; streams are ended. done() is called once, from the
 * loop, when every call has been answered or grace_ms have passed. Asking again changes nothing. */
void server_drain(struct server *s, long long grace_ms, void (*done)(void *arg), void *arg);
/* Closes what is open; calls under way are cancelled. The socket's path is removed unless it was
 * handed to us. */
void server_free(struct server *s);
#endif
