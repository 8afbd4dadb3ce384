/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's control socket. */
#include "auto.h"
#include "ctr.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { REPLY_MAX = 8192, MONITOR_TIMEOUT_S = 10 };

int ctl_send(const struct ctr *k, const char *request, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = MONITOR_TIMEOUT_S};
	AUTO_CLOSE int dir = object_open_run(&k->c->st, OBJ_CONTAINER, k->id, false, e);
	if (dir < 0)
		return -1;
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/ctl.sock", dir);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return err_set(e, ERR_UNAVAILABLE, "the monitor does not answer: %s",
			       strerrordesc_np(errno));
	return TAKE_FD(fd);
}

json_t *ctl_answer(const struct ctr *k, const char *request, struct err *e)
{
	char answer[REPLY_MAX];
	AUTO_CLOSE int fd = ctl_send(k, request, e);
	if (fd < 0)
		return NULL;
	ssize_t n = recv(fd, answer, sizeof answer, 0);
	if (n <= 0)
		return err_set_p(e, ERR_UNAVAILABLE, "the monitor does not answer");
	AUTO_JSON json_t *j = jsonx_parse(answer, (size_t)n, "monitor", e);
	if (!j)
		return NULL;
	if (jsonx_opt_bool(j, "ok", false))
		return json_incref(j);
	return err_set_p(e, err_kind_of_name(jsonx_opt_string(j, "code", "")), "%s",
			 jsonx_opt_string(j, "msg", "no reason given"));
}

int ctl_ask(const struct ctr *k, const char *request, struct err *e)
{
	AUTO_JSON json_t *j = ctl_answer(k, request, e);
	return j ? 0 : -1;
}
