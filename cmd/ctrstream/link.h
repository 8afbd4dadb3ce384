/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_LINK_H
#define CTRSTREAM_LINK_H
/* The connection to the client, whatever is spoken on it, as a set of channels: a channel is a SPDY
 * stream or a numbered WebSocket channel. Exec, attach and port-forward see channels only.
 *
 * Nothing grows without bound. What the client sends is kept in the channel until its owner takes
 * it; a client that sends on without regard to the window is not read from when a channel holds
 * CHAN_IN_MAX. What goes to the client is taken only while there is room (chan_room), and `room` is
 * called when there is again. */
#include "buf.h"
#include "http.h"
#include "loop.h"
#include "spdy.h"
#include "ws.h"

#include <stdbool.h>
#include <stdint.h>

enum chan_kind {
	CHAN_ERROR,
	CHAN_STDIN,
	CHAN_STDOUT,
	CHAN_STDERR,
	CHAN_RESIZE,
	CHAN_DATA, /* of a forwarded port */
	CHAN_KINDS
};

enum {
	CHAN_IN_MAX = 1 << 20,
	LINK_IN_MAX = 16 << 20,
	LINK_OUT_HIGH = 256 << 10,
	CHANS_MAX = 4096,
};

struct chan {
	struct chan *next;
	struct link *link;
	uint32_t id;
	enum chan_kind kind;
	unsigned port;
	char request[24]; /* which pair it belongs to (port-forward) */
	struct buf in;    /* from the client, not yet taken */
	bool in_ended;    /* the client sends no more */
	bool out_ended;   /* we send no more */
	bool reset;       /* the client wants nothing to do with it any more */
	void *owner;
	int64_t window; /* what may be sent, when the client counts */
	size_t taken;   /* not yet told by WINDOW_UPDATE */
};

/* As it was handed over. */
struct client {
	struct loop *loop;
	int fd;
	char *head; /* the bytes read from it so far; terminated */
	size_t head_len;
	long long idle_ms;     /* without a byte either way; 0 = for ever */
	long long creation_ms; /* for opening its streams */
};

struct link_events {
	/* A channel was opened; -1 = refused. */
	int (*open)(void *arg, struct chan *c);
	/* `in` has grown, in_ended or reset was set. */
	void (*input)(void *arg, struct chan *c);
	/* More can be sent. */
	void (*room)(void *arg);
	/* The client is gone, or everything was sent after link_finish. Once, and last. */
	void (*gone)(void *arg);
};

struct link {
	struct loop *loop;
	const struct link_events *ev;
	void *arg;
	struct upgrade up;
	enum work work;
	struct watch sock;
	struct timer flush, clock;
	struct buf out, plain; /* plain: SPDY frames on their way into WebSocket messages */
	struct spdy spdy;
	struct ws ws;
	struct chan *chans;
	size_t n_chans;
	size_t in_total, n_full; /* over all channels; channels that hold too much */
	bool counts;             /* the client does flow control */
	int64_t window, initial_window;
	size_t taken;
	bool waiting_for_room, finishing, over;
	/* The WebSocket message that is coming in. */
	struct chan *ws_chan;
	struct buf ws_text;
	bool ws_begun, ws_closing;
	bool failed; /* what came in a message breaks the protocol: why */
	struct err why;
	long long last_ms; /* something came or went */
	long long idle_ms;
};

/* Answer the request (its head is taken apart in place) on the socket and begin. With an error the
 * client has been told. */
int link_open(struct link *l, const struct client *client, enum work work,
	      const struct link_events *ev, void *arg, struct err *e);
/* Instead of link_open: what is asked for cannot be had. */
void link_refuse(int fd, const struct err *why);
/* WebSocket channels are not opened by the client: they are all there. `open` is called for each;
 * nothing happens with another protocol. */
void link_channels(struct link *l);
int link_ports(struct link *l, const unsigned *ports, size_t n);
/* All was said: send what is left, then `gone`. */
void link_finish(struct link *l);
void link_release(struct link *l);

/* How many bytes chan_write takes now. */
size_t chan_room(struct chan *c);
void chan_write(struct chan *c, const void *data, size_t len);
void chan_end(struct chan *c);
/* Break it off: the client sees an error on this channel alone. */
void chan_break(struct chan *c);
/* The first n bytes of `in` are done with. */
void chan_consume(struct chan *c, size_t n);
/* Its owner has no more use for it; what still comes is dropped. */
void chan_release(struct chan *c);
#endif
