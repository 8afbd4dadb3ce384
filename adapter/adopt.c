/* SPDX-License-Identifier: Apache-2.0 */
#include "adopt.h"

#include "auto.h"
#include "index.h"
#include "jobs.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { ARGS_MAX = 32 };

struct adoption {
	struct adoption *next;
	struct adopter *all;
	char id[ID_SIZE];
	int64_t monitor, monitor_start; /* the lost one's */
	struct timer begin;
	struct proc proc;
	struct watch watch;
};

struct adopter {
	struct crispd *d;
	struct adoption *head;
};

struct adopter *adopter_new(struct crispd *d)
{
	struct adopter *a = xcalloc(1, sizeof *a);
	a->d = d;
	return a;
}

static void forget_process(struct adoption *x)
{
	loop_del(x->all->d->loop, &x->watch);
	auto_close(&x->proc.pidfd);
	x->proc.pidfd = -1;
}

void adopter_free(struct adopter *a)
{
	while (a && a->head) {
		struct adoption *x = a->head;
		a->head = x->next;
		loop_timer_cancel(a->d->loop, &x->begin);
		forget_process(x); /* it goes on by itself */
		free(x);
	}
	free(a);
}

static void on_end(struct watch *w, uint32_t events)
{
	struct adoption *x = w->arg;
	struct proc_result r;
	struct err e;
	(void)events;
	int n = proc_try_reap(&x->proc, &r, &e);
	if (n == 0)
		return;
	if (n < 0 || !r.exited || r.status != 0)
		log_warn("container %s has lost its monitor and gets no new one", x->id);
	forget_process(x);
	index_refresh_ctr(x->all->d->index, x->id);
}

static void on_begin(struct timer *t)
{
	struct adoption *x = t->arg;
	struct crispd *d = x->all->d;
	const char *argv[ARGS_MAX] = {NULL};
	struct err e;
	size_t n = jobs_argv(d->jobs, "ctrrun", argv);
	argv[n++] = "adopt";
	argv[n++] = x->id;
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = jobs_env(d->jobs, "adopt", false);
	log_warn("container %s has lost its monitor", x->id);
	if (proc_start(&x->proc, &spec, &e) < 0 ||
	    loop_add(d->loop, &x->watch, x->proc.pidfd, EPOLLIN, on_end, x, &e) < 0)
		log_warn("container %s: no new monitor: %s", x->id, e.msg);
}

void adopter_want(struct adopter *a, const struct ctr_record *r)
{
	for (struct adoption *x = a->head; x; x = x->next)
		if (x->monitor == r->monitor && x->monitor_start == r->monitor_start)
			return;
	struct adoption *x = xcalloc(1, sizeof *x);
	x->next = a->head;
	a->head = x;
	x->all = a;
	x->proc = PROC_NONE;
	x->watch = WATCH_NONE;
	x->monitor = r->monitor;
	x->monitor_start = r->monitor_start;
	snprintf(x->id, sizeof x->id, "%s", r->id);
	loop_timer(a->d->loop, &x->begin, 0, on_begin, x);
}
