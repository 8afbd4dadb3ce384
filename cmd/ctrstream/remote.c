/* SPDX-License-Identifier: Apache-2.0 */
#include "remote.h"

#include "auto.h"
#include "flatjson.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

enum { READ_SIZE = 64 << 10, RESIZE_MAX = 4096, END_OF_FILE = 4 };

static uint8_t chunk[READ_SIZE];

/* ---- from the process to the client */

static void pump_close(struct pump *p)
{
	struct remote *r = p->r;
	if (p->fd < 0)
		return;
	loop_del(r->loop, &p->watch);
	close(TAKE_FD(p->fd));
	if (r->chan[p->kind])
		chan_end(r->chan[p->kind]);
}

static void check_outputs(struct remote *r)
{
	if (remote_outputs_open(r) || r->outputs_told)
		return;
	r->outputs_told = true;
	r->ops->outputs_ended(r);
}

static void pump_update(struct pump *p);

/* One read, of what can be sent. */
static void pump_run(struct pump *p)
{
	struct chan *c = p->r->chan[p->kind];
	/* What nobody wants, or wants no more, is read all the same. */
	bool drop = !p->wanted || (c && c->out_ended);
	size_t room = drop ? READ_SIZE : c ? chan_room(c) : 0;
	if (room > READ_SIZE)
		room = READ_SIZE;
	if (room) {
		ssize_t n = read(p->fd, chunk, room);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			pump_close(p);
		else if (n > 0 && !drop)
			chan_write(c, chunk, (size_t)n);
		if (n > 0)
			p->owed -= (size_t)n < p->owed ? (size_t)n : p->owed;
	}
	pump_update(p);
}

static void on_output(struct watch *w, uint32_t events)
{
	struct pump *p = w->arg;
	struct remote *r = p->r;
	(void)events;
	pump_run(p);
	check_outputs(r);
}

/* In the loop only while something can be done: a hang-up cannot be masked. */
static void pump_update(struct pump *p)
{
	struct remote *r = p->r;
	struct chan *c = r->chan[p->kind];
	struct err e;
	if (p->fd < 0)
		return;
	bool go = !p->wanted || (c && (c->out_ended || chan_room(c) > 0));
	if (!go)
		loop_del(r->loop, &p->watch);
	else if (p->watch.fd < 0 &&
		 loop_add(r->loop, &p->watch, p->fd, EPOLLIN, on_output, p, &e) < 0)
		pump_close(p);
}

bool remote_outputs_open(const struct remote *r)
{
	return r->out[0].fd >= 0 || r->out[1].fd >= 0;
}

void remote_owe_outputs(struct remote *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++) {
		int n = 0;
		if (r->out[i].fd >= 0 && ioctl(r->out[i].fd, FIONREAD, &n) == 0 && n > 0)
			r->out[i].owed = (size_t)n;
	}
}

void remote_cut_outputs(struct remote *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		if (!r->out[i].owed)
			pump_close(&r->out[i]);
	check_outputs(r);
}

/* ---- from the client to the process */

void remote_close_stdin(struct remote *r)
{
	if (r->in < 0)
		return;
	loop_del(r->loop, &r->in_watch);
	close(TAKE_FD(r->in));
}

static void stdin_run(struct remote *r);

static void on_stdin_room(struct watch *w, uint32_t events)
{
	(void)events;
	stdin_run(w->arg);
}

static void stdin_end(struct remote *r)
{
	char eof = END_OF_FILE;
	/* A terminal has no half to close. */
	if (r->ends_terminal && write(r->in, &eof, 1) < 0)
		log_debug("terminal: %s", strerrordesc_np(errno));
	remote_close_stdin(r);
	r->ops->stdin_ended(r);
}

