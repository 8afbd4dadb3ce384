/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include "auto.h"
#include "fs.h"
#include "grpc.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { LOG_MAX = 1 << 16, EVENT_MAX = 1 << 20 };

const char *publish_topic, *publish_space;

void event_take(const Shim__Any *event)
{
	static const char type[] = "containerd.events.TaskOOM";
	struct err ignored;
	const char *name = event->type_url;
	if (strncmp(name, "types.containerd.io/", 20) == 0)
		name += 20;
	if (strcmp(name, type) != 0)
		return;
	Shim__TaskOOM *oom = shim__task_oom__unpack(NULL, event->value.len, event->value.data);
	if (!oom)
		return;
	AUTO_PLACE struct place p = PLACE_NONE;
	if (place_open(&p, oom->container_id, false, &ignored) == 0)
		(void)fs_replace_file_at(p.dir, "oom", 0600, "", 0, 0, &ignored);
	shim__task_oom__free_unpacked(oom, NULL);
}

/* ---- the server */

static void drop(struct event_client *c)
{
	if (c->watch.fd < 0)
		return;
	int fd = c->watch.fd;
	loop_del(c->s->loop, &c->watch);
	close(fd);
	ttrpc_deframer_release(&c->in);
	c->watch = WATCH_NONE;
	if (*c->guards)
		c->s->end_command(c->s->arg, c->guards);
	*c->guards = '\0';
}

/* What a method asks for; false when there is no such method. */
static bool take_call(struct event_client *c, const Shim__Request *r)
{
	if (strcmp(r->method, "Guard") == 0) {
		Shim__IdRequest *id =
			shim__id_request__unpack(NULL, r->payload.len, r->payload.data);
		if (id) {
			snprintf(c->guards, sizeof c->guards, "%s", id->exec_id);
			shim__id_request__free_unpacked(id, NULL);
		}
		return true;
	}
	if (strcmp(r->method, "Done") == 0) {
		*c->guards = '\0';
		return true;
	}
	if (strcmp(r->method, "Forward") != 0)
		return false;
	Shim__ForwardRequest *f =
		shim__forward_request__unpack(NULL, r->payload.len, r->payload.data);
	if (f && f->envelope && f->envelope->event)
		event_take(f->envelope->event);
	if (f)
		shim__forward_request__free_unpacked(f, NULL);
	return true;
}

/* The answer to one request, into out. */
static int answer(struct event_client *c, struct buf *out, struct err *e)
{
	const struct ttrpc_deframer *d = &c->in;
	Shim__Empty empty = SHIM__EMPTY__INIT;
	Shim__Request *r = shim__request__unpack(NULL, d->data.len, (const uint8_t *)d->data.data);
	if (!r || d->type != TTRPC_REQUEST) {
		if (r)
			shim__request__free_unpacked(r, NULL);
		return err_set(e, ERR_BAD_INPUT, "no request");
	}
	bool known = take_call(c, r);
	shim__request__free_unpacked(r, NULL);
	return ttrpc_add_response(out, d->stream, known ? 0 : GRPC_UNIMPLEMENTED, "no such method",
				  &empty.base, e);
}

static int serve(struct event_client *c, const uint8_t *data, size_t len)
{
	struct err e;
	AUTO_BUF struct buf out = BUF_INIT(EVENT_OUT_MAX);
	int r;
	do {
		r = ttrpc_deframe(&c->in, &data, &len, &e);
		if (r < 0 || (r == 1 && answer(c, &out, &e) < 0))
			return -1;
	} while (r == 1 && len);
	/* Answers are a few bytes: who lets them fill the socket's buffer does not read. */
	return out.len && send(c->watch.fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
				       (ssize_t)out.len
		       ? -1
		       : 0;
}

static void on_client(struct watch *w, uint32_t events)
{
	static uint8_t bytes[8192];
	struct event_client *c = w->arg;
	(void)events;
	ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || serve(c, bytes, (size_t)n) < 0)
		drop(c);
}

static void on_connection(struct watch *w, uint32_t events)
{
	struct event_server *s = w->arg;
	struct err e;
	struct ucred who;
	socklen_t len = sizeof who;
	(void)events;
	AUTO_CLOSE int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 ||
	    (who.uid != 0 && who.uid != geteuid()))
		return;
	for (int i = 0; i < EVENT_CLIENTS; i++) {
		struct event_client *c = &s->client[i];
		if (c->watch.fd >= 0)
			continue;
		c->s = s;
		ttrpc_deframer_init(&c->in);
		if (loop_add(s->loop, &c->watch, fd, EPOLLIN, on_client, c, &e) == 0)
			(void)TAKE_FD(fd);
		return;
	}
}

