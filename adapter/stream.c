/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include "auto.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum {
	HEADER_BYTES_MAX = 64 << 10,
	STATUS_TEXT_MAX =
		4096, /* of grpc-message; clients limit their header lists to 8 KiB and up */
	LINGER_MS = 500,
	QUOTE_MAX = 120, /* of what a client sent, in messages */
};

struct h2_stream *stream_new(struct h2 *h, int32_t id)
{
	struct h2_stream *s = xcalloc(1, sizeof *s);
	s->conn = h;
	s->id = id;
	s->tail = &s->head;
	grpc_deframer_init(&s->in, (size_t)h2_host_of(h)->daemon->cfg.grpc_max_recv_msg_size);
	return s;
}

static void drop_input(struct h2_stream *s)
{
	h2_host_of(s->conn)->in_bytes -= s->in.msg.len;
	grpc_deframer_release(&s->in);
	s->in_over = true;
}

/* Messages that are not begun. */
static void drop_queue(struct h2_stream *s)
{
	struct h2_msg **at = s->head_off || s->promised ? &s->head->next : &s->head;
	for (struct h2_msg *m; (m = *at);) {
		*at = m->next;
		s->queued -= m->len;
		free(m);
	}
	s->tail = at;
}

void stream_free(struct h2_stream *s)
{
	loop_timer_cancel(h2_host_of(s->conn)->daemon->loop, &s->deadline);
	if (s->call)
		call_gone(s->call, GRPC_CANCELLED);
	drop_input(s);
	s->head_off = s->promised = 0;
	drop_queue(s);
	free(s->path);
	free(s->content_type);
	free(s->encoding);
	free(s->text);
	free(s);
}

static const struct call_method *find_method(const char *path, size_t len)
{
	for (const struct call_method *m = call_methods; m->path; m++)
		if (strlen(m->path) == len && memcmp(m->path, path, len) == 0)
			return m;
	return NULL;
}

static bool is(const char *want, const char *s, size_t len)
{
	return strlen(want) == len && memcmp(want, s, len) == 0;
}

static char *quote(const char *s, size_t len)
{
	return xstrndup(s, len < QUOTE_MAX ? len : QUOTE_MAX);
}

/* "application/grpc", "application/grpc+proto", either with parameters. */
static bool is_grpc_type(const char *s, size_t len)
{
	static const char base[] = "application/grpc";
	size_t n = sizeof base - 1;
	if (len < n || memcmp(s, base, n) != 0)
		return false;
	s += n;
	len -= n;
	if (len >= 6 && memcmp(s, "+proto", 6) == 0) {
		s += 6;
		len -= 6;
	}
	return len == 0 || *s == ';';
}

static void on_deadline(struct timer *t)
{
	stream_abort(t->arg, GRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
}

static void set_timeout(struct h2_stream *s, const char *value, size_t len)
{
	AUTO_FREE char *v = xstrndup(value, len);
	long long ms;
	if (!grpc_timeout_parse(v, &ms)) {
		s->bad_timeout = true;
		return;
	}
	s->deadline_ms = proc_now_ms() + ms;
	loop_timer(h2_host_of(s->conn)->daemon->loop, &s->deadline, ms, on_deadline, s);
}

bool stream_header(struct h2_stream *s, const char *name, size_t name_len, const char *value,
		   size_t value_len)
{
	s->header_bytes += name_len + value_len + 32; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
	if (s->header_bytes > HEADER_BYTES_MAX)
		return false;
	if (is(":path", name, name_len)) {
		s->method = find_method(value, value_len);
		if (!s->method && !s->path)
			s->path = quote(value, value_len);
	} else if (is(":method", name, name_len)) {
		s->is_post = is("POST", value, value_len);
	} else if (is("content-type", name, name_len)) {
		s->is_grpc = is_grpc_type(value, value_len);
		if (!s->is_grpc && !s->content_type)
			s->content_type = quote(value, value_len);
	} else if (is("grpc-timeout", name, name_len) && !s->deadline_ms) {
		set_timeout(s, value, value_len);
	} else if (is("grpc-encoding", name, name_len) && !is("identity", value, value_len) &&
		   !s->encoding) {
		s->encoding = quote(value, value_len);
	}
	return true;
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name,
		.value = (uint8_t *)value,
		.namelen = strlen(name),
		.valuelen = strlen(value),
		/* The names are literals; values may be gone before they are sent. */
		.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
	};
}