static void stdin_run(struct remote *r)
{
	struct chan *c = r->chan[CHAN_STDIN];
	struct err e;
	if (!c)
		return;
	if (r->in < 0) {
		/* Nobody is there to read it, unless the process is yet to come. */
		if (r->attached)
			chan_consume(c, c->in.len);
		return;
	}
	while (c->in.len) {
		ssize_t n = write(r->in, c->in.data, c->in.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (r->in_watch.fd < 0)
				loop_add(r->loop, &r->in_watch, r->in, EPOLLOUT, on_stdin_room, r,
					 &e);
			return;
		}
		if (n < 0) {
			chan_consume(c, c->in.len);
			remote_close_stdin(r);
			return;
		}
		chan_consume(c, (size_t)n);
	}
	loop_del(r->loop, &r->in_watch);
	if (c->in_ended)
		stdin_end(r);
}

/* JSON objects one after the other: {"Width":80,"Height":24}. */
static void resize_run(struct remote *r, struct chan *c)
{
	const char *end;
	while (c->in.len && (end = memchr(c->in.data, '}', c->in.len))) {
		size_t n = (size_t)(end - c->in.data) + 1;
		int64_t width = 0, height = 0;
		if (flatjson_int(c->in.data, n, "Width", &width) &&
		    flatjson_int(c->in.data, n, "Height", &height) && width > 0 && height > 0 &&
		    width < 65536 && height < 65536)
			r->ops->resize(r, (unsigned)width, (unsigned)height);
		chan_consume(c, n);
	}
	if (c->in.len > RESIZE_MAX)
		chan_consume(c, c->in.len);
}

/* ---- the link's calls */

static bool complete(const struct remote *r)
{
	bool all = r->chan[CHAN_ERROR];
	for (int k = CHAN_STDIN; k <= CHAN_STDERR; k++)
		all = all && (!r->wanted[k] || r->chan[k]);
	return all;
}

static void on_creation(struct timer *t);

static int on_open(void *arg, struct chan *c)
{
	struct remote *r = arg;
	if (c->kind == CHAN_DATA || r->chan[c->kind] || r->finished)
		return -1;
	/* One that was not asked for is a client's mistake that does no harm, except stdin. */
	if (!r->wanted[c->kind] && c->kind != CHAN_ERROR && c->kind != CHAN_RESIZE &&
	    r->link.up.wire != WIRE_WS_CHANNELS)
		return -1;
	r->chan[c->kind] = c;
	if (complete(r)) {
		loop_timer_cancel(r->loop, &r->creation);
		/* Not from here: the stream has to be answered first. */
		if (r->pending)
			loop_timer(r->loop, &r->creation, 0, on_creation, r);
	}
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		if (r->out[i].kind == c->kind)
			pump_update(&r->out[i]);
	return 0;
}

static void on_input(void *arg, struct chan *c)
{
	struct remote *r = arg;
	if (r->finished)
		chan_consume(c, c->in.len);
	else if (c->kind == CHAN_STDIN && r->wanted[CHAN_STDIN])
		stdin_run(r);
	else if (c->kind == CHAN_RESIZE)
		resize_run(r, c);
	else
		chan_consume(c, c->in.len);
}

static void on_room(void *arg)
{
	struct remote *r = arg;
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		pump_update(&r->out[i]);
}

static void on_gone(void *arg)
{
	struct remote *r = arg;
	if (r->finished) {
		loop_stop(r->loop);
		return;
	}
	r->finished = r->hung_up = true;
	remote_close_stdin(r);
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		if (r->out[i].fd >= 0) {
			loop_del(r->loop, &r->out[i].watch);
			close(TAKE_FD(r->out[i].fd));
		}
	r->ops->hung_up(r);
}

static const struct link_events link_events = {on_open, on_input, on_room, on_gone};

static void end_with(struct remote *r, const char *text);

static void on_creation(struct timer *t)
{
	struct remote *r = t->arg;
	struct err e;
	r->expired = true;
	if (r->pending) {
		end_with(r, r->pending);
		return;
	}
	err_set(&e, ERR_TIMEOUT, "the client has not opened its streams within %d s",
		(int)(r->creation_ms / 1000));
	remote_failure(r, &e);
}

