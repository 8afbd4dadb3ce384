/* SPDX-License-Identifier: Apache-2.0 */
#include "init.h"

#include "auto.h"
#include "jsonx.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

enum { READY_MS = 10000, DEATH_MS = 10000 };

char *init_program(const struct config *cfg)
{
	struct err ignored;
	return config_tool(cfg, "podinit", &ignored);
}

static int run_dir(const struct pod *p)
{
	return open(p->run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int init_adopt(const struct pod *p, pid_t pid, int sock, struct err *e)
{
	struct pollfd pfd = {.fd = sock, .events = POLLIN};
	char byte = 0;
	AUTO_CLOSE int dir = run_dir(p);
	if (dir < 0)
		return err_sys(e, "open %s", p->run);
	if (poll(&pfd, 1, READY_MS) <= 0)
		return err_set(e, ERR_TIMEOUT, "podinit: not ready within %d ms", READY_MS);
	if (recv(sock, &byte, 1, 0) != 1)
		return err_set(e, ERR_FAILED, "podinit ended early");
	AUTO_JSON json_t *j =
		json_pack("{s:i, s:I}", "pid", (int)pid, "start", (json_int_t)proc_start_time(pid));
	if (jsonx_replace_at(dir, "init.json", 0600, j, 0, e) < 0)
		return -1;
	return send(sock, &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : err_sys(e, "podinit");
}

/* A pidfd; -1 with ERR_NOT_FOUND when it is dead or there is none (*known tells which). */
static int open_init(const struct pod *p, bool *known, struct err *e)
{
	AUTO_CLOSE int dir = run_dir(p);
	*known = false;
	if (dir < 0)
		return err_sys(e, "open %s", p->run);
	AUTO_JSON json_t *j = jsonx_read_at(dir, "init.json", 4096, e);
	if (!j)
		return -1;
	*known = true;
	json_int_t pid = jsonx_opt_int(j, "pid", 0);
	if (pid <= 1 || pid > INT_MAX)
		return err_set(e, ERR_BAD_STATE, "init.json: no process id");
	return proc_open((pid_t)pid, (unsigned long long)jsonx_opt_int(j, "start", 0), e);
}

int init_alive(const struct pod *p)
{
	struct err ignored;
	bool known;
	AUTO_CLOSE int fd = open_init(p, &known, &ignored);
	return fd >= 0 ? 1 : known ? 0 : -1;
}

int init_kill(const struct pod *p, struct err *e)
{
	struct err why;
	bool known;
	AUTO_CLOSE int fd = open_init(p, &known, &why);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	if (fd < 0)
		return 0;
	if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(e, "kill podinit");
	/* Its end is the end of every process in the namespace. */
	if (poll(&pfd, 1, DEATH_MS) == 0)
		return err_set(e, ERR_TIMEOUT, "podinit: did not end within %d ms", DEATH_MS);
	return 0;
}
