/* SPDX-License-Identifier: Apache-2.0 */
#include "http2.h"

#include "auto.h"
#include "log.h"
#include "stream.h"
#include "xalloc.h"

enum {
	WINDOW = 1 << 20,
	STREAMS_MAX = 2000, /* a thousand probes at once leave room for a list */
	HEADER_LIST_MAX = 64 << 10,
	/* Unanswered PINGs and SETTINGS that a client may have us queue before it is cut off. */
	ACKS_MAX = 1000,
	/* A client may give up calls in bursts, as a kubelet does that lost patience; one that does
	 * nothing else is an attack (rapid reset). */
	RESETS_BURST = 4000,
	RESETS_PER_SECOND = 200,
};

struct h2 {
	nghttp2_session *ng;
	struct h2_host *host;
	void *conn;
	struct h2_stream *streams;
	struct buf *out; /* only within h2_output */
	size_t enough;
	int busy; /* within h2_input, h2_output or h2_free: the caller looks for output itself */
	bool greeted, draining;
};

nghttp2_session *h2_session(const struct h2 *h)
{
	return h->ng;
}

struct h2_host *h2_host_of(const struct h2 *h)
{
	return h->host;
}

void h2_woken(struct h2 *h)
{
	if (!h->busy)
		h->host->wake(h->conn);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct h2_stream *s = stream_new(h, f->hd.stream_id);
	s->next = h->streams;
	if (s->next)
		s->next->prev = s;
	h->streams = s;
	return nghttp2_session_set_stream_user_data(ng, s->id, s) ? NGHTTP2_ERR_CALLBACK_FAILURE
								  : 0;
}

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
	return nghttp2_session_get_stream_user_data(ng, id);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct h2_stream *s = stream_of(ng, f->hd.stream_id);
	(void)flags, (void)arg;
	/* Trailers of a request mean nothing to us. */
	if (!s || f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	return stream_header(s, (const char *)name, name_len, (const char *)value, value_len)
		       ? 0
		       : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
			 size_t len, void *arg)
{
	struct h2_stream *s = stream_of(ng, id);
	(void)flags, (void)arg;
	if (s)
		stream_data(s, data, len);
	return 0;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	if (f->hd.type == NGHTTP2_SETTINGS && !(f->hd.flags & NGHTTP2_FLAG_ACK))
		h->greeted = true;
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	struct h2_stream *s = stream_of(ng, f->hd.stream_id);
	if (!s)
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		stream_headers_done(s);
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		stream_input_done(s);
	return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	(void)arg;
	if (f->hd.type != NGHTTP2_HEADERS || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	struct h2_stream *s = stream_of(ng, f->hd.stream_id);
	if (s)
		stream_answered(s);
	return 0;
}

static void forget_stream(struct h2 *h, struct h2_stream *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		h->streams = s->next;
	if (s->next)
		s->next->prev = s->prev;
	stream_free(s);
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_stream *s = stream_of(ng, id);
	(void)code;
	if (s) {
		nghttp2_session_set_stream_user_data(ng, id, NULL);
		forget_stream(arg, s);
	}
	return 0;
}

/* Frames of messages go from the message straight into the output. */
static int send_data(nghttp2_session *ng, nghttp2_frame *f, const uint8_t *head, size_t len,
		     nghttp2_data_source *src, void *arg)
{
	struct h2 *h = arg;
	struct err e;
	(void)ng, (void)f;
	if (h->out->len >= h->enough)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (buf_add(h->out, head, 9, &e) < 0 || stream_take(src->ptr, h->out, len, &e) < 0) {
		log_error("%s", e.msg);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return 0;
}

static nghttp2_session *session_new(struct h2 *h)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	nghttp2_session *ng = NULL;
	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		goto out;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_outbound_ack(opt, ACKS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(opt, RESETS_BURST, RESETS_PER_SECOND);
	if (nghttp2_session_server_new2(&ng, cb, h, opt))
		ng = NULL;
out:
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	return ng;
}

struct h2 *h2_new(struct h2_host *host, void *conn)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
	};
	struct h2 *h = xcalloc(1, sizeof *h);
	h->host = host;
	h->conn = conn;
	h->ng = session_new(h);
	if (!h->ng ||
	    nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) ||
	    nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, WINDOW)) {
		h2_free(h);
		return NULL;
	}
	return h;
}

void h2_free(struct h2 *h)
{
	if (!h)
		return;
	/* nghttp2_session_del closes no streams. Cancelling one call may make its owner answer
	 * another. */
	h->busy++;
	while (h->streams)
		forget_stream(h, h->streams);
	nghttp2_session_del(h->ng);
	free(h);
}

int h2_input(struct h2 *h, const uint8_t *data, size_t len, struct err *e)
{
	h->busy++;
	ssize_t n = nghttp2_session_mem_recv(h->ng, data, len);
	h->busy--;
	if (n < 0)
		return err_set(e, n == NGHTTP2_ERR_NOMEM ? ERR_EXHAUSTED : ERR_BAD_INPUT, "%s",
			       nghttp2_strerror((int)n));
	return 0;
}

int h2_output(struct h2 *h, struct buf *out, size_t enough, struct err *e)
{
	int r = 0;
	h->busy++;
	h->out = out;
	h->enough = enough;
	while (r == 0 && out->len < enough) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->ng, &p);
		if (n < 0)
			r = err_set(e, ERR_FAILED, "%s", nghttp2_strerror((int)n));
		else if (n == 0)
			break;
		else
			r = buf_add(out, p, (size_t)n, e);
	}
	h->out = NULL;
	h->busy--;
	return r;
}

bool h2_is_busy(const struct h2 *h)
{
	return h->busy;
}

bool h2_is_greeted(const struct h2 *h)
{
	return h->greeted;
}

bool h2_is_done(const struct h2 *h)
{
	if (nghttp2_session_want_write(h->ng))
		return false;
	return !nghttp2_session_want_read(h->ng) || (h->draining && !h->streams);
}

void h2_drain(struct h2 *h)
{
	if (h->draining)
		return;
	h->draining = true;
	nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(h->ng), NGHTTP2_NO_ERROR,
			      NULL, 0);
	for (struct h2_stream *s = h->streams; s; s = s->next)
		if (s->call && s->method->streaming)
			stream_abort(s, GRPC_UNAVAILABLE, "crispd is shutting down");
	h2_woken(h);
}

void h2_abort_calls(struct h2 *h)
{
	for (struct h2_stream *s = h->streams; s; s = s->next)
		stream_abort(s, GRPC_UNAVAILABLE, "crispd is shutting down");
}