int remote_open(struct remote *r, const struct client *client, enum work work,
		const struct stream_flags *f, const struct remote_ops *ops, void *arg,
		struct err *e)
{
	*r = (struct remote){.loop = client->loop,
			     .creation_ms = client->creation_ms,
			     .ops = ops,
			     .arg = arg,
			     .tty = f->tty,
			     .in = -1};
	r->in_watch = WATCH_NONE;
	r->wanted[CHAN_STDIN] = f->in;
	r->wanted[CHAN_STDOUT] = f->out;
	r->wanted[CHAN_STDERR] = f->err;
	for (int i = 0; i < 2; i++)
		r->out[i] = (struct pump){.r = r,
					  .kind = i ? CHAN_STDERR : CHAN_STDOUT,
					  .watch = WATCH_NONE,
					  .fd = -1,
					  .wanted = i ? f->err : f->out};
	loop_timer(r->loop, &r->creation, r->creation_ms, on_creation, r);
	if (link_open(&r->link, client, work, &link_events, r, e) < 0)
		return -1;
	link_channels(&r->link);
	return 0;
}

void remote_attach(struct remote *r, int in, int out, int err)
{
	r->attached = true;
	r->in = in;
	r->out[0].fd = out;
	r->out[1].fd = err;
	if (r->finished)
		return;
	pump_update(&r->out[0]);
	pump_update(&r->out[1]);
	stdin_run(r);
}

/* ---- the end */

static void end_with(struct remote *r, const char *text)
{
	struct chan *error = r->chan[CHAN_ERROR];
	if (r->finished)
		return;
	if (!complete(r) && !r->expired) {
		/* The client is still opening its streams; it is told when it can listen. */
		free(r->pending);
		r->pending = xstrdup(text ? text : "");
		return;
	}
	loop_timer_cancel(r->loop, &r->creation);
	remote_close_stdin(r);
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		pump_close(&r->out[i]);
	if (error && text && *text)
		chan_write(error, text, strlen(text));
	r->finished = true;
	for (int k = 0; k < CHAN_KINDS; k++)
		if (r->chan[k])
			chan_end(r->chan[k]);
	link_finish(&r->link);
	if (r->link.over)
		loop_stop(r->loop);
}

static void end_status(struct remote *r, json_t *status, const char *plain)
{
	AUTO_JSON json_t *own = status;
	AUTO_FREE char *text = own ? json_dumps(own, JSON_COMPACT) : NULL;
	/* Before version 4 the error channel carried plain text, and nothing meant success. */
	end_with(r, r->link.up.version >= 4 ? text : plain);
}

void remote_success(struct remote *r)
{
	end_status(r, json_pack("{s:{}, s:s}", "metadata", "status", "Success"), NULL);
}

void remote_exit_code(struct remote *r, int code)
{
	if (code == 0) {
		remote_success(r);
		return;
	}
	AUTO_FREE char *number = xasprintf("%d", code);
	AUTO_FREE char *text =
		xasprintf("command terminated with non-zero exit code: exit code %d", code);
	end_status(r,
		   json_pack("{s:{}, s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "metadata", "status",
			     "Failure", "message", text, "reason", "NonZeroExitCode", "details",
			     "causes", "reason", "ExitCode", "message", number),
		   text);
}

void remote_failure(struct remote *r, const struct err *why)
{
	AUTO_FREE char *text = xasprintf("Internal error occurred: %s", why->msg);
	end_status(r,
		   json_pack("{s:{}, s:s, s:s, s:s, s:{s:[{s:s}]}, s:i}", "metadata", "status",
			     "Failure", "message", text, "reason", "InternalError", "details",
			     "causes", "message", why->msg, "code", 500),
		   why->msg);
}

void remote_release(struct remote *r)
{
	loop_timer_cancel(r->loop, &r->creation);
	remote_close_stdin(r);
	for (size_t i = 0; i < ARRAY_LEN(r->out); i++)
		if (r->out[i].fd >= 0) {
			loop_del(r->loop, &r->out[i].watch);
			close(TAKE_FD(r->out[i].fd));
		}
	link_release(&r->link);
	free(r->pending);
}