/* grpc-status and, unless the call succeeded, grpc-message: the end of every answer. */
static size_t status_headers(nghttp2_nv *at, int code, const char *text, char number[12],
			     char *escaped)
{
	snprintf(number, 12, "%d", code);
	at[0] = nv("grpc-status", number);
	if (!code || !text)
		return 1;
	grpc_message_encode(text, escaped, STATUS_TEXT_MAX);
	at[1] = nv("grpc-message", escaped);
	return 2;
}

/* An answer that is nothing but a status. */
static void respond_status(struct h2_stream *s, const char *http_status, int code, const char *text)
{
	nghttp2_nv h[6];
	char number[12], escaped[STATUS_TEXT_MAX];
	size_t n = 0;
	h[n++] = nv(":status", http_status);
	h[n++] = nv("content-type", "application/grpc");
	if (strcmp(http_status, "405") == 0)
		h[n++] = nv("allow", "POST");
	if (s->encoding)
		h[n++] = nv("grpc-accept-encoding", "identity");
	n += status_headers(h + n, code, text, number, escaped);
	s->responded = true;
	nghttp2_submit_response(h2_session(s->conn), s->id, h, n, NULL);
}

/* The answer is complete; nothing of the request matters any more. */
static bool begin_finish(struct h2_stream *s, int code)
{
	if (s->finished)
		return false;
	s->finished = true;
	s->code = code;
	loop_timer_cancel(h2_host_of(s->conn)->daemon->loop, &s->deadline);
	if (!s->in_over)
		drop_input(s);
	return true;
}

static void refuse_http(struct h2_stream *s, const char *http_status, const char *text)
{
	if (begin_finish(s, GRPC_INTERNAL)) {
		respond_status(s, http_status, GRPC_INTERNAL, text);
		h2_woken(s->conn);
	}
}

void h2_finish(struct h2_stream *s, int code, const char *text)
{
	if (!begin_finish(s, code))
		return;
	if (code)
		drop_queue(s);
	if (!s->responded) {
		respond_status(s, "200", code, text);
	} else {
		s->text = text ? xstrdup(text) : NULL;
		if (s->deferred)
			nghttp2_session_resume_data(h2_session(s->conn), s->id);
		s->deferred = false;
	}
	h2_woken(s->conn);
}

__attribute__((format(printf, 3, 4))) static void refuse(struct h2_stream *s, int code,
							 const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_debug("stream %d: refused: %s", s->id, text);
	h2_finish(s, code, text);
}

void stream_headers_done(struct h2_stream *s)
{
	char text[256];
	if (!s->is_post) {
		refuse_http(s, "405", "the method of a gRPC request is POST");
	} else if (!s->is_grpc) {
		snprintf(text, sizeof text, "content-type '%s' is not application/grpc",
			 s->content_type ? s->content_type : "");
		refuse_http(s, "415", text);
	} else if (!s->method) {
		refuse(s, GRPC_UNIMPLEMENTED, "unknown method %s", s->path);
	} else if (s->encoding) {
		refuse(s, GRPC_UNIMPLEMENTED, "grpc-encoding '%s' is not supported, only identity",
		       s->encoding);
	} else if (s->bad_timeout) {
		refuse(s, GRPC_INTERNAL, "malformed grpc-timeout");
	}
}

/* The memory of all requests that are coming in is bounded; a single one may always. */
static bool count_input(struct h2_stream *s, size_t more)
{
	struct h2_host *host = h2_host_of(s->conn);
	host->in_bytes += more;
	return host->in_bytes <= H2_INPUT_MAX || host->in_bytes == s->in.msg.len;
}

void stream_data(struct h2_stream *s, const uint8_t *data, size_t len)
{
	struct err e;
	while (len && !s->in_over) {
		size_t before = s->in.msg.len;
		if (s->has_message) {
			refuse(s, GRPC_INTERNAL, "%s: more than one request message",
			       s->method->path);
			return;
		}
		int r = grpc_deframe(&s->in, &data, &len, &e);
		s->has_message = r == 1;
		if (!count_input(s, s->in.msg.len - before))
			refuse(s, GRPC_RESOURCE_EXHAUSTED, "%s: too many large requests at once",
			       s->method->path);
		else if (r < 0)
			refuse(s, err_grpc_status(&e), "%s: the request: %s", s->method->path,
			       e.msg);
	}
}

void stream_input_done(struct h2_stream *s)
{
	s->in_closed = true;
	if (s->in_over)
		return;
	if (!s->has_message) {
		refuse(s, GRPC_INTERNAL, "%s: %s", s->method->path,
		       grpc_deframer_is_within(&s->in) ? "the request message is cut short"
						       : "no request message");
		return;
	}
	s->in_over = true;
	call_begin(s, &s->call, s->method, (const uint8_t *)s->in.msg.data, s->in.msg.len);
	drop_input(s);
}

