/* SPDX-License-Identifier: Apache-2.0 */
/* A person at a running container's streams. The monitor hands over the ends (ctrmon(1)). */
#include "attach.h"

#include "auto.h"
#include "ctr.h"
#include "exec.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "tty.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

enum { OWN_FAILURE = 125, EXIT_WAIT_MS = 5000, CHUNK = 32768 };

const char *attach_keys;
bool attach_no_stdin;

enum { P_CTL, P_SIGNALS, P_STDIN, P_IN, P_OUT, P_ERR, POLLS };

struct session {
	struct ctr k;
	int ctl, signals;
	int fd[3]; /* the container's stdin, stdout, stderr; -1 = none (any more) */
	struct tty tty;
	struct detach keys;
	char in[4096 + DETACH_MAX];
	size_t in_len;
	bool stdin_ended, detached, dropped;
	int signo;
};

static void take_descriptors(struct session *s, json_t *j, const struct msghdr *msg)
{
	static const char *const names[3] = {"stdin", "stdout", "stderr"};
	const struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int got[3], n = 0, used = 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof *got);
		memcpy(got, CMSG_DATA(c), (size_t)n * sizeof *got);
	}
	for (int i = 0; i < 3; i++)
		if (jsonx_opt_int(j, names[i], 0) && used < n)
			s->fd[i] = got[used++];
	while (used < n)
		close(got[used++]);
}

static int ask(struct session *s, struct err *e)
{
	char answer[8192];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec iov = {answer, sizeof answer};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof control};
	s->ctl = ctl_send(&s->k,
			  attach_no_stdin
				  ? "{\"op\":\"attach\",\"stdout\":1,\"stderr\":1}"
				  : "{\"op\":\"attach\",\"stdin\":1,\"stdout\":1,\"stderr\":1}",
			  e);
	if (s->ctl < 0)
		return -1;
	ssize_t n = recvmsg(s->ctl, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return err_set(e, ERR_UNAVAILABLE, "the monitor does not answer");
	AUTO_JSON json_t *j = jsonx_parse(answer, (size_t)n, "monitor", e);
	if (!j)
		return -1;
	take_descriptors(s, j, &msg);
	if (jsonx_opt_bool(j, "ok", false))
		return 0;
	return err_set(e, err_kind_of_name(jsonx_opt_string(j, "code", "")), "%s",
		       jsonx_opt_string(j, "msg", "no reason given"));
}

static void tell(const struct session *s, const char *text)
{
	if (s->ctl >= 0)
		(void)send(s->ctl, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void resize(const struct session *s)
{
	char text[80];
	struct winsize ws;
	if (!s->k.rec.tty || !terminal_size(&ws))
		return;
	snprintf(text, sizeof text, "{\"op\":\"resize\",\"width\":%u,\"height\":%u}", ws.ws_col,
		 ws.ws_row);
	tell(s, text);
}

static int prepare_signals(struct session *s, struct err *e)
{
	sigset_t set;
	const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH};
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		sigaddset(&set, caught[i]);
	proc_ignore(SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, "block signals");
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? err_sys(e, "signalfd") : 0;
}

static void take_signals(struct session *s)
{
	struct signalfd_siginfo si;
	while (read(s->signals, &si, sizeof si) == sizeof si) {
		if (si.ssi_signo == SIGWINCH)
			resize(s);
		else
			s->signo = (int)si.ssi_signo;
	}
}

static void end_stdin(struct session *s)
{
	s->stdin_ended = true;
	/* The terminal's own end-of-file character, or the pipe's end. */
	if (s->k.rec.tty) {
		s->in[s->in_len++] = 4;
		return;
	}
	if (s->in_len)
		return;
	auto_close(&s->fd[0]);
	s->fd[0] = -1;
	tell(s, "{\"op\":\"stdin_end\"}");
}

static void read_stdin(struct session *s)
{
	char typed[4096];
	ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		end_stdin(s);
	else if (s->tty.raw)
		s->detached = detach_feed(&s->keys, typed, (size_t)n, s->in, &s->in_len);
	else
		memcpy(s->in, typed, s->in_len = (size_t)n);
}

static void write_stdin(struct session *s)
{
	ssize_t n = write(s->fd[0], s->in, s->in_len);
	if (n > 0) {
		memmove(s->in, s->in + n, s->in_len - (size_t)n);
		s->in_len -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		close(TAKE_FD(s->fd[0]));
		s->in_len = 0;
	}
	if (s->stdin_ended && !s->in_len && s->fd[0] >= 0 && !s->k.rec.tty)
		end_stdin(s);
}

static void copy_out(struct session *s, int which)
{
	static char chunk[CHUNK];
	struct err ignored;
	ssize_t n = read(s->fd[which], chunk, sizeof chunk);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || fs_write_all(which, chunk, (size_t)n, &ignored) < 0)
		close(TAKE_FD(s->fd[which]));
}

