/* SPDX-License-Identifier: Apache-2.0 */
#include "ws.h"

#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct ws *w = arg;
	size_t n = len < w->in_len ? len : w->in_len;
	(void)flags;
	if (!n) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, w->in, n);
	w->in += n;
	w->in_len -= n;
	return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
		       void *arg)
{
	struct ws *w = arg;
	struct err ignored;
	(void)flags;
	if (buf_add(w->out, data, len, &ignored) == 0)
		return (ssize_t)len;
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void on_frame(wslay_event_context_ptr ctx,
		     const struct wslay_event_on_frame_recv_start_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	w->control = wslay_is_ctrl_frame(a->opcode);
	if (w->control)
		return;
	w->fin = a->fin;
	if (a->opcode != WSLAY_CONTINUATION_FRAME)
		w->ev->begin(w->arg, a->opcode == WSLAY_TEXT_FRAME);
}

static void on_chunk(wslay_event_context_ptr ctx,
		     const struct wslay_event_on_frame_recv_chunk_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	if (!w->control && a->data_length)
		w->ev->chunk(w->arg, a->data, a->data_length);
}

static void on_frame_end(wslay_event_context_ptr ctx, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	if (!w->control && w->fin)
		w->ev->end(w->arg);
}

void ws_init(struct ws *w, const struct ws_events *ev, void *arg, struct buf *out)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_frame_recv_start_callback = on_frame,
		.on_frame_recv_chunk_callback = on_chunk,
		.on_frame_recv_end_callback = on_frame_end,
	};
	*w = (struct ws){.ev = ev, .arg = arg, .out = out};
	if (wslay_event_context_server_init(&w->ctx, &callbacks, w) != 0)
		abort(); /* out of memory, as in xalloc.c */
	wslay_event_config_set_no_buffering(w->ctx, 1);
	/* The largest that there is: nothing is kept. */
	wslay_event_config_set_max_recv_msg_length(w->ctx, (uint64_t)1 << 62);
}

void ws_release(struct ws *w)
{
	if (w->ctx)
		wslay_event_context_free(w->ctx);
	w->ctx = NULL;
}

static int flush(struct ws *w, struct err *e)
{
	return wslay_event_send(w->ctx) == 0 ? 0
					     : err_set(e, ERR_EXHAUSTED, "WebSocket: cannot send");
}

int ws_feed(struct ws *w, const uint8_t *data, size_t len, struct err *e)
{
	w->in = data;
	w->in_len = len;
	int r = wslay_event_recv(w->ctx);
	w->closed = w->closed || wslay_event_get_close_received(w->ctx);
	/* It has queued the reason for the client already. */
	bool broken = r != 0 || (!w->closed && !wslay_event_get_read_enabled(w->ctx));
	if (flush(w, e) < 0)
		return -1;
	return broken ? err_set(e, ERR_BAD_INPUT, "WebSocket: the client breaks the protocol") : 0;
}

int ws_send(struct ws *w, bool text, const void *data, size_t len, struct err *e)
{
	const struct wslay_event_msg m = {.opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
					  .msg = data,
					  .msg_length = len};
	if (wslay_event_queue_msg(w->ctx, &m) != 0)
		return err_set(e, ERR_CANCELLED, "WebSocket: closed");
	return flush(w, e);
}

int ws_close(struct ws *w, struct err *e)
{
	wslay_event_queue_close(w->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
	return flush(w, e);
}