struct h2_msg *h2_msg_new(size_t len)
{
	struct h2_msg *m = xmalloc(sizeof *m + GRPC_PREFIX_LEN + len);
	*m = (struct h2_msg){.len = GRPC_PREFIX_LEN + len};
	grpc_prefix_write(m->data, len);
	return m;
}

static void respond_data(struct h2_stream *s)
{
	nghttp2_nv h[] = {
		nv(":status", "200"),
		nv("content-type", "application/grpc"),
		nv("grpc-accept-encoding", "identity"),
	};
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = stream_read};
	s->responded = true;
	nghttp2_submit_response(h2_session(s->conn), s->id, h, ARRAY_LEN(h), &provider);
}

void h2_open(struct h2_stream *s)
{
	if (s->responded || s->finished)
		return;
	respond_data(s);
	h2_woken(s->conn);
}

bool h2_send(struct h2_stream *s, struct h2_msg *m)
{
	/* One message may always wait, whatever its size. */
	if (s->finished || (s->head && s->queued + m->len > H2_QUEUE_MAX)) {
		free(m);
		return false;
	}
	m->next = NULL;
	*s->tail = m;
	s->tail = &m->next;
	s->queued += m->len;
	if (!s->responded)
		respond_data(s);
	else if (s->deferred)
		nghttp2_session_resume_data(h2_session(s->conn), s->id);
	s->deferred = false;
	h2_woken(s->conn);
	return true;
}

static void submit_trailers(struct h2_stream *s)
{
	nghttp2_nv h[2];
	char number[12], escaped[STATUS_TEXT_MAX];
	size_t n = status_headers(h, s->code, s->text, number, escaped);
	nghttp2_submit_trailer(h2_session(s->conn), s->id, h, n);
}

ssize_t stream_read(nghttp2_session *ng, int32_t id, uint8_t *unused, size_t max, uint32_t *flags,
		    nghttp2_data_source *src, void *h2)
{
	struct h2_stream *s = src->ptr;
	size_t n = 0;
	(void)ng, (void)id, (void)unused, (void)h2;
	if (s->head) {
		n = s->head->len - s->head_off;
		n = n < max ? n : max;
		s->promised = n;
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
		if (s->head->next || !s->finished || s->head_off + n < s->head->len)
			return (ssize_t)n;
	} else if (!s->finished) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	submit_trailers(s);
	return (ssize_t)n;
}

int stream_take(struct h2_stream *s, struct buf *out, size_t len, struct err *e)
{
	struct h2_msg *m = s->head;
	if (!m || len > m->len - s->head_off)
		return err_set(e, ERR_FAILED, "stream %d: more was promised than there is", s->id);
	if (buf_add(out, m->data + s->head_off, len, e) < 0)
		return -1;
	s->promised = 0;
	s->head_off += len;
	if (s->head_off < m->len)
		return 0;
	s->head = m->next;
	if (!s->head)
		s->tail = &s->head;
	s->head_off = 0;
	s->queued -= m->len;
	free(m);
	if (s->call && s->room_wanted && s->queued <= s->room_below) {
		s->room_wanted = false;
		call_room(s->call);
	}
	return 0;
}

size_t h2_queued(const struct h2_stream *s)
{
	return s->queued;
}

void h2_tell_room(struct h2_stream *s, size_t below)
{
	s->room_below = below;
	s->room_wanted = true;
}

static void on_linger(struct timer *t)
{
	struct h2_stream *s = t->arg;
	nghttp2_submit_rst_stream(h2_session(s->conn), NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	h2_woken(s->conn);
}

/* An answer may be complete before the request. The client need not send the rest (RFC 9113, 8.1),
 * but some that are told so at once, in the middle of sending, lose the answer. */
void stream_answered(struct h2_stream *s)
{
	if (!s->in_closed)
		loop_timer(h2_host_of(s->conn)->daemon->loop, &s->deadline, LINGER_MS, on_linger,
			   s);
}

void stream_abort(struct h2_stream *s, int code, const char *text)
{
	if (s->finished)
		return;
	if (s->call)
		call_gone(s->call, code);
	h2_finish(s, code, text);
}

long long h2_time_left_ms(const struct h2_stream *s)
{
	if (!s->deadline_ms)
		return -1;
	long long left = s->deadline_ms - proc_now_ms();
	return left > 0 ? left : 0;
}

struct h2_host *h2_stream_host(const struct h2_stream *s)
{
	return h2_host_of(s->conn);
}