static void hear_monitor(struct session *s)
{
	char text[8192];
	ssize_t n = recv(s->ctl, text, sizeof text - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	text[n > 0 ? n : 0] = '\0';
	if (n > 0 && strstr(text, "\"dropped\""))
		s->dropped = true;
	else if (n <= 0)
		close(TAKE_FD(s->ctl));
}

/* Until the streams have ended, or the person has gone. */
static int serve(struct session *s, struct err *e)
{
	while (s->fd[1] >= 0 || s->fd[2] >= 0 || s->ctl >= 0) {
		bool read_more = s->fd[0] >= 0 && !s->in_len && !s->stdin_ended;
		struct pollfd p[POLLS] = {
			[P_CTL] = {.fd = s->ctl, .events = POLLIN},
			[P_SIGNALS] = {.fd = s->signals, .events = POLLIN},
			[P_STDIN] = {.fd = read_more ? STDIN_FILENO : -1, .events = POLLIN},
			[P_IN] = {.fd = s->in_len ? s->fd[0] : -1, .events = POLLOUT},
			[P_OUT] = {.fd = s->fd[1], .events = POLLIN},
			[P_ERR] = {.fd = s->fd[2], .events = POLLIN},
		};
		if (poll(p, POLLS, -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (p[P_SIGNALS].revents)
			take_signals(s);
		for (int i = 1; i < 3; i++)
			if (p[P_IN + i].revents)
				copy_out(s, i);
		if (p[P_IN].revents)
			write_stdin(s);
		if (p[P_STDIN].revents)
			read_stdin(s);
		if (p[P_CTL].revents)
			hear_monitor(s);
		if (s->signo || s->detached)
			return 0;
		if (s->dropped && s->fd[1] < 0 && s->fd[2] < 0)
			return err_set(e, ERR_EXHAUSTED,
				       "too slow for the container's output; it goes on");
	}
	return 0;
}

static int begin(struct session *s, struct tool_ctx *c, const char *typed, struct err *e)
{
	if (detach_parse(&s->keys, attach_keys ? attach_keys : c->cfg.detach_keys, e) < 0 ||
	    ctr_open(&s->k, c, typed, 0, e) < 0)
		return -1;
	if (s->k.state != CTR_RUNNING && s->k.state != CTR_CREATED)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", s->k.id,
			       ctr_state_name(s->k.state));
	ctr_try_adopt(&s->k);
	return prepare_signals(s, e) < 0 || ask(s, e) < 0 ? -1 : 0;
}

/* As the container's own: its exit status when it has ended, 0 when it goes on without us. */
static int outcome(struct session *s, struct err *e)
{
	if (s->signo)
		return 128 + s->signo;
	if (s->detached)
		return 0;
	int r = ctr_wait_exit(&s->k, EXIT_WAIT_MS, e);
	if (r < 0)
		return -1;
	return r ? (int)s->k.exit.exit_code : 0;
}

int verb_attach(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct session s = {.k = CTR_NONE, .ctl = -1, .signals = -1, .fd = {-1, -1, -1}};
	(void)argc;
	int r = begin(&s, c, argv[0], e);
	if (r == 0) {
		if (s.k.rec.tty && s.fd[0] >= 0)
			tty_raw(&s.tty);
		resize(&s);
		r = serve(&s, e);
	}
	tty_restore(&s.tty);
	if (r == 0)
		r = outcome(&s, e);
	int fds[] = {s.ctl, s.signals, s.fd[0], s.fd[1], s.fd[2]};
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		auto_close(&fds[i]);
	ctr_release(&s.k);
	return r;
}
