/* SPDX-License-Identifier: Apache-2.0 */
#include "ttrpc.h"

#include "auto.h"
#include "grpc.h"
#include "proc.h"
#include "shim.pb-c.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int fill_address(struct sockaddr_un *sa, socklen_t *len, const char *address, struct err *e)
{
	static const char scheme[] = "unix://";
	bool is_path = strncmp(address, scheme, sizeof scheme - 1) == 0;
	const char *name = is_path ? address + sizeof scheme - 1 : address;
	if (!is_path && strstr(address, "://"))
		return err_set(e, ERR_UNSUPPORTED, "address '%.200s': only Unix sockets", address);
	/* "@" is how people write the zero byte before an abstract name. */
	if (is_path && *name == '@')
		is_path = false, name++;
	size_t n = strlen(name);
	if (n == 0 || n + 1 > sizeof sa->sun_path)
		return err_set(e, ERR_BAD_INPUT, "address '%.200s': not a Unix socket's", address);
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(sa->sun_path + !is_path, name, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

int ttrpc_dial(struct ttrpc *t, const char *address, const char *peer, struct err *e)
{
	struct sockaddr_un sa;
	struct ucred who;
	socklen_t len = 0, who_len = sizeof who;
	*t = TTRPC_NONE;
	if (fill_address(&sa, &len, address, e) < 0)
		return -1;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return err_set(e, ERR_UNAVAILABLE, "%s does not listen at %.200s: %s", peer,
			       address, strerrordesc_np(errno));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) < 0)
		return err_sys(e, "%s", address);
	if (who.uid != 0 && who.uid != geteuid())
		return err_set(e, ERR_DENIED, "%.200s is served by user %u", address, who.uid);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ttrpc_deframer_init(&t->in);
	t->fd = TAKE_FD(fd);
	t->next = 1;
	t->peer = peer;
	return 0;
}

void ttrpc_close(struct ttrpc *t)
{
	if (t->fd >= 0) {
		close(t->fd);
		ttrpc_deframer_release(&t->in);
	}
	*t = TTRPC_NONE;
}

/* 1 = ready, 0 = the deadline has passed. */
static int wait_for(const struct ttrpc *t, short events, long long deadline_ms, struct err *e)
{
	for (;;) {
		struct pollfd p = {.fd = t->fd, .events = events};
		long long left = deadline_ms < 0 ? -1 : deadline_ms - proc_now_ms();
		if (deadline_ms >= 0 && left < 0)
			left = 0;
		int n = poll(&p, 1, left > 1 << 30 ? 1 << 30 : (int)left);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (n > 0 || (n == 0 && deadline_ms >= 0 && proc_now_ms() >= deadline_ms))
			return n > 0;
	}
}

static int gone(const struct ttrpc *t, struct err *e)
{
	return err_set(e, ERR_UNAVAILABLE, "%s has closed the connection", t->peer);
}

static int late(const struct ttrpc *t, const char *method, struct err *e)
{
	return err_set(e, ERR_TIMEOUT, "%s does not answer to %s", t->peer, method);
}

