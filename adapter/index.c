/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"

#include "adopt.h"
#include "auto.h"
#include "feed.h"
#include "index_load.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BURIAL_MS = 1000, RESERVED_FDS = 256 };
/* What an object takes of the heap, about; what malloc gives back to the kernel by default. */
enum { OBJECT_BYTES = 2560, RESERVE_MAX = 64 << 20, TRIM_BYTES = 128 << 10 };

struct index {
	struct crispd *d;
	struct table pods, ctrs;
	struct images *images;
	struct adopter *adopter;
	int max_fd; /* of a descriptor for a watch */
};

struct pod *index_pod(const struct index *ix, const char *typed)
{
	return (struct pod *)table_find_typed(&ix->pods, typed);
}

struct ctr *index_ctr(const struct index *ix, const char *typed)
{
	return (struct ctr *)table_find_typed(&ix->ctrs, typed);
}

size_t index_n_pods(const struct index *ix)
{
	return ix->pods.n;
}

struct pod *index_pod_at(const struct index *ix, size_t i)
{
	return (struct pod *)ix->pods.all[i];
}

size_t index_n_ctrs(const struct index *ix)
{
	return ix->ctrs.n;
}

struct ctr *index_ctr_at(const struct index *ix, size_t i)
{
	return (struct ctr *)ix->ctrs.all[i];
}

struct images *index_image_store(const struct index *ix)
{
	return ix->images;
}

void index_refresh_images(struct index *ix)
{
	images_refresh(ix->images);
	feed_bus_images(ix->d->feed);
}

bool pod_visible(const struct pod *p)
{
	if (p->hidden)
		return false;
	return p->damage || p->rec.complete;
}

bool pod_ready(const struct pod *p)
{
	return !p->damage && !p->sandbox_ended && strcmp(p->rec.state, "ready") == 0 &&
	       strcmp(p->rec.boot_id, state_boot_id()) == 0;
}

bool ctr_live(const struct ctr *c)
{
	return c->state == CTR_CREATED || c->state == CTR_RUNNING || c->state == CTR_UNKNOWN;
}

bool ctr_visible(const struct ctr *c)
{
	if (c->hidden || ctr_is_sandbox(&c->rec))
		return false;
	return c->damage || (c->rec.complete && c->state != CTR_PREPARED);
}

static void unwatch(struct ctr *c)
{
	struct loop *l = c->index->d->loop;
	loop_close(l, &c->watch);
	loop_timer_cancel(l, &c->again);
}

static void on_again(struct timer *t)
{
	struct ctr *c = t->arg;
	char id[ID_SIZE];
	memcpy(id, c->o.id, ID_SIZE);
	index_refresh_ctr(c->index, id);
}

static void on_process_end(struct watch *w, uint32_t events)
{
	struct ctr *c = w->arg;
	struct index *ix = c->index;
	char id[ID_SIZE];
	(void)events;
	memcpy(id, c->o.id, ID_SIZE);
	/* The process itself has ended but its parent has not looked: as far as the records tell it
	 * still runs, and its pidfd would wake us for ever. */
	bool buried = c->watching_monitor || proc_start_time((pid_t)c->rec.pid) == 0;
	index_refresh_ctr(ix, id);
	c = index_ctr(ix, id);
	if (c && !buried && ctr_live(c)) {
		unwatch(c);
		loop_timer(ix->d->loop, &c->again, BURIAL_MS, on_again, c);
	}
}

/* A watch is a help, the bus tells as well: descriptors for clients and tools come first. */
static int max_watch_fd(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur > INT_MAX)
		return INT_MAX;
	return (int)r.rlim_cur - RESERVED_FDS;
}

/* Returns false when a process that should be there has gone meanwhile. */
static bool watch_process(struct ctr *c)
{
	struct err e = {.kind = ERR_NOT_FOUND};
	const struct ctr_record *r = &c->rec;
	int fd = TAKE_FD(c->monitor);
	if (c->damage || (c->state != CTR_RUNNING && c->state != CTR_CREATED) || *r->start_error) {
		auto_close(&fd);
		return true;
	}
	c->watching_monitor = fd >= 0;
	if (fd < 0) {
		fd = r->pid > 0 ? proc_open((pid_t)r->pid, (unsigned long long)r->pid_start, &e)
				: -1;
	}
	if (fd < 0)
		return e.kind != ERR_NOT_FOUND || (r->monitor <= 0 && r->pid <= 0);
	if (!c->watching_monitor && r->monitor > 0)
		adopter_want(c->index->adopter, r);
	if (fd > c->index->max_fd) {
		close(fd);
		return true;
	}
	if (loop_add(c->index->d->loop, &c->watch, fd, EPOLLIN, on_process_end, c, &e) < 0) {
		log_warn("container %s: its monitor cannot be watched: %s", c->o.id, e.msg);
		close(fd);
	}
	return true;
}

