/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include "bus.h"
#include "crilog.h"
#include "svc.h"
#include "xalloc.h"

#include <string.h>

enum { SLOW_MAX = 4 << 20, LISTENERS_MAX = 128 };

#define EVENT(name) RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_##name##_EVENT

struct listener {
	struct listener *next;
	struct feed *feed;
	struct call *call;
};

struct feed {
	struct crispd *d;
	struct listener *head;
	size_t n;
	int64_t last; /* no two events have the same time */
};

struct feed *feed_new(struct crispd *d)
{
	struct feed *f = xcalloc(1, sizeof *f);
	f->d = d;
	return f;
}

static void forget(struct listener *l)
{
	struct listener **p = &l->feed->head;
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	l->feed->n--;
	free(l);
}

void feed_free(struct feed *f)
{
	while (f && f->head)
		forget(f->head);
	free(f);
}

enum feed_phase feed_phase_ctr(const struct ctr *c, bool all)
{
	if (!c || (all ? !c->rec.complete && !c->damage : !ctr_visible(c)))
		return FEED_NONE;
	if (c->damage)
		return FEED_CREATED;
	return c->state == CTR_RUNNING  ? FEED_STARTED
	       : c->state == CTR_EXITED ? FEED_STOPPED
					: FEED_CREATED;
}

enum feed_phase feed_phase_pod(const struct pod *p, bool all)
{
	if (!p || (all ? !p->rec.complete && !p->damage : !pod_visible(p)))
		return FEED_NONE;
	return pod_ready(p) ? FEED_STARTED : FEED_STOPPED;
}

static void on_cancel(void *arg)
{
	forget(arg);
}

static void tell(struct feed *f, const Runtime__V1__ContainerEventResponse *m)
{
	size_t size = protobuf_c_message_get_packed_size(&m->base);
	for (struct listener *l = f->head, *next; l; l = next) {
		struct call *c = l->call;
		next = l->next;
		if (call_queued(c) + size > SLOW_MAX && call_queued(c) > 0) {
			forget(l);
			svc_fail(c, ERR_EXHAUSTED,
				 "events: the client reads too slowly; list, then listen again");
		} else if (!call_send(c, &m->base)) {
			forget(l);
		}
	}
}

/* The types that lie between two phases, in order; how many. */
static size_t events_between(enum feed_phase from, enum feed_phase to, bool ran,
			     Runtime__V1__ContainerEventType out[4])
{
	size_t n = 0;
	if (to == FEED_NONE) {
		if (from == FEED_STARTED)
			out[n++] = EVENT(STOPPED);
		if (from != FEED_NONE)
			out[n++] = EVENT(DELETED);
		return n;
	}
	if (from < FEED_CREATED)
		out[n++] = EVENT(CREATED);
	if (from < FEED_STARTED && (to == FEED_STARTED || (to == FEED_STOPPED && ran)))
		out[n++] = EVENT(STARTED);
	if (from < FEED_STOPPED && to == FEED_STOPPED)
		out[n++] = EVENT(STOPPED);
	return n;
}

static void tell_all(struct feed *f, const char *id, const char *pod_id, struct pod *p,
		     const Runtime__V1__ContainerEventType *types, size_t n)
{
	AUTO_ARENA struct arena a = {0};
	Runtime__V1__ContainerEventResponse m = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
	m.container_id = (char *)id;
	if (p)
		m.pod_sandbox_status = status_pod(p, &a);
	/* What is left of a pod that went is how it was. */
	if (p && strcmp(id, pod_id) == 0 && types[n - 1] == EVENT(DELETED))
		m.pod_sandbox_status->state = RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
	m.containers_statuses = status_ctrs_of(f->d, pod_id, &m.n_containers_statuses, &a);
	for (size_t i = 0; i < n; i++) {
		int64_t now = record_now_ns();
		f->last = m.created_at = now > f->last ? now : f->last + 1;
		m.container_event_type = types[i];
		tell(f, &m);
	}
}

void feed_ctr(struct feed *f, const char *id, const char *pod, enum feed_phase from,
	      enum feed_phase to, bool ran)
{
	Runtime__V1__ContainerEventType types[4];
	size_t n = f && f->head ? events_between(from, to, ran, types) : 0;
	if (!n)
		return;
	struct pod *p = index_pod(f->d->index, pod);
	tell_all(f, id, pod, p && pod_visible(p) ? p : NULL, types, n);
}

void feed_pod(struct feed *f, struct pod *p, enum feed_phase from, enum feed_phase to)
{
	Runtime__V1__ContainerEventType types[4];
	size_t n = f && f->head ? events_between(from, to, false, types) : 0;
	if (n)
		tell_all(f, p->o.id, p->o.id, p, types, n);
}

static void stamp(char now[CRILOG_STAMP_SIZE])
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	crilog_stamp(now, &ts);
}

void feed_bus_images(struct feed *f)
{
	char now[CRILOG_STAMP_SIZE];
	stamp(now);
	if (f)
		events_tell(f->d->events, json_pack("{s:s, s:s, s:s, s:s}", "time", now, "event",
						    "changed", "kind", "image", "id", ""));
}

static void tell_bus(struct feed *f, const char *kind, const char *id, const char *pod,
		     const char *name, const struct exit_record *x,
		     const Runtime__V1__ContainerEventType *types, size_t n)
{
	static const char *const words[] = {"created", "started", "stopped", "deleted"};
	char now[CRILOG_STAMP_SIZE];
	stamp(now);
	for (size_t i = 0; i < n; i++) {
		json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "time", now, "event",
				      words[(unsigned)types[i] % 4], "kind", kind, "id", id, "pod",
				      pod, "name", name);
		if (j && x && types[i] == EVENT(STOPPED)) {
			json_object_set_new(j, "exit_code", json_integer(x->exit_code));
			json_object_set_new(j, "reason", json_string(x->reason));
		}
		events_tell(f->d->events, j);
	}
}

void feed_bus_ctr(struct feed *f, const struct ctr *c, enum feed_phase from, enum feed_phase to,
		  bool ran)
{
	Runtime__V1__ContainerEventType types[4];
	size_t n = f ? events_between(from, to, ran, types) : 0;
	if (n)
		tell_bus(f, "container", c->o.id, c->rec.pod_id, c->config->metadata->name,
			 c->state == CTR_EXITED ? &c->exit : NULL, types, n);
}

void feed_bus_pod(struct feed *f, const struct pod *p, enum feed_phase from, enum feed_phase to)
{
	Runtime__V1__ContainerEventType types[4];
	size_t n = f ? events_between(from, to, false, types) : 0;
	if (n)
		tell_bus(f, "pod", p->o.id, p->o.id, p->config->metadata->name, NULL, types, n);
}

void svc_get_container_events(struct call *c, const ProtobufCMessage *request)
{
	struct feed *f = call_daemon(c)->feed;
	(void)request;
	if (f->n >= LISTENERS_MAX) {
		svc_fail(c, ERR_EXHAUSTED, "events: %d clients listen already", LISTENERS_MAX);
		return;
	}
	struct listener *l = xcalloc(1, sizeof *l);
	*l = (struct listener){.next = f->head, .feed = f, .call = c};
	f->head = l;
	f->n++;
	call_on_cancel(c, on_cancel, l);
	call_open(c);
}
