/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include "auto.h"
#include "log.h"
#include "xalloc.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { MESSAGE_SIZE = 1024 };

/* One datagram. */
static void say(const struct notify *n, const char *text)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t len = n->socket ? strlen(n->socket) : 0;
	if (!len)
		return;
	memcpy(a.sun_path, n->socket, len);
	if (*n->socket == '@')
		a.sun_path[0] = '\0';
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&a, size) < 0)
		log_warn("notify %s: %s", n->socket, strerrordesc_np(errno));
}

static void read_socket(struct notify *n)
{
	const struct sockaddr_un *a = NULL;
	const char *to = getenv("NOTIFY_SOCKET");
	if (!to || (*to != '/' && *to != '@'))
		return;
	if (strlen(to) >= sizeof a->sun_path)
		log_warn("NOTIFY_SOCKET: the path is too long");
	else
		n->socket = xstrdup(to);
}

/* Twice in the time that is allowed, as sd_watchdog_enabled(3) recommends. */
static void read_watchdog(struct notify *n)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	char *end;
	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return;
	long long t = strtoll(usec, &end, 10);
	if (*end || t <= 0 || t == LLONG_MAX)
		log_warn("WATCHDOG_USEC: '%.32s' is no time", usec);
	else
		n->every_ms = t / 2000 ? t / 2000 : 1;
}

void notify_open(struct notify *n, struct loop *l)
{
	*n = (struct notify){.loop = l};
	read_socket(n);
	if (n->socket)
		read_watchdog(n);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void on_timer(struct timer *t)
{
	struct notify *n = t->arg;
	say(n, "WATCHDOG=1");
	loop_timer(n->loop, &n->timer, n->every_ms, on_timer, n);
}

void notify_ready(struct notify *n, const char *status)
{
	char text[MESSAGE_SIZE];
	snprintf(text, sizeof text, "READY=1\nSTATUS=%s", status);
	say(n, text);
	if (n->every_ms && !n->timer.slot)
		on_timer(&(struct timer){.arg = n});
}

void notify_reloading(const struct notify *n)
{
	char text[MESSAGE_SIZE];
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	say(n, text);
}

void notify_stopping(const struct notify *n, const char *status)
{
	char text[MESSAGE_SIZE];
	snprintf(text, sizeof text, "STOPPING=1\nSTATUS=%s", status);
	say(n, text);
}

void notify_close(struct notify *n)
{
	if (n->loop)
		loop_timer_cancel(n->loop, &n->timer);
	free(n->socket);
	*n = (struct notify){.loop = NULL};
}
