/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include "auto.h"
#include "proc.h"
#include "xalloc.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

enum { BATCH = 64 };

struct loop {
	int epfd;
	bool stop;
	/* Watches by slot. epoll carries the slot and a generation, so an event for a watch that
	 * was deleted (and whose memory may be gone) finds no match and is dropped. */
	struct slot {
		struct watch *w;
		uint32_t generation, next_free; /* next_free: 1-based, 0 = none */
	} * slots;
	size_t slot_count;
	uint32_t free_slot;  /* as next_free */
	struct timer **heap; /* 1-based binary heap by due_ms */
	size_t heap_len, heap_cap;
	unsigned turn; /* counts the looks at the timers */
	struct watch signal_watch;
	void (*signal_cb)(int, void *);
	void *signal_arg;
};

struct loop *loop_new(struct err *e)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0) {
		err_sys(e, "epoll_create");
		return NULL;
	}
	struct loop *l = xcalloc(1, sizeof *l);
	l->epfd = fd;
	l->signal_watch = WATCH_NONE;
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->signal_watch.fd >= 0)
		close(l->signal_watch.fd);
	close(l->epfd);
	free(l->slots);
	free(l->heap);
	free(l);
}

static void leave_slot(struct loop *l, size_t at)
{
	struct slot *s = &l->slots[at];
	s->w = NULL;
	s->generation++;
	s->next_free = l->free_slot;
	l->free_slot = (uint32_t)at + 1;
}

static size_t take_slot(struct loop *l, struct watch *w)
{
	if (!l->free_slot) {
		size_t at = l->slot_count, n = at ? 2 * at : 16;
		l->slots = xrealloc(l->slots, n * sizeof *l->slots);
		memset(l->slots + at, 0, (n - at) * sizeof *l->slots);
		l->slot_count = n;
		while (n-- > at)
			leave_slot(l, n);
	}
	struct slot *s = &l->slots[l->free_slot - 1];
	l->free_slot = s->next_free;
	s->w = w;
	return (size_t)(s - l->slots);
}

static struct epoll_event event_of(const struct loop *l, const struct watch *w)
{
	return (struct epoll_event){
		.events = w->events,
		.data.u64 = (uint64_t)l->slots[w->slot].generation << 32 | w->slot,
	};
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	     void (*cb)(struct watch *, uint32_t), void *arg, struct err *e)
{
	*w = (struct watch){.fd = fd, .events = events, .cb = cb, .arg = arg};
	w->slot = take_slot(l, w);
	struct epoll_event ev = event_of(l, w);
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		leave_slot(l, w->slot);
		w->fd = -1;
		return err_sys(e, "epoll add");
	}
	return 0;
}

int loop_modify(struct loop *l, struct watch *w, uint32_t events, struct err *e)
{
	if (w->events == events)
		return 0;
	w->events = events;
	struct epoll_event ev = event_of(l, w);
	return epoll_ctl(l->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? err_sys(e, "epoll modify") : 0;
}

void loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	leave_slot(l, w->slot);
	w->fd = -1;
}

void loop_close(struct loop *l, struct watch *w)
{
	int fd = w->fd;
	loop_del(l, w);
	if (fd >= 0)
		close(fd);
}

static void heap_put(struct loop *l, size_t at, struct timer *t)
{
	l->heap[at] = t;
	t->slot = at;
}

static void heap_up(struct loop *l, size_t at)
{
	struct timer *t = l->heap[at];
	for (; at > 1 && l->heap[at / 2]->due_ms > t->due_ms; at /= 2)
		heap_put(l, at, l->heap[at / 2]);
	heap_put(l, at, t);
}

static void heap_down(struct loop *l, size_t at)
{
	struct timer *t = l->heap[at];
	for (size_t kid; (kid = 2 * at) <= l->heap_len; at = kid) {
		if (kid < l->heap_len && l->heap[kid + 1]->due_ms < l->heap[kid]->due_ms)
			kid++;
		if (l->heap[kid]->due_ms >= t->due_ms)
			break;
		heap_put(l, at, l->heap[kid]);
	}
	heap_put(l, at, t);
}

void loop_timer_cancel(struct loop *l, struct timer *t)
{
	size_t at = t->slot;
	if (!at)
		return;
	t->slot = 0;
	struct timer *last = l->heap[l->heap_len--];
	if (last == t)
		return;
	heap_put(l, at, last);
	heap_up(l, at);
	heap_down(l, last->slot);
}

void loop_timer(struct loop *l, struct timer *t, long long in_ms, void (*cb)(struct timer *),
		void *arg)
{
	loop_timer_cancel(l, t);
	if (l->heap_len + 2 > l->heap_cap) {
		l->heap_cap = l->heap_cap ? 2 * l->heap_cap : 16;
		l->heap = xrealloc(l->heap, l->heap_cap * sizeof(struct timer *));
	}
	*t = (struct timer){.due_ms = proc_now_ms() + in_ms, .cb = cb, .arg = arg, .turn = l->turn};
	heap_put(l, ++l->heap_len, t);
	heap_up(l, l->heap_len);
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct loop *l = w->arg;
	struct signalfd_siginfo si;
	(void)events;
	while (read(w->fd, &si, sizeof si) == sizeof si)
		l->signal_cb((int)si.ssi_signo, l->signal_arg);
}

int loop_signals(struct loop *l, const sigset_t *set, void (*cb)(int signo, void *arg), void *arg,
		 struct err *e)
{
	if (sigprocmask(SIG_BLOCK, set, NULL) < 0)
		return err_sys(e, "block signals");
	AUTO_CLOSE int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "signalfd");
	l->signal_cb = cb;
	l->signal_arg = arg;
	if (loop_add(l, &l->signal_watch, fd, EPOLLIN, on_signal, l, e) < 0)
		return -1;
	(void)TAKE_FD(fd);
	return 0;
}

static int run_timers(struct loop *l)
{
	l->turn++;
	while (l->heap_len && !l->stop) {
		struct timer *t = l->heap[1];
		long long left = t->due_ms - proc_now_ms();
		if (left > 0)
			return left > 1 << 30 ? 1 << 30 : (int)left;
		if (t->turn == l->turn)
			return 0;
		loop_timer_cancel(l, t);
		t->cb(t);
	}
	return -1;
}

int loop_run(struct loop *l, struct err *e)
{
	struct epoll_event batch[BATCH];
	l->stop = false;
	while (!l->stop) {
		int wait_ms = run_timers(l);
		if (l->stop)
			break;
		int n = epoll_wait(l->epfd, batch, BATCH, wait_ms);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "epoll_wait");
		for (int i = 0; i < n && !l->stop; i++) {
			const struct slot *s = &l->slots[batch[i].data.u64 & 0xffffffff];
			if (s->w && s->generation == (uint32_t)(batch[i].data.u64 >> 32))
				s->w->cb(s->w, batch[i].events);
		}
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
