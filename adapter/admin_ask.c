/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ANSWER_MAX = 64 << 20, ANSWER_S = 10 };

static int connect_to(const struct state *s, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const struct timeval clock = {.tv_sec = ANSWER_S};
	int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/admin.sock", s->run_path);
	if (n < 0 || (size_t)n >= sizeof sa.sun_path)
		return err_set(e, ERR_BAD_INPUT, "runroot %s is too long for a socket",
			       s->run_path);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &clock, sizeof clock) < 0)
		return err_sys(e, "socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return errno == ENOENT || errno == ECONNREFUSED
			       ? err_set(e, ERR_UNAVAILABLE, "no crispd runs on %s", s->run_path)
			       : err_sys(e, "%s", sa.sun_path);
	return TAKE_FD(fd);
}

static int read_all(int fd, struct buf *b, struct err *e)
{
	for (;;) {
		if (buf_reserve(b, 65536, e) < 0)
			return -1;
		ssize_t n = recv(fd, b->data + b->len, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN
				       ? err_set(e, ERR_TIMEOUT, "no answer within %d s", ANSWER_S)
				       : err_sys(e, "read");
		if (n == 0)
			return 0;
		buf_grew(b, (size_t)n);
	}
}

json_t *admin_ask(const struct state *s, const char *page, struct err *e)
{
	char request[64];
	AUTO_BUF struct buf b = BUF_INIT(ANSWER_MAX);
	AUTO_CLOSE int fd = connect_to(s, e);
	int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: crispd\r\n\r\n", page);
	if (fd < 0)
		return NULL;
	if (fs_write_all(fd, request, (size_t)n, e) < 0 || read_all(fd, &b, e) < 0 ||
	    buf_add(&b, "", 1, e) < 0)
		return err_wrap(e, "crispd: %s", page), NULL;
	const char *body = strstr(b.data, "\r\n\r\n");
	if (strncmp(b.data, "HTTP/1.1 200 ", 13) != 0 || !body)
		return err_set_p(e, ERR_FAILED, "crispd: %s: %.*s", page,
				 (int)strcspn(b.data, "\r\n"), b.data);
	return jsonx_parse(body + 4, strlen(body + 4), page, e);
}
