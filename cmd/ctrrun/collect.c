/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "auto.h"
#include "exec.h"
#include "podroot.h"
#include "turnstile.h"

#include <fcntl.h>
#include <poll.h>

enum { CHUNK = 64 << 10, READS = 16 };

int collect_open(struct collect *c, const char *runroot, const char *pod_id, struct err *e)
{
	for (int i = 0; i < 2; i++) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(e, "pipe");
		c->from[i] = fds[0];
		c->command[i] = fds[1];
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		podroot_give_pipe(runroot, pod_id, fds[1]);
	}
	return 0;
}

void collect_started(struct collect *c)
{
	for (int i = 0; i < 2; i++) {
		auto_close(&c->command[i]);
		c->command[i] = -1;
	}
}

void collect_want(const struct collect *c, struct pollfd *p)
{
	for (int i = 0; i < 2; i++)
		p[i] = (struct pollfd){.fd = c->from[i], .events = POLLIN};
}

static void keep(struct buf *b, const char *data, size_t n)
{
	struct err ignored;
	size_t room = b->limit - b->len;
	if (n > room)
		n = room;
	if (n && turnstile_hold(n))
		(void)buf_add(b, data, n, &ignored);
}

void collect_serve(struct collect *c, const struct pollfd *p)
{
	char chunk[CHUNK];
	for (int i = 0; i < 2; i++)
		for (int reads = 0; p[i].revents && c->from[i] >= 0 && reads < READS; reads++) {
			ssize_t n = read(c->from[i], chunk, sizeof chunk);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				break;
			if (n <= 0)
				close(TAKE_FD(c->from[i]));
			else
				keep(&c->kept[i], chunk, (size_t)n);
		}
}

bool collect_ended(const struct collect *c)
{
	return c->from[0] < 0 && c->from[1] < 0;
}

int collect_tell(const struct collect *c, int fd, json_t *line, struct err *e)
{
	struct iovec body[ANSWER_PARTS];
	for (int i = 0; i < 2; i++)
		body[i] = (struct iovec){c->kept[i].data, c->kept[i].len};
	json_object_set_new(line, "stdout", json_integer((json_int_t)c->kept[0].len));
	json_object_set_new(line, "stderr", json_integer((json_int_t)c->kept[1].len));
	AUTO_FREE char *text = json_dumps(line, JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_FAILED, "an answer that is no JSON");
	if (answer_send(fd, turnstile_run(), text, body, e) < 0)
		return -1;
	turnstile_told();
	return 0;
}

void collect_close(struct collect *c)
{
	collect_started(c);
	for (int i = 0; i < 2; i++) {
		auto_close(&c->from[i]);
		buf_release(&c->kept[i]);
	}
}
