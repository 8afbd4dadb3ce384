/* SPDX-License-Identifier: Apache-2.0 */
#include "event.h"

#include "auto.h"
#include "log.h"

#include <dlfcn.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { EVENT_TIMEOUT_MS = 1000 };

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

/* nanomsg connects in the background and would wait out the whole timeout when nobody listens: a
 * plain connect tells at once. */
static bool somebody_listens(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || strlen(path) >= sizeof sa.sun_path)
		return false;
	memcpy(sa.sun_path, path, strlen(path));
	return connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 || errno == EAGAIN;
}

bool event_heard(const struct state *s)
{
	char address[256];
	return event_address(s->run_path, address, sizeof address) && somebody_listens(address + 6);
}

struct nanomsg {
	void *lib;
	__typeof__(nn_socket) *socket;
	__typeof__(nn_setsockopt) *setsockopt;
	__typeof__(nn_connect) *connect;
	__typeof__(nn_send) *send;
	__typeof__(nn_recv) *recv;
	__typeof__(nn_close) *close;
};

static bool load(struct nanomsg *nn)
{
	static const char *const sonames[] = {"libnanomsg.so.5", "libnanomsg.so.6",
					      "libnanomsg.so"};
	for (size_t i = 0; i < ARRAY_LEN(sonames) && !nn->lib; i++)
		nn->lib = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL);
	if (!nn->lib)
		return false;
	/* The cast by way of an object pointer is what POSIX's dlsym page prescribes. */
	*(void **)&nn->socket = dlsym(nn->lib, "nn_socket");
	*(void **)&nn->setsockopt = dlsym(nn->lib, "nn_setsockopt");
	*(void **)&nn->connect = dlsym(nn->lib, "nn_connect");
	*(void **)&nn->send = dlsym(nn->lib, "nn_send");
	*(void **)&nn->recv = dlsym(nn->lib, "nn_recv");
	*(void **)&nn->close = dlsym(nn->lib, "nn_close");
	return nn->socket && nn->setsockopt && nn->connect && nn->send && nn->recv && nn->close;
}

static bool deliver(const struct nanomsg *nn, const char *address, const char *text, size_t len)
{
	char reply[16];
	int timeout = EVENT_TIMEOUT_MS;
	int s = nn->socket(AF_SP, NN_REQ);
	if (s < 0)
		return false;
	nn->setsockopt(s, NN_SOL_SOCKET, NN_SNDTIMEO, &timeout, sizeof timeout);
	nn->setsockopt(s, NN_SOL_SOCKET, NN_RCVTIMEO, &timeout, sizeof timeout);
	bool ok = nn->connect(s, address) >= 0 && nn->send(s, text, len, 0) >= 0 &&
		  nn->recv(s, reply, sizeof reply, 0) >= 0;
	nn->close(s);
	return ok;
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
	struct nanomsg nn = {0};
	if (!always && daemon_waits_for_us())
		return;
	if (!event_heard(s) || !event_address(s->run_path, address, sizeof address))
		return;
	/* Ids are hex digits and event names ours: nothing here needs escaping. */
	int n = snprintf(text, sizeof text,
			 "{\"event\":\"%s\",\"kind\":\"%s\",\"id\":\"%s\",\"pod\":\"%s\"}", event,
			 kind, id, pod ? pod : "");
	if (n < 0 || (size_t)n >= sizeof text)
		return;
	if (!load(&nn))
		log_debug("event bus: libnanomsg cannot be loaded");
	else if (!deliver(&nn, address, text, (size_t)n))
		log_debug("event bus: no reply from %s", address);
	if (nn.lib)
		dlclose(nn.lib);
}
