/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include "auto.h"
#include "grpc.h"
#include "proc.h"
#include "xalloc.h"

#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

enum {
	WINDOW = 4 << 20,       /* bytes the server may send ahead of us */
	STATUS_TEXT_MAX = 8192, /* of a grpc-message */
	READ_SIZE = 64 << 10,
};

struct client {
	const struct client_call *call;
	int fd, sigfd;
	nghttp2_session *session;
	int32_t stream;
	uint8_t prefix[GRPC_PREFIX_LEN];
	size_t sent;        /* of prefix and request */
	const uint8_t *out; /* what nghttp2 wants sent and the socket did not take yet */
	size_t out_len;
	struct grpc_deframer in;
	size_t messages;
	int http_status; /* 0 = no answer yet */
	int grpc_status; /* -1 = none yet */
	int code;        /* of a call that failed by fail_code */
	char *grpc_text; /* decoded; NULL = none */
	bool is_grpc;    /* the answer's content-type says so */
	bool is_http2;   /* the server has sent its settings */
	bool is_closed;  /* the stream is over */
	bool is_stopped; /* by a signal, or nobody reads our output */
	bool has_failed; /* on our side; *e says why */
	uint32_t reset;  /* the error code the stream was closed with */
	struct err *e;
};

static void fail(struct client *c)
{
	c->has_failed = true;
	nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
}

static bool is(const char *name, const uint8_t *s, size_t len)
{
	return strlen(name) == len && memcmp(name, s, len) == 0;
}

/* The number that a header is, or -1. */
static int small_number(const uint8_t *s, size_t len)
{
	int n = 0;
	if (len < 1 || len > 4)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		n = n * 10 + (s[i] - '0');
	}
	return n;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct client *c = arg;
	static const char type[] = "application/grpc";
	(void)s;
	(void)flags;
	if (f->hd.stream_id != c->stream)
		return 0;
	if (is(":status", name, name_len)) {
		c->http_status = small_number(value, len);
	} else if (is("content-type", name, name_len)) {
		c->is_grpc = len >= sizeof type - 1 && memcmp(value, type, sizeof type - 1) == 0;
	} else if (is("grpc-status", name, name_len)) {
		int n = small_number(value, len);
		c->grpc_status = n < 0 ? GRPC_UNKNOWN : n;
	} else if (is("grpc-message", name, name_len)) {
		free(c->grpc_text);
		c->grpc_text = xstrndup((const char *)value,
					len < STATUS_TEXT_MAX ? len : STATUS_TEXT_MAX);
		grpc_message_decode(c->grpc_text);
	}
	return 0;
}