static void drop_ctr(struct index *ix, struct ctr *c)
{
	unwatch(c);
	table_del(&ix->ctrs, &c->o);
	ctr_free(c);
}

static void replace_pod(struct index *ix, const char *id, struct pod *p)
{
	struct pod *old = (struct pod *)table_find(&ix->pods, id);
	if (old)
		table_del(&ix->pods, &old->o);
	if (p && old)
		pod_inherit(p, old);
	if (p)
		table_add(&ix->pods, &p->o);
	if (p || old) {
		feed_bus_pod(ix->d->feed, p ? p : old, feed_phase_pod(old, true),
			     feed_phase_pod(p, true));
		feed_pod(ix->d->feed, p ? p : old, feed_phase_pod(old, false),
			 feed_phase_pod(p, false));
	}
	if (old)
		pod_free(old);
}

static bool is_hidden(const struct index *ix, const char *origin)
{
	return !ix->d->cfg.adopt_hand_made && strcmp(origin, "hand") == 0;
}

void index_refresh_pod(struct index *ix, const char *id)
{
	struct pod *p = id_is_valid(id) ? pod_load(&ix->d->st, id) : NULL;
	if (p)
		p->hidden = is_hidden(ix, p->rec.origin);
	replace_pod(ix, id, p);
}

static bool has_run(const struct ctr *c)
{
	if (!c || c->state == CTR_PREPARED ||
	    (c->state == CTR_EXITED && strcmp(c->exit.reason, "StartError") == 0))
		return false;
	return c->rec.started_at || c->exit.started_at;
}

static void replace_ctr(struct index *ix, const char *id, struct ctr *c)
{
	struct ctr *old = (struct ctr *)table_find(&ix->ctrs, id);
	enum feed_phase was = feed_phase_ctr(old, false);
	char pod[ID_SIZE] = "", name[ID_SIZE];
	snprintf(pod, sizeof pod, "%s", c ? c->rec.pod_id : old ? old->rec.pod_id : "");
	snprintf(name, sizeof name, "%s", id); /* may be the old one's */
	if (c) {
		c->index = ix;
		c->watch = WATCH_NONE;
	}
	if (old || c)
		feed_bus_ctr(ix->d->feed, c ? c : old, feed_phase_ctr(old, true),
			     feed_phase_ctr(c, true), has_run(c));
	if (old && c)
		ctr_inherit(c, old);
	if (old)
		drop_ctr(ix, old);
	if (c)
		table_add(&ix->ctrs, &c->o);
	feed_ctr(ix->d->feed, name, pod, was, feed_phase_ctr(c, false), has_run(c));
}

static struct ctr *read_ctr(const struct index *ix, const char *id)
{
	struct ctr *c = ctr_load(&ix->d->st, id);
	if (c)
		c->hidden = is_hidden(ix, c->rec.origin);
	return c;
}

void index_refresh_ctr(struct index *ix, const char *id)
{
	if (!id_is_valid(id))
		return;
	struct ctr *c = read_ctr(ix, id);
	replace_ctr(ix, id, c);
	if (c && !watch_process(c)) {
		/* It ended between the look at its records and the look at the process. */
		c = read_ctr(ix, id);
		replace_ctr(ix, id, c);
		if (c)
			(void)watch_process(c);
	}
	/* A pod is as ready as its own container, whose id it has. */
	const struct pod *p = (struct pod *)table_find(&ix->pods, id);
	if (p && p->rec.sandbox)
		index_refresh_pod(ix, id);
}

static int add_pod(void *arg, const char *id, struct err *e)
{
	struct index *ix = arg;
	(void)e;
	const struct pod *p = (struct pod *)table_find(&ix->pods, id);
	if (!p || !p->rec.complete)
		index_refresh_pod(ix, id);
	return 0;
}

static int add_ctr(void *arg, const char *id, struct err *e)
{
	struct index *ix = arg;
	(void)e;
	const struct ctr *c = (struct ctr *)table_find(&ix->ctrs, id);
	if (!c || !c->rec.complete || c->state == CTR_PREPARED)
		index_refresh_ctr(ix, id);
	return 0;
}

