/* SPDX-License-Identifier: Apache-2.0 */
#include "bus.h"

#include "auto.h"
#include "event.h"
#include "index.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

enum { BATCH = 64, MESSAGE_MAX = 4096 };

struct events {
	struct crispd *d;
	int sock, feed;
	struct watch watch;
};

static void handle(struct events *ev, const char *text, size_t len)
{
	struct err e;
	AUTO_JSON json_t *j = jsonx_parse(text, len, "event", &e);
	if (!j) {
		log_warn("event bus: %s", e.msg);
		return;
	}
	/* From a subscriber that wants to know whether it hears us. */
	if (strcmp(jsonx_opt_string(j, "kind", ""), "hello") == 0) {
		events_tell(ev, json_incref(j));
		return;
	}
	log_debug("event bus: %s %s %s", jsonx_opt_string(j, "kind", "?"),
		  jsonx_opt_string(j, "id", "?"), jsonx_opt_string(j, "event", "?"));
	index_event(ev->d->index, jsonx_opt_string(j, "kind", ""), jsonx_opt_string(j, "id", ""),
		    jsonx_opt_string(j, "pod", ""));
}

/* The descriptor is nanomsg's own bell: it stays readable while there are messages. */
static void on_message(struct watch *w, uint32_t events)
{
	struct events *ev = w->arg;
	char text[MESSAGE_MAX];
	(void)events;
	for (int i = 0; i < BATCH; i++) {
		int n = nn_recv(ev->sock, text, sizeof text, NN_DONTWAIT);
		if (n < 0)
			return;
		/* The sender waits for this; what it says is on disk already. */
		(void)nn_send(ev->sock, "ok", 2, NN_DONTWAIT);
		if ((size_t)n <= sizeof text)
			handle(ev, text, (size_t)n);
	}
}

void events_tell(struct events *ev, json_t *what)
{
	AUTO_FREE char *text = what ? json_dumps(what, JSON_COMPACT) : NULL;
	json_decref(what);
	if (text && ev)
		(void)nn_send(ev->feed, text, strlen(text), NN_DONTWAIT);
}

static int open_feed(struct events *ev, struct err *e)
{
	char address[256];
	if (!event_feed_address(ev->d->cfg.runroot, address, sizeof address))
		return err_set(e, ERR_BAD_INPUT, "runroot %s is too long for a socket",
			       ev->d->cfg.runroot);
	ev->feed = nn_socket(AF_SP, NN_PUB);
	if (ev->feed < 0 || nn_bind(ev->feed, address) < 0)
		return err_set(e, ERR_FAILED, "event feed %s: %s", address,
			       nn_strerror(nn_errno()));
	return 0;
}

static int listen_at(struct events *ev, const char *address, struct err *e)
{
	int bell, max = MESSAGE_MAX;
	size_t size = sizeof bell;
	ev->sock = nn_socket(AF_SP, NN_REP);
	if (ev->sock < 0)
		return err_set(e, ERR_FAILED, "event bus: %s", nn_strerror(nn_errno()));
	nn_setsockopt(ev->sock, NN_SOL_SOCKET, NN_RCVMAXSIZE, &max, sizeof max);
	if (nn_bind(ev->sock, address) < 0)
		return err_set(e, ERR_FAILED, "event bus %s: %s", address, nn_strerror(nn_errno()));
	if (nn_getsockopt(ev->sock, NN_SOL_SOCKET, NN_RCVFD, &bell, &size) < 0)
		return err_set(e, ERR_FAILED, "event bus: %s", nn_strerror(nn_errno()));
	return loop_add(ev->d->loop, &ev->watch, bell, EPOLLIN, on_message, ev, e);
}

struct events *events_open(struct crispd *d, struct err *e)
{
	char address[256];
	if (!event_address(d->cfg.runroot, address, sizeof address))
		return err_set_p(e, ERR_BAD_INPUT, "runroot %s is too long for a socket",
				 d->cfg.runroot);
	struct events *ev = xcalloc(1, sizeof *ev);
	ev->d = d;
	ev->sock = ev->feed = -1;
	ev->watch = WATCH_NONE;
	if (listen_at(ev, address, e) == 0 && open_feed(ev, e) == 0)
		return ev;
	events_close(ev);
	return NULL;
}

void events_close(struct events *ev)
{
	if (!ev)
		return;
	loop_del(ev->d->loop, &ev->watch);
	if (ev->sock >= 0)
		nn_close(ev->sock);
	if (ev->feed >= 0)
		nn_close(ev->feed);
	free(ev);
}
