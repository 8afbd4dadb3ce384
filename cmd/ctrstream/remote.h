/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_REMOTE_H
#define CTRSTREAM_REMOTE_H
/* What exec and attach have in common: descriptors of a process on one side, the channels error,
 * stdin, stdout, stderr and resize on the other, and the pumps between them. A pump reads only what
 * the other side can take, so whoever is slow slows down this session and nothing else. */
#include "link.h"
#include "tool.h"

#include <stdbool.h>

struct remote;

struct remote_ops {
	void (*resize)(struct remote *r, unsigned width, unsigned height);
	/* The client has closed its stdin, and everything of it has been written. */
	void (*stdin_ended)(struct remote *r);
	void (*outputs_ended)(struct remote *r);
	/* The client has gone away by itself. */
	void (*hung_up)(struct remote *r);
};

struct pump {
	struct remote *r;
	enum chan_kind kind;
	struct watch watch;
	int fd; /* -1 = none, or it has ended */
	bool wanted;
	size_t owed; /* bytes that the client must still get */
};

struct remote {
	struct loop *loop;
	struct link link;
	const struct remote_ops *ops;
	void *arg;
	struct chan *chan[CHAN_KINDS];
	bool tty, wanted[CHAN_KINDS];
	struct pump out[2];
	int in; /* -1 = there is none, or it has ended */
	struct watch in_watch;
	bool ends_terminal; /* tty: the client's end of input is typed as an end-of-file character
			     */
	bool attached;      /* remote_attach was called */
	bool outputs_told, finished, hung_up;
	struct timer creation; /* the client must open its streams */
	long long creation_ms;
	bool expired;
	char *pending; /* how it ended, while the client cannot be told yet */
};

/* The flags of the command line. */
struct stream_flags {
	bool tty, in, out, err;
};

/* Takes the socket over. */
int remote_open(struct remote *r, const struct client *client, enum work work,
		const struct stream_flags *f, const struct remote_ops *ops, void *arg,
		struct err *e);
/* The process's ends, non-blocking, owned by r from now on; -1 = there is none. */
void remote_attach(struct remote *r, int in, int out, int err);
/* Nothing is written to the process any more. */
void remote_close_stdin(struct remote *r);
/* The process has ended: what its outputs hold now is its last word… */
void remote_owe_outputs(struct remote *r);
/* …and an output of which the client has that is closed, whoever else may hold it. */
void remote_cut_outputs(struct remote *r);
bool remote_outputs_open(const struct remote *r);
/* Say how it ended, and hang up; the loop stops when that has been sent. */
void remote_success(struct remote *r);
void remote_exit_code(struct remote *r, int code);
void remote_failure(struct remote *r, const struct err *why);
void remote_release(struct remote *r);
#endif