/* A path that is short enough for a socket, as the shim will open it; ours as long as we live. */
static int listen_at(struct place *p, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	AUTO_FREE char *path = xasprintf("%s/.e%d", opts.root, (int)getpid());
	if (strlen(path) >= sizeof sa.sun_path) {
		free(path);
		path = xasprintf("/proc/%d/fd/%d/events", (int)getpid(), p->dir);
	}
	if (strlen(path) >= sizeof sa.sun_path)
		return err_set(e, ERR_BAD_INPUT, "%s: path too long", path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	unlink(path);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    listen(fd, EVENT_CLIENTS) < 0)
		return err_sys(e, "event socket %s", path);
	record_string(&p->rec.events, path);
	return TAKE_FD(fd);
}

/* ---- the log */

static void on_log(struct watch *w, uint32_t events)
{
	static char bytes[4096];
	struct event_server *s = w->arg;
	(void)events;
	ssize_t n = read(w->fd, bytes, sizeof bytes);
	/* The first part says most, and there is no end to what a shim can log. */
	if (n > 0 && s->logged < LOG_MAX && write(s->log_to, bytes, (size_t)n) == n)
		s->logged += (size_t)n;
}

static int open_log(struct event_server *s, struct place *p, struct err *e)
{
	AUTO_CLOSE int fifo = -1;
	if (mkfifoat(p->dir, "log", 0600) < 0 && errno != EEXIST)
		return err_sys(e, "make FIFO log");
	/* Also for writing: so the shim never waits for us, and we never for it. */
	fifo = openat(p->dir, "log", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	s->log_to = openat(p->dir, "shim.log",
			   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fifo < 0 || s->log_to < 0)
		return err_sys(e, "open the shim's log");
	if (loop_add(s->loop, &s->log, fifo, EPOLLIN, on_log, s, e) < 0)
		return -1;
	(void)TAKE_FD(fifo);
	return 0;
}

int events_open(struct event_server *s, struct loop *l, struct place *p, struct err *e)
{
	s->loop = l;
	s->listen = s->log = WATCH_NONE;
	s->log_to = -1;
	for (int i = 0; i < EVENT_CLIENTS; i++)
		s->client[i].watch = WATCH_NONE;
	AUTO_CLOSE int fd = listen_at(p, e);
	if (fd < 0 || loop_add(l, &s->listen, fd, EPOLLIN, on_connection, s, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return open_log(s, p, e);
}

void events_close(struct event_server *s)
{
	struct watch *all[] = {&s->listen, &s->log};
	if (!s->loop)
		return;
	for (int i = 0; i < EVENT_CLIENTS; i++) {
		*s->client[i].guards = '\0';
		drop(&s->client[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int fd = all[i]->fd;
		loop_del(s->loop, all[i]);
		auto_close(&fd);
	}
	auto_close(&s->log_to);
}

/* ---- a command's stand-in */

enum { GUARD_MS = 2000 };

static int call(struct ttrpc *t, const char *method, const char *exec, struct err *e)
{
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	ProtobufCMessage *answered;
	r.exec_id = (char *)exec;
	if (ttrpc_call(t, "crisp.StandIn", method, &r.base, &shim__empty__descriptor,
		       proc_now_ms() + GUARD_MS, &answered, e) < 0)
		return -1;
	protobuf_c_message_free_unpacked(answered, NULL);
	return 0;
}

void events_guard(struct ttrpc *t, const struct place *p, const char *exec)
{
	struct err e;
	AUTO_FREE char *address = xasprintf("unix://%s", p->rec.events);
	if (ttrpc_dial(t, address, "the container's stand-in", &e) == 0 &&
	    call(t, "Guard", exec, &e) == 0)
		return;
	log_info("%s", e.msg);
	ttrpc_close(t);
}

void events_done(struct ttrpc *t)
{
	struct err e;
	if (t->fd >= 0 && call(t, "Done", "", &e) < 0)
		log_info("%s", e.msg);
	ttrpc_close(t);
}

/* ---- events by program: what shims without TTRPC_ADDRESS run, the event on standard input */

int verb_publish(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(EVENT_MAX);
	(void)c;
	(void)argc;
	(void)argv;
	for (;;) {
		if (buf_reserve(&b, 4096, e) < 0)
			return -1;
		ssize_t n = read(0, b.data + b.len, 4096);
		if (n < 0)
			return err_sys(e, "standard input");
		if (n == 0)
			break;
		buf_grew(&b, (size_t)n);
	}
	Shim__Any *event = shim__any__unpack(NULL, b.len, (const uint8_t *)b.data);
	if (!event)
		return err_set(e, ERR_BAD_INPUT, "standard input: not an event");
	event_take(event);
	shim__any__free_unpacked(event, NULL);
	return 0;
}
