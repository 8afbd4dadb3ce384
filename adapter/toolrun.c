/* SPDX-License-Identifier: Apache-2.0 */
#include "toolrun.h"

#include "auto.h"
#include "fs.h"
#include "gate.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

int toolrun_file(const char *name, const void *data, size_t len, struct err *e)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memfd_create");
	if (len && fs_write_all(fd, data, len, e) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "rewind %s", name);
	return TAKE_FD(fd);
}

static void close_one(int *fd)
{
	auto_close(fd);
	*fd = -1;
}

void toolrun_close(struct toolrun *r)
{
	close_one(&r->in);
	close_one(&r->out);
	close_one(&r->err);
	close_one(&r->gate);
}

static int start(struct toolrun *r, const char *const *argv, const char *const *env, int keep,
		 struct err *e)
{
	const int list[] = {keep, -1};
	struct proc_spec spec = PROC_SPEC(argv);
	if ((r->out = toolrun_file("stdout", NULL, 0, e)) < 0 ||
	    (r->err = toolrun_file("stderr", NULL, 0, e)) < 0)
		return -1;
	spec.envp = env;
	spec.in = r->in;
	spec.out = r->out;
	spec.err = r->err;
	spec.keep = list;
	spec.new_group = true;
	return proc_start(&r->proc, &spec, e);
}

int toolrun_start(struct toolrun *r, const char *const *argv, const char *const *env,
		  const char *input, size_t input_len, int secret, struct err *e)
{
	*r = TOOLRUN_NONE;
	if ((!input || (r->in = toolrun_file("stdin", input, input_len, e)) >= 0) &&
	    start(r, argv, env, secret, e) == 0) {
		close_one(&r->in);
		return 0;
	}
	toolrun_close(r);
	return -1;
}

bool toolrun_can_wait(const char *path)
{
	char magic[4];
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic &&
	       memcmp(magic, "\177ELF", sizeof magic) == 0;
}

int toolrun_wait(struct toolrun *r, const char *const *argv, const char *const *env, struct err *e)
{
	int fds[2];
	char gate[32];
	size_t n = 0;
	while (argv[n])
		n++;
	AUTO_FREE const char **words = xcalloc(n + 2, sizeof *words);
	*r = TOOLRUN_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, "socketpair");
	r->gate = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	snprintf(gate, sizeof gate, GATE_OPTION "%d", theirs);
	words[0] = argv[0];
	words[1] = gate;
	memcpy(words + 2, argv + 1, (n - 1) * sizeof *words);
	if ((r->in = toolrun_file("stdin", NULL, 0, e)) >= 0 &&
	    start(r, words, env, theirs, e) == 0)
		return 0;
	toolrun_close(r);
	return -1;
}

int toolrun_begin(struct toolrun *r, const char *input, size_t input_len, const char *req,
		  struct err *e)
{
	char line[GATE_LINE_MAX];
	int n = snprintf(line, sizeof line, "%s\n", req);
	if (n < 0 || (size_t)n >= sizeof line)
		return err_set(e, ERR_UNSUPPORTED, "a request's id of %d bytes", n);
	/* Where the other reads is not moved by that. */
	errno = EIO; /* of a short write */
	if (input_len && pwrite(r->in, input, input_len, 0) != (ssize_t)input_len)
		return err_sys(e, "write stdin");
	if (send(r->gate, line, (size_t)n, MSG_NOSIGNAL) != n)
		return err_sys(e, "write to a tool that waits");
	close_one(&r->in);
	return 0;
}

int toolrun_told(const struct toolrun *r, int *status)
{
	unsigned char byte;
	ssize_t n = recv(r->gate, &byte, sizeof byte, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	*status = byte;
	return 1;
}
