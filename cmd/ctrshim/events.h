/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSHIM_EVENTS_H
#define CTRSHIM_EVENTS_H
/* Where a shim sends its events: a ttrpc server. Ends of containers are learnt by Wait; of events only the OOM kills matter, which nobody else tells when the container is
 * in a virtual machine. Events of other containers of the same shim come here as well. A server that
 * does not answer would hold the shim up, so all are answered.
 *
 * The stand-ins of commands in the container call, too: Guard, with the command's id. When one is
 * killed, which closes its connection before it has said Done, its command is ended by the
 * container's: nobody else could end one that the caller never heard of. */
#include "loop.h"
#include "shim.h"

enum { EVENT_CLIENTS = 128, EVENT_OUT_MAX = 1 << 16 };

struct event_server;
struct event_client {
	struct watch watch;
	struct ttrpc_deframer in;
	struct event_server *s;
	char guards[40]; /* the id of a command, "" = none */
};
struct event_server {
	struct loop *loop;
	struct watch listen;
	void (*end_command)(void *arg, const char *exec);
	void *arg;
	struct event_client client[EVENT_CLIENTS];
	struct watch log; /* the FIFO that the shim logs to */
	int log_to;
	size_t logged;
};

/* Listens at a path that becomes the record's `events`, and takes the log from p->dir. */
int events_open(struct event_server *s, struct loop *l, struct place *p, struct err *e);
void events_close(struct event_server *s);
/* For a command's stand-in: a connection that is to be held until the command is over, and the word
 * that it is. Without it the command runs all the same. */
void events_guard(struct ttrpc *t, const struct place *p, const char *exec);
void events_done(struct ttrpc *t);
#endif
