/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "flatjson.h"
#include "monitor.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

/* What a client may lag behind: the kernel keeps it, in the client's pipe. Unprivileged programs
 * can have that much. */
enum { QUEUE_SIZE = 1 << 20 };

static bool asked(const char *text, size_t len, const char *key)
{
	int64_t n = 0;
	return flatjson_int(text, len, key, &n) && n;
}

/* Our end stays with the client, the other goes into the reply. */
static int open_output(struct ctl_client *c, int which, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, "pipe");
	/* Smaller than we like is no reason to refuse. */
	(void)fcntl(fds[1], F_SETPIPE_SZ, QUEUE_SIZE);
	c->out[which] = fds[1];
	c->pass[c->n_pass++] = fds[0];
	return 0;
}

static int open_ends(struct ctl_client *c, const char *text, size_t len, bool has[2], struct err *e)
{
	struct monitor *m = c->m;
	const struct stream *streams[2] = {&m->io.out, &m->io.err};
	static const char *const names[2] = {"stdout", "stderr"};
	int in = m->opts->tty ? m->io.out.watch.fd : m->io.in;
	if (asked(text, len, "stdin") && in >= 0) {
		int fd = fcntl(in, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_sys(e, "stdin");
		c->pass[c->n_pass++] = fd;
	}
	for (int i = 0; i < 2; i++) {
		has[i] = asked(text, len, names[i]) && streams[i]->watch.fd >= 0;
		if (has[i] && open_output(c, i, e) < 0)
			return -1;
	}
	return 0;
}

int attach_begin(struct ctl_client *c, const char *text, size_t len, struct buf *out, struct err *e)
{
	bool has[2] = {false, false};
	if (c->m->state != MON_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container is not running");
	if (c->attached)
		return err_set(e, ERR_BAD_STATE, "attached already");
	if (open_ends(c, text, len, has, e) < 0) {
		attach_end(c);
		return -1;
	}
	c->attached = true;
	c->has_stdin = c->n_pass > (size_t)has[0] + has[1];
	return buf_addf(out, e, "{\"ok\":true,\"stdin\":%d,\"stdout\":%d,\"stderr\":%d}",
			c->has_stdin, has[0], has[1]);
}

void attach_stdin_end(struct ctl_client *c)
{
	struct monitor *m = c->m;
	if (!c->has_stdin)
		return;
	c->has_stdin = false;
	if (!m->opts->stdin_once)
		return;
	auto_close(&m->io.in);
	m->io.in = -1;
}

void attach_end(struct ctl_client *c)
{
	for (int i = 0; i < 2; i++) {
		auto_close(&c->out[i]);
		c->out[i] = -1;
	}
	while (c->n_pass)
		close(c->pass[--c->n_pass]);
	attach_stdin_end(c);
	c->attached = false;
}

void attach_feed(struct monitor *m, int which, const char *data, size_t len)
{
	static const char dropped[] = "{\"event\":\"dropped\"}";
	for (size_t i = 0; i < m->ctl.high; i++) {
		struct ctl_client *c = &m->ctl.client[i];
		if (c->watch.fd < 0 || c->out[which] < 0)
			continue;
		ssize_t n = write(c->out[which], data, len);
		if (n == (ssize_t)len)
			continue;
		/* One that is full has lost its place: nobody waits for it, and a gap would be a
		 * lie. */
		if (n >= 0 || errno == EAGAIN) {
			(void)send(c->watch.fd, dropped, sizeof dropped - 1,
				   MSG_NOSIGNAL | MSG_DONTWAIT);
			attach_end(c);
			continue;
		}
		close(c->out[which]);
		c->out[which] = -1;
	}
}

void attach_output_ended(struct monitor *m, int which)
{
	for (size_t i = 0; i < m->ctl.high; i++) {
		struct ctl_client *c = &m->ctl.client[i];
		if (c->watch.fd < 0)
			continue;
		auto_close(&c->out[which]);
		c->out[which] = -1;
	}
}
