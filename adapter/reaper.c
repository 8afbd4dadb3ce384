/* SPDX-License-Identifier: Apache-2.0 */
#include "reaper.h"

#include "auto.h"
#include "log.h"
#include "loop.h"
#include "xalloc.h"

#include <sys/epoll.h>

struct leaving {
	struct leaving *next, **link; /* link: what points at us in the list */
	struct reaper *r;
	struct proc proc;
	struct watch watch;
};

struct reaper {
	struct crispd *d;
	struct leaving *head;
};

struct reaper *reaper_new(struct crispd *d)
{
	struct reaper *r = xcalloc(1, sizeof *r);
	r->d = d;
	return r;
}

static void forget(struct leaving *l)
{
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
	loop_del(l->r->d->loop, &l->watch);
	auto_close(&l->proc.pidfd);
	free(l);
}

void reaper_free(struct reaper *r)
{
	for (struct leaving *l = r ? r->head : NULL, *next; l; l = next) {
		next = l->next;
		forget(l);
	}
	free(r);
}

static void on_end(struct watch *w, uint32_t events)
{
	struct leaving *l = w->arg;
	struct proc_result ignored;
	struct err e;
	(void)events;
	if (proc_try_reap(&l->proc, &ignored, &e) != 0)
		forget(l);
}

void reaper_take(struct reaper *r, struct proc *p)
{
	struct leaving *l = xcalloc(1, sizeof *l);
	struct err e;
	*l = (struct leaving){
		.next = r->head, .link = &r->head, .r = r, .proc = *p, .watch = WATCH_NONE};
	if (l->next)
		l->next->link = &l->next;
	r->head = l;
	*p = PROC_NONE;
	if (loop_add(r->d->loop, &l->watch, l->proc.pidfd, EPOLLIN, on_end, l, &e) < 0) {
		log_err(&e);
		forget(l);
	}
}
