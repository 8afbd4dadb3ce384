/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "console.h"
#include "exec.h"
#include "fs.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int terminal_open(struct terminal *t, int dir, struct err *e)
{
	snprintf(t->name, sizeof t->name, "exec.%d.sock", (int)getpid());
	t->used = true;
	t->listening = console_listen(dir, t->name, e);
	return t->listening < 0 ? -1 : 0;
}

int terminal_accept(struct terminal *t, struct err *e)
{
	if (t->accepted)
		return 0;
	t->master = console_receive(t->listening, e);
	if (t->master < 0)
		return -1;
	t->accepted = true;
	terminal_resize(t);
	/* What is typed belongs to the command's terminal, which interprets it. */
	tty_raw(&t->tty);
	return 0;
}

bool terminal_size(struct winsize *ws)
{
	return ioctl(STDIN_FILENO, TIOCGWINSZ, ws) == 0 ||
	       ioctl(STDOUT_FILENO, TIOCGWINSZ, ws) == 0;
}

void terminal_resize(const struct terminal *t)
{
	struct winsize ws;
	if (t->master >= 0 && terminal_size(&ws))
		ioctl(t->master, TIOCSWINSZ, &ws);
}

void terminal_want(const struct terminal *t, struct pollfd *p)
{
	short master = 0;
	if (t->in_len)
		master |= POLLOUT;
	if (!t->out_len)
		master |= POLLIN;
	p[0] = (struct pollfd){.fd = t->master, .events = master};
	p[1] = (struct pollfd){.fd = t->in_len || t->in_ended || t->master < 0 ? -1 : STDIN_FILENO,
			       .events = POLLIN};
	p[2] = (struct pollfd){.fd = t->out_len ? STDOUT_FILENO : -1, .events = POLLOUT};
	/* As early as can be: the command may ask for the size at once. */
	p[3] = (struct pollfd){.fd = t->accepted ? -1 : t->listening, .events = POLLIN};
	/* A hang-up cannot be masked: with output still to be written it would spin. And while the
	 * runtime opens and closes the slave, one means nothing. */
	if (!master || !t->live)
		p[0].fd = -1;
}

static void take(char *from, size_t *len, ssize_t n)
{
	memmove(from, from + n, *len - (size_t)n);
	*len -= (size_t)n;
}

static void serve_stdin(struct terminal *t)
{
	char typed[sizeof t->in - DETACH_MAX];
	ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
	if (n > 0 && t->tty.raw) {
		t->detached = detach_feed(&t->keys, typed, (size_t)n, t->in, &t->in_len);
		return;
	}
	if (n > 0) {
		memcpy(t->in, typed, t->in_len = (size_t)n);
		return;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* The end of our input is the terminal's end-of-file character. */
	t->in_ended = true;
	t->in[0] = 4;
	t->in_len = 1;
}

void terminal_serve(struct terminal *t, const struct pollfd *p)
{
	struct err ignored; /* told when the command is taken over */
	if (p[3].revents)
		(void)terminal_accept(t, &ignored);
	if (p[1].revents)
		serve_stdin(t);
	if (p[0].revents & POLLOUT && t->in_len) {
		ssize_t n = write(t->master, t->in, t->in_len);
		if (n > 0)
			take(t->in, &t->in_len, n);
	}
	if (p[0].revents & (POLLIN | POLLHUP) && !t->out_len) {
		ssize_t n = read(t->master, t->out, sizeof t->out);
		if (n > 0)
			t->out_len = (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			close(TAKE_FD(t->master));
	}
	/* At most PIPE_BUF bytes after a POLLOUT: this cannot block. */
	if (p[2].revents) {
		ssize_t n = write(STDOUT_FILENO, t->out, t->out_len);
		if (n > 0)
			take(t->out, &t->out_len, n);
		else if (errno != EINTR && errno != EAGAIN)
			t->out_len = 0; /* nobody reads any more */
	}
}

void terminal_finish(struct terminal *t)
{
	struct err ignored;
	while (t->used) {
		if (t->out_len && fs_write_all(STDOUT_FILENO, t->out, t->out_len, &ignored) < 0)
			return;
		ssize_t n = t->master < 0 ? 0 : read(t->master, t->out, sizeof t->out);
		t->out_len = n > 0 ? (size_t)n : 0;
		if (n <= 0)
			return;
	}
}

void terminal_close(struct terminal *t, int dir)
{
	if (!t->used)
		return;
	tty_restore(&t->tty);
	auto_close(&t->master);
	auto_close(&t->listening);
	unlinkat(dir, t->name, 0);
}