static bool exists(const struct index *ix, enum object_kind kind, const char *id)
{
	struct err ignored;
	AUTO_CLOSE int dir = object_open(&ix->d->st, kind, id, &ignored);
	return dir >= 0;
}

/* About the bytes that all objects will take: a directory's link count tells how many it holds, on
 * file systems that count so. */
static size_t expected_bytes(const struct state *s)
{
	size_t n = 0;
	struct stat st;
	for (enum object_kind k = OBJ_POD; k <= OBJ_CONTAINER; k++)
		if (fstatat(s->root, object_dir_name(k), &st, 0) == 0 && st.st_nlink > 2)
			n += st.st_nlink - 2;
	return n < RESERVE_MAX / OBJECT_BYTES ? n * OBJECT_BYTES : RESERVE_MAX;
}

/* Puts `bytes` of memory behind the heap at once. Taken page by page, as reading goes on, each costs a
 * fault: 20 us in a virtual machine, which is a seventh of a start. */
static void heap_reserve(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	mallopt(M_MMAP_THRESHOLD, RESERVE_MAX + 1);
	mallopt(M_TRIM_THRESHOLD, RESERVE_MAX + 1);
	bytes -= bytes % page;
	void *p = bytes ? aligned_alloc(page, bytes) : NULL;
	if (p)
		(void)madvise(p, bytes, MADV_POPULATE_WRITE);
	free(p);
}

static void heap_settle(void)
{
	mallopt(M_MMAP_THRESHOLD, TRIM_BYTES);
	mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
	malloc_trim(TRIM_BYTES);
}

static int read_all(struct index *ix, struct err *e)
{
	if (object_each(&ix->d->st, OBJ_POD, add_pod, ix, e) < 0)
		return -1;
	return object_each(&ix->d->st, OBJ_CONTAINER, add_ctr, ix, e);
}

void index_rescan(struct index *ix)
{
	struct err e;
	for (size_t i = ix->ctrs.n; i-- > 0;)
		if (!exists(ix, OBJ_CONTAINER, ix->ctrs.all[i]->id))
			replace_ctr(ix, ix->ctrs.all[i]->id, NULL);
	for (size_t i = ix->pods.n; i-- > 0;)
		if (!exists(ix, OBJ_POD, ix->pods.all[i]->id))
			replace_pod(ix, ix->pods.all[i]->id, NULL);
	if (read_all(ix, &e) < 0)
		log_warn("index: %s", e.msg);
}

void index_reload(struct index *ix)
{
	char id[ID_SIZE];
	index_rescan(ix);
	/* Each goes and comes back as the last: from the end, none is met twice or missed. */
	for (size_t i = ix->pods.n; i-- > 0;) {
		memcpy(id, ix->pods.all[i]->id, ID_SIZE);
		index_refresh_pod(ix, id);
	}
	for (size_t i = ix->ctrs.n; i-- > 0;) {
		memcpy(id, ix->ctrs.all[i]->id, ID_SIZE);
		index_refresh_ctr(ix, id);
	}
}

void index_event(struct index *ix, const char *kind, const char *id, const char *pod)
{
	if (strcmp(kind, "pod") == 0) {
		index_refresh_pod(ix, id);
	} else if (strcmp(kind, "container") == 0) {
		index_refresh_ctr(ix, id);
		if (*pod && !index_pod(ix, pod))
			index_refresh_pod(ix, pod);
	} else if (strcmp(kind, "image") == 0) {
		index_refresh_images(ix);
	}
}

struct index *index_new(struct crispd *d, struct err *e)
{
	struct index *ix = xcalloc(1, sizeof *ix);
	ix->d = d;
	long long from = proc_now_ms();
	ix->images = images_new(d);
	ix->adopter = adopter_new(d);
	ix->max_fd = max_watch_fd();
	heap_reserve(expected_bytes(&d->st));
	if (read_all(ix, e) < 0) {
		index_free(ix);
		return NULL;
	}
	log_info("%zu pods and %zu containers read in %lld ms", ix->pods.n, ix->ctrs.n,
		 proc_now_ms() - from);
	heap_settle();
	return ix;
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	while (ix->pods.n) {
		struct pod *p = index_pod_at(ix, ix->pods.n - 1);
		table_del(&ix->pods, &p->o);
		pod_free(p);
	}
	while (ix->ctrs.n)
		drop_ctr(ix, index_ctr_at(ix, ix->ctrs.n - 1));
	table_release(&ix->pods);
	table_release(&ix->ctrs);
	adopter_free(ix->adopter);
	images_free(ix->images);
	free(ix);
}