static int take_message(struct client *c)
{
	c->messages++;
	if (!c->call->streaming) {
		if (c->messages > 1)
			return err_set(c->e, ERR_FAILED,
				       "INTERNAL: more than one message in the answer");
		return 0; /* stays in the deframer until the status has come */
	}
	return c->call->on_message(c->call->arg, (const uint8_t *)c->in.msg.data, c->in.msg.len,
				   c->e);
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t len, void *arg)
{
	struct client *c = arg;
	(void)s;
	(void)flags;
	if (stream != c->stream || c->http_status != 200 || !c->is_grpc)
		return 0; /* the text of some other server's error page */
	while (len && !c->has_failed) {
		int r = grpc_deframe(&c->in, &data, &len, c->e);
		if (r < 0)
			err_wrap(c->e, "%s",
				 c->e->kind == ERR_EXHAUSTED ? "RESOURCE_EXHAUSTED" : "INTERNAL");
		if (r < 0 || (r == 1 && take_message(c) < 0))
			fail(c);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t stream, uint32_t code, void *arg)
{
	struct client *c = arg;
	(void)s;
	if (stream == c->stream) {
		c->is_closed = true;
		c->reset = code;
	}
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct client *c = arg;
	(void)s;
	if (f->hd.type == NGHTTP2_SETTINGS)
		c->is_http2 = true;
	return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t stream, uint8_t *buf, size_t len,
			 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct client *c = arg;
	size_t total = GRPC_PREFIX_LEN + c->call->request_len, n = 0;
	(void)s;
	(void)stream;
	(void)source;
	if (c->sent < GRPC_PREFIX_LEN) {
		n = GRPC_PREFIX_LEN - c->sent < len ? GRPC_PREFIX_LEN - c->sent : len;
		memcpy(buf, c->prefix + c->sent, n);
		c->sent += n;
	}
	if (c->sent >= GRPC_PREFIX_LEN && c->sent < total) {
		size_t more = total - c->sent < len - n ? total - c->sent : len - n;
		memcpy(buf + n, c->call->request + (c->sent - GRPC_PREFIX_LEN), more);
		c->sent += more;
		n += more;
	}
	if (c->sent == total)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int start_session(struct client *c)
{
	nghttp2_session_callbacks *cb;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
	};
	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -1;
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	int r = nghttp2_session_client_new(&c->session, cb, c);
	nghttp2_session_callbacks_del(cb);
	if (r != 0 || nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
					      ARRAY_LEN(settings)) != 0)
		return -1;
	return nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int start_call(struct client *c)
{
	char timeout[GRPC_TIMEOUT_SIZE];
	nghttp2_data_provider body = {.read_callback = read_body};
	nghttp2_nv headers[8] = {
		header(":method", "POST"),
		header(":scheme", "http"),
		header(":path", c->call->path),
		header(":authority", "localhost"),
		header("content-type", "application/grpc"),
		header("te", "trailers"),
		header("user-agent", "cricall/" VERSION),
	};
	size_t n = 7;
	if (c->call->due_ms >= 0) {
		grpc_timeout_format(c->call->due_ms - proc_now_ms(), timeout);
		headers[n++] = header("grpc-timeout", timeout);
	}
	grpc_prefix_write(c->prefix, c->call->request_len);
	c->stream = nghttp2_submit_request(c->session, NULL, headers, n, &body, NULL);
	return c->stream < 0 ? -1 : 0;
}

/* Until the socket takes no more or there is no more. -1: the connection is broken. */
static int send_some(struct client *c)
{
	for (;;) {
		if (!c->out_len) {
			ssize_t n = nghttp2_session_mem_send(c->session, &c->out);
			if (n <= 0)
				return n < 0 ? -1 : 0;
			c->out_len = (size_t)n;
		}
		ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		c->out += n;
		c->out_len -= (size_t)n;
	}
}

/* -1: there will be no more. A broken connection may still have an answer in it, so reading decides
 * and not sending. */
static int receive_some(struct client *c)
{
	static uint8_t data[READ_SIZE];
	ssize_t n = recv(c->fd, data, sizeof data, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0 || nghttp2_session_mem_recv(c->session, data, (size_t)n) < 0)
		return -1;
	return 0;
}

static int wait_time(const struct client *c)
{
	if (c->call->due_ms < 0)
		return -1;
	long long left = c->call->due_ms - proc_now_ms();
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* 1: the call is over; 0: go on; -1: the deadline has passed. */
static int step(struct client *c)
{
	bool broken = send_some(c) < 0;
	if (c->is_closed || c->has_failed)
		return 1;
	if (!broken && !nghttp2_session_want_read(c->session) && !c->out_len)
		return 1;
	struct pollfd p[] = {
		{.fd = c->fd, .events = (short)(POLLIN | (c->out_len && !broken ? POLLOUT : 0))},
		{.fd = c->sigfd, .events = POLLIN},
		/* Only for the error: nobody reads the stream any more. What a unary call does is
		 * wanted all the same. */
		{.fd = c->call->streaming ? STDOUT_FILENO : -1},
	};
	int n = poll(p, ARRAY_LEN(p), wait_time(c));
	if (n == 0 && c->call->due_ms >= 0 && proc_now_ms() >= c->call->due_ms)
		return -1;
	if (n <= 0)
		return 0;
	if (p[1].revents || p[2].revents & POLLERR) {
		c->is_stopped = true;
		return 1;
	}
	if (p[0].revents && receive_some(c) < 0)
		return 1;
	return 0;
}

/* The call's error as gRPC words it: "NOT_FOUND: no such container". */
static int fail_code(struct client *c, int code, const char *text)
{
	const char *name = grpc_code_name(code);
	char number[24];
	snprintf(number, sizeof number, "code %d", code);
	c->code = code;
	return err_set(c->e, grpc_err_kind(code, text), "%s: %s", name ? name : number,
		       text && *text ? text : "the server gives no reason");
}

/* How a call ended that was over by itself. */
static int judge(struct client *c)
{
	char text[96];
	if (c->has_failed)
		return -1;
	if (c->grpc_status > 0)
		return fail_code(c, c->grpc_status, c->grpc_text);
	if (c->grpc_status < 0 && c->http_status > 0 && (c->http_status != 200 || !c->is_grpc)) {
		snprintf(text, sizeof text, "not a gRPC answer: HTTP status %d", c->http_status);
		return fail_code(c, grpc_code_of_http(c->http_status), text);
	}
	if (c->grpc_status < 0 && c->is_closed) {
		snprintf(text, sizeof text, "the server ended the call without a status: %s",
			 nghttp2_http2_strerror(c->reset));
		return fail_code(c, grpc_code_of_reset(c->reset), text);
	}
	if (c->grpc_status < 0)
		return fail_code(c, GRPC_UNAVAILABLE,
				 c->is_http2 ? "the server closed the connection"
					     : "nobody behind the socket speaks HTTP/2");
	if (grpc_deframer_is_within(&c->in))
		return fail_code(c, GRPC_INTERNAL, "the answer is cut short");
	if (c->call->streaming)
		return 0;
	if (!c->messages)
		return fail_code(c, GRPC_INTERNAL, "no message in the answer");
	return c->call->on_message(c->call->arg, (const uint8_t *)c->in.msg.data, c->in.msg.len,
				   c->e);
}

static int run(struct client *c)
{
	int r;
	if (start_session(c) != 0 || start_call(c) < 0)
		return err_set(c->e, ERR_FAILED, "HTTP/2: out of memory");
	while ((r = step(c)) == 0)
		;
	if (r > 0 && !c->is_stopped) {
		if (c->has_failed)
			send_some(c);
		return judge(c);
	}
	/* Tell the server that nobody waits any more. */
	nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
	send_some(c);
	if (r < 0)
		return fail_code(c, GRPC_DEADLINE_EXCEEDED, "no answer in time");
	return c->call->streaming ? 0 : fail_code(c, GRPC_CANCELLED, "interrupted");
}

int client_run(int fd, const struct client_call *call, struct err *e)
{
	struct client c = {.call = call, .fd = fd, .grpc_status = -1, .e = e};
	sigset_t signals, before;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	AUTO_CLOSE int sigfd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0)
		return err_sys(e, "signalfd");
	c.sigfd = sigfd;
	grpc_deframer_init(&c.in, call->max_message);
	sigprocmask(SIG_BLOCK, &signals, &before);
	int r = run(&c);
	if (call->code)
		*call->code = c.is_stopped ? -1 : r == 0 ? 0 : c.code ? c.code : err_grpc_status(e);
	/* A signal that ended the call must not end us on top of that. */
	while (c.is_stopped &&
	       read(sigfd, &(struct signalfd_siginfo){0}, sizeof(struct signalfd_siginfo)) > 0)
		;
	sigprocmask(SIG_SETMASK, &before, NULL);
	nghttp2_session_del(c.session);
	grpc_deframer_release(&c.in);
	free(c.grpc_text);
	return r;
}
