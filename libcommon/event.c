/* SPDX-License-Identifier: Apache-2.0 */
#include "event.h"

#include "auto.h"
#include "log.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

static bool ipc_address(const char *run_path, const char *name, char *out, size_t size)
{
	int n = snprintf(out, size, "ipc://%s/%s", run_path, name);
	/* nanomsg puts what follows ipc:// into a sockaddr_un. */
	return n > 0 && (size_t)n < size &&
	       (size_t)n - 6 < sizeof(((struct sockaddr_un *)0)->sun_path);
}

bool event_address(const char *run_path, char *out, size_t size)
{
	return ipc_address(run_path, "events.ipc", out, size);
}

bool event_feed_address(const char *run_path, char *out, size_t size)
{
	return ipc_address(run_path, "feed.ipc", out, size);
}

/* Waits for a place in the queue of who listens, as long as for everything else. */
static int reach(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	static const struct timeval patience = {.tv_sec = 1};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || strlen(path) >= sizeof sa.sun_path)
		return -1;
	memcpy(sa.sun_path, path, strlen(path));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -1 : TAKE_FD(fd);
}

bool event_heard(const struct state *s)
{
	char address[256];
	if (!event_address(s->run_path, address, sizeof address))
		return false;
	AUTO_CLOSE int fd = reach(address + 6);
	return fd >= 0 || errno == EAGAIN;
}

/* One request of the scalability protocols over a stream (RFCs sp-ipc-mapping-01, sp-request-reply-01):
 * either side begins with 8 bytes, zero, "SP", zero, the protocol in 16 bits, 16 more of zero; a
 * message is the byte 1, its length in 64 bits, then itself, here after 32 bits of a request's
 * number, whose highest bit says that no further hop's number follows. The reply has the same. */
enum { GREETING = 8, MESSAGE_HEAD = 9, NUMBER = 4, REPLY = sizeof "ok" - 1, REQ = 0x30 };

static bool read_all(int fd, size_t len)
{
	char unread[64];
	while (len > 0) {
		ssize_t n = read(fd, unread, len < sizeof unread ? len : sizeof unread);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		len -= (size_t)n;
	}
	return true;
}

/* libnanomsg would be loaded, connect in the background, start a thread, wait for it and unload. */
static bool deliver(int fd, const char *text, size_t len)
{
	unsigned char head[GREETING + MESSAGE_HEAD + NUMBER] = {0, 'S', 'P', 0, 0, REQ, 0, 0, 1};
	for (size_t i = 0; i < 8; i++)
		head[GREETING + 1 + i] = (unsigned char)((uint64_t)(len + NUMBER) >> (56 - 8 * i));
	head[GREETING + MESSAGE_HEAD] = 0x80;
	struct iovec v[] = {{.iov_base = head, .iov_len = sizeof head},
			    {.iov_base = (char *)text, .iov_len = len}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)(sizeof head + len) &&
	       read_all(fd, GREETING + MESSAGE_HEAD + NUMBER + REPLY);
}

/* The crispd that started this process is still its parent, and learns all from its end. Not so
 * when it has died meanwhile: then the next one wants to hear. */
static bool daemon_waits_for_us(void)
{
	const char *daemon = getenv("CRISP_DAEMON");
	if (!getenv("CRISP_REQ"))
		return false;
	return !daemon || strtol(daemon, NULL, 10) == getppid();
}

void event_publish(const struct state *s, const char *event, const char *kind, const char *id,
		   const char *pod, bool always)
{
	char address[256], text[512];
	if (!always && daemon_waits_for_us())
		return;
	/* Ids are hex digits and event names ours: nothing here needs escaping. */
	int n = snprintf(text, sizeof text,
			 "{\"event\":\"%s\",\"kind\":\"%s\",\"id\":\"%s\",\"pod\":\"%s\"}", event,
			 kind, id, pod ? pod : "");
	if (n < 0 || (size_t)n >= sizeof text ||
	    !event_address(s->run_path, address, sizeof address))
		return;
	AUTO_CLOSE int fd = reach(address + 6);
	if (fd >= 0 && !deliver(fd, text, (size_t)n))
		log_debug("event bus: no reply from %s", address);
}
