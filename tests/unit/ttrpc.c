/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc: frames in every fragmentation, limits, responses, a client against a server of our own. */
#include "ttrpc.h"
#include "auto.h"
#include "grpc.h"
#include "proc.h"
#include "shim.pb-c.h"
#include "tap.h"

#include <string.h>
#include <sys/socket.h>

static struct err err;

/* Feeds `in` in steps; "stream:data|" of each frame goes to out. The last result. */
static int deframe(const void *in, size_t len, size_t step, char *out, bool *within)
{
	struct ttrpc_deframer d;
	int r = 0;
	ttrpc_deframer_init(&d);
	*out = '\0';
	for (size_t at = 0; at < len && r >= 0; at += step) {
		size_t n = len - at < step ? len - at : step;
		const uint8_t *p = (const uint8_t *)in + at;
		do {
			r = ttrpc_deframe(&d, &p, &n, &err);
			if (r == 1)
				snprintf(out + strlen(out), 64, "%u:%.*s|", d.stream,
					 (int)d.data.len, d.data.data ? d.data.data : "");
		} while (r == 1 && n);
	}
	*within = ttrpc_deframer_is_within(&d);
	ttrpc_deframer_release(&d);
	return r;
}

static void test_frames(void)
{
	static const uint8_t two[] = {0,   0, 0, 3, 0, 0, 0, 1, 2, 0, 'a', 'b',
				      'c', 0, 0, 0, 0, 0, 0, 1, 5, 2, 0};
	static const uint8_t big[] = {0, 0x40, 0, 1, 0, 0, 0, 1, 2, 0};
	static const uint8_t most[] = {0, 0x40, 0, 0, 0, 0, 0, 1, 2, 0};
	uint8_t header[TTRPC_HEADER_LEN];
	char out[256];
	bool within, good = true;
	for (size_t step = 1; step <= sizeof two; step++) {
		int r = deframe(two, sizeof two, step, out, &within);
		good = good && r == 1 && !within && strcmp(out, "1:abc|261:|") == 0;
	}
	ok(good, "frames in every fragmentation");
	deframe(two, sizeof two - 1, 4, out, &within);
	ok(within, "a header that is not whole");
	deframe(two, 12, 12, out, &within);
	ok(within && !*out, "data that is not whole");
	ok(deframe(big, sizeof big, 3, out, &within) < 0 && err.kind == ERR_EXHAUSTED,
	   "more than 4 MiB is refused: %s", err.msg);
	ok(deframe(most, sizeof most, 3, out, &within) == 0, "4 MiB are not");
	ttrpc_header_write(header, 0x010203, 7, TTRPC_REQUEST);
	ok(memcmp(header, "\0\1\2\3\0\0\0\7\1\0", sizeof header) == 0, "a header");
}

/* One end of a socket pair as a client. */
static int make_client(struct ttrpc *t)
{
	int fds[2];
	*t = TTRPC_NONE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	ttrpc_deframer_init(&t->in);
	t->fd = fds[0];
	t->next = 1;
	t->peer = "server";
	t->space = "space";
	return fds[1];
}

static void test_client(void)
{
	struct ttrpc t;
	uint32_t stream = 0;
	uint8_t bytes[512];
	ProtobufCMessage *m = NULL;
	Shim__IdRequest id = SHIM__ID_REQUEST__INIT;
	Shim__WaitResponse w = SHIM__WAIT_RESPONSE__INIT;
	AUTO_BUF struct buf out = BUF_INIT(4096);
	AUTO_CLOSE int server = make_client(&t);
	char name[] = "c1";
	id.id = name;
	ok(ttrpc_send(&t, "S", "Wait", &id.base, -1, &stream, &err) == 0 && stream == 1, "sent");
	ssize_t n = recv(server, bytes, sizeof bytes, 0);
	Shim__Request *r = n <= TTRPC_HEADER_LEN
				   ? NULL
				   : shim__request__unpack(NULL, (size_t)n - TTRPC_HEADER_LEN,
							   bytes + TTRPC_HEADER_LEN);
	ok(r && strcmp(r->service, "S") == 0 && strcmp(r->method, "Wait") == 0 &&
		   r->n_metadata == 1 && strcmp(r->metadata[0]->value, "space") == 0 &&
		   r->timeout_nano == 0,
	   "service, method, namespace, no deadline");
	if (r)
		shim__request__free_unpacked(r, NULL);
	ok(ttrpc_receive(&t, 1, &shim__wait_response__descriptor, 0, &m, &err) == 0,
	   "no answer yet");
	w.exit_status = 42;
	ttrpc_add_response(&out, 99, 0, "", &w.base, &err);
	ttrpc_add_response(&out, 1, 0, "", &w.base, &err);
	ok(send(server, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len, "answered");
	ok(ttrpc_receive(&t, 1, &shim__wait_response__descriptor, -1, &m, &err) == 1 &&
		   ((Shim__WaitResponse *)m)->exit_status == 42,
	   "another stream's answer is passed over");
	protobuf_c_message_free_unpacked(m, NULL);
	buf_clear(&out);
	ttrpc_add_response(&out, 3, GRPC_NOT_FOUND, "no\tsuch thing: unknown", NULL, &err);
	ok(send(server, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len, "refused");
	ok(ttrpc_receive(&t, 3, &shim__wait_response__descriptor, -1, &m, &err) < 0 &&
		   err.kind == ERR_NOT_FOUND && strcmp(err.msg, "no such thing") == 0,
	   "in the server's words: %s", err.msg);
	ok(ttrpc_call(&t, "S", "Wait", &id.base, &shim__wait_response__descriptor,
		      proc_now_ms() + 20, &m, &err) < 0 &&
		   err.kind == ERR_TIMEOUT,
	   "a deadline: %s", err.msg);
	close(TAKE_FD(server));
	ok(ttrpc_receive(&t, 7, &shim__wait_response__descriptor, -1, &m, &err) < 0 &&
		   err.kind == ERR_UNAVAILABLE,
	   "a closed connection: %s", err.msg);
	ttrpc_close(&t);
}

static void test_addresses(void)
{
	static const struct {
		const char *address;
		enum err_kind kind;
	} list[] = {
		{"unix:///nonexistent/socket", ERR_UNAVAILABLE},
		{"crisp-no-such-abstract-socket", ERR_UNAVAILABLE},
		{"vsock://3:1024", ERR_UNSUPPORTED},
		{"", ERR_BAD_INPUT},
		{"unix://", ERR_BAD_INPUT},
		{"unix:///"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 ERR_BAD_INPUT},
	};
	for (size_t i = 0; i < ARRAY_LEN(list); i++) {
		struct ttrpc t;
		ok(ttrpc_dial(&t, list[i].address, "it", &err) < 0 && err.kind == list[i].kind,
		   "%.40s: %.60s", list[i].address, err.msg);
	}
}

int main(void)
{
	test_frames();
	test_client();
	test_addresses();
	return tap_done();
}