static int write_all(struct ttrpc *t, const uint8_t *data, size_t len, const char *method,
		     long long deadline_ms, struct err *e)
{
	while (len) {
		ssize_t n = send(t->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return gone(t, e);
		int r = wait_for(t, POLLOUT, deadline_ms, e);
		if (r <= 0)
			return r < 0 ? -1 : late(t, method, e);
	}
	return 0;
}

/* Header and request as they go out; NULL with *e. */
static uint8_t *build_request(struct ttrpc *t, Shim__Request *r, size_t *len, struct err *e)
{
	size_t n = protobuf_c_message_get_packed_size(&r->base);
	if (n > TTRPC_DATA_MAX)
		return err_set_p(e, ERR_EXHAUSTED, "%s: a request of %zu bytes", r->method, n);
	uint8_t *out = xmalloc(TTRPC_HEADER_LEN + n);
	ttrpc_header_write(out, n, t->next, TTRPC_REQUEST);
	protobuf_c_message_pack(&r->base, out + TTRPC_HEADER_LEN);
	*len = TTRPC_HEADER_LEN + n;
	return out;
}

int ttrpc_send(struct ttrpc *t, const char *service, const char *method, const ProtobufCMessage *m,
	       long long deadline_ms, uint32_t *stream, struct err *e)
{
	/* containerd's pkg/namespaces: TTRPCHeader. */
	static char header[] = "containerd-namespace-ttrpc";
	Shim__Request r = SHIM__REQUEST__INIT;
	Shim__KeyValue space = SHIM__KEY_VALUE__INIT, *list[] = {&space};
	size_t len;
	uint8_t *payload = ttrpc_pack(m, &r.payload.len, e);
	if (!payload)
		return -1;
	long long left = deadline_ms - proc_now_ms();
	r.service = (char *)service;
	r.method = (char *)method;
	r.payload.data = payload;
	r.timeout_nano = deadline_ms < 0 ? 0 : (left > 1 ? left : 1) * 1000000;
	space.key = header;
	space.value = (char *)t->space;
	r.n_metadata = t->space ? 1 : 0;
	r.metadata = list;
	AUTO_FREE uint8_t *text = build_request(t, &r, &len, e);
	free(payload);
	if (!text || write_all(t, text, len, method, deadline_ms, e) < 0)
		return -1;
	*stream = t->next;
	t->next += 2;
	return 0;
}

/* 1 = there are bytes, 0 = the deadline has passed. */
static int more(struct ttrpc *t, long long deadline_ms, struct err *e)
{
	for (;;) {
		ssize_t n = recv(t->fd, t->bytes, sizeof t->bytes, MSG_DONTWAIT);
		if (n > 0) {
			t->at = 0;
			t->end = (size_t)n;
			return 1;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return gone(t, e);
		int r = wait_for(t, POLLIN, deadline_ms, e);
		if (r <= 0)
			return r;
	}
}

/* containerd's errors end in the word of their code, which we have as a number. */
static void set_words(const struct ttrpc *t, const Shim__Status *s, struct err *e)
{
	char words[900];
	const char *said = s->message && *s->message ? s->message : grpc_code_name(s->code);
	snprintf(words, sizeof words, "%s", said ? said : "no reason given");
	char *tail = strrchr(words, ':');
	if (tail && strcmp(tail, ": unknown") == 0)
		*tail = '\0';
	for (char *p = words; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	enum err_kind kind = grpc_err_kind(s->code, s->message ? s->message : "");
	err_set(e, kind == ERR_OK ? ERR_FAILED : kind, "%s", *words ? words : t->peer);
}

static int unpack(const struct ttrpc *t, const ProtobufCMessageDescriptor *type,
		  ProtobufCMessage **out, struct err *e)
{
	const struct buf *b = &t->in.data;
	Shim__Response *r = shim__response__unpack(NULL, b->len, (const uint8_t *)b->data);
	if (!r)
		return err_set(e, ERR_BAD_INPUT, "%s answers with what is no response", t->peer);
	if (r->status && r->status->code) {
		set_words(t, r->status, e);
		shim__response__free_unpacked(r, NULL);
		return -1;
	}
	*out = protobuf_c_message_unpack(type, NULL, r->payload.len, r->payload.data);
	shim__response__free_unpacked(r, NULL);
	return *out ? 1
		    : err_set(e, ERR_BAD_INPUT, "%s answers with what is no %s", t->peer,
			      type->short_name);
}

int ttrpc_receive(struct ttrpc *t, uint32_t stream, const ProtobufCMessageDescriptor *type,
		  long long deadline_ms, ProtobufCMessage **out, struct err *e)
{
	for (;;) {
		if (t->at == t->end) {
			int r = more(t, deadline_ms, e);
			if (r <= 0)
				return r;
		}
		const uint8_t *p = t->bytes + t->at;
		size_t len = t->end - t->at;
		int r = ttrpc_deframe(&t->in, &p, &len, e);
		t->at = t->end - len;
		if (r < 0)
			return err_wrap(e, "%s", t->peer);
		if (r == 0 || t->in.stream != stream)
			continue;
		if (t->in.type != TTRPC_RESPONSE)
			return err_set(e, ERR_BAD_INPUT, "%s sends a frame of type %d as answer",
				       t->peer, t->in.type);
		return unpack(t, type, out, e);
	}
}

int ttrpc_call(struct ttrpc *t, const char *service, const char *method, const ProtobufCMessage *m,
	       const ProtobufCMessageDescriptor *type, long long deadline_ms,
	       ProtobufCMessage **out, struct err *e)
{
	uint32_t stream;
	*out = NULL;
	if (ttrpc_send(t, service, method, m, deadline_ms, &stream, e) < 0)
		return -1;
	int r = ttrpc_receive(t, stream, type, deadline_ms, out, e);
	return r == 0 ? late(t, method, e) : r < 0 ? -1 : 0;
}
