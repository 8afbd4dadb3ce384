/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include "auto.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

int program_start(struct program *p, struct proc_spec *spec, bool both, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int theirs = fds[1];
	p->out = fds[0];
	fcntl(p->out, F_SETFL, O_NONBLOCK);
	spec->err = theirs;
	if (both)
		spec->out = theirs;
	spec->new_group = true;
	spec->die_with_parent = true;
	return proc_start(&p->proc, spec, e);
}

void program_listen(struct program *p)
{
	char chunk[4096];
	struct err ignored;
	while (p->out >= 0) {
		ssize_t n = read(p->out, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		size_t room = p->says.limit - p->says.len;
		if (n > 0)
			(void)buf_add(&p->says, chunk, (size_t)n < room ? (size_t)n : room,
				      &ignored);
		else
			close(TAKE_FD(p->out));
	}
}

int program_wait(struct program *p, struct engine *en, long seconds, struct err *e)
{
	long long until = proc_now_ms() + seconds * 1000LL;
	while (!p->ended) {
		if (proc_now_ms() >= until)
			return 0;
		engine_watch(en, p->proc.pidfd, POLLIN, &p->ended);
		if (p->out >= 0)
			engine_watch(en, p->out, POLLIN, &p->can_read);
		engine_wake(en, until);
		if (engine_wait(en, e) < 0)
			return -1;
		/* After the look at its end: what it wrote before is there by now. */
		program_listen(p);
	}
	return 1;
}

void program_release(struct program *p)
{
	struct proc_result r;
	struct err ignored;
	if (p->proc.pid > 0) {
		proc_kill(&p->proc, SIGKILL);
		(void)proc_wait(&p->proc, -1, &r, &ignored);
	}
	auto_close(&p->out);
	if (p->says.data)
		explicit_bzero(p->says.data, p->says.len);
	buf_release(&p->says);
}
