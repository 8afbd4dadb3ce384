/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "auto.h"
#include "exec.h"
#include "jsonx.h"
#include "log.h"
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

static int send_line(int fd, const json_t *line, const struct iovec body[ANSWER_PARTS],
		     struct err *e)
{
	AUTO_FREE char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ERR_FAILED, "an answer that is no JSON");
	return answer_send(fd, turnstile_run(), text, body, e);
}

void collect_tell(const struct collect *c, int fd, json_t *line)
{
	struct iovec body[ANSWER_PARTS], none[ANSWER_PARTS] = {{0}};
	struct err e, again;
	for (int i = 0; i < 2; i++)
		body[i] = (struct iovec){c->kept[i].data, c->kept[i].len};
	json_object_set_new(line, "stdout", json_integer((json_int_t)c->kept[0].len));
	json_object_set_new(line, "stderr", json_integer((json_int_t)c->kept[1].len));
	int r = send_line(fd, line, body, &e);
	if (r < 0) {
		/* Whoever asked is gone, or there is too much to send: that they should know. */
		log_debug("%s", e.msg);
		AUTO_JSON json_t *instead = jsonx_error_event(&e, err_exit_status(&e));
		r = send_line(fd, instead, none, &again);
	}
	if (r == 0)
		turnstile_told();
}

void collect_close(struct collect *c)
{
	collect_started(c);
	for (int i = 0; i < 2; i++) {
		auto_close(&c->from[i]);
		buf_release(&c->kept[i]);
	}
}
