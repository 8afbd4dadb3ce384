/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include "auto.h"
#include "index.h"
#include "jobs.h"
#include "jsonx.h"
#include "svc.h"
#include "xalloc.h"

#include <string.h>

enum {
	SOON_MS = 100, /* for several readers and new containers together */
	AT_ONCE = 256,
};
static const int64_t period_ns = 60 * 1000000000LL;

struct disk {
	struct crispd *d;
	struct timer timer;
	bool busy;
};

struct disk *disk_new(struct crispd *d)
{
	struct disk *k = xcalloc(1, sizeof *k);
	k->d = d;
	return k;
}

void disk_free(struct disk *k)
{
	if (k)
		loop_timer_cancel(k->d->loop, &k->timer);
	free(k);
}

static bool is_due(const struct ctr *c, int64_t now)
{
	return c->state == CTR_RUNNING &&
	       (!c->disk_asked || now - c->disk_asked > period_ns || now < c->disk_asked);
}

static void take(const struct disk *k, const json_t *list)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		struct ctr *c = index_ctr(k->d->index, jsonx_opt_string(one, "id", ""));
		if (!c)
			continue;
		c->disk_bytes = (uint64_t)jsonx_opt_int(one, "bytes", 0);
		c->disk_inodes = (uint64_t)jsonx_opt_int(one, "inodes", 0);
		c->disk_at = record_now_ns();
	}
}

static void done(struct job *j)
{
	struct disk *k = job_daemon(j)->disk;
	struct err e;
	const char *text = job_output(j);
	AUTO_JSON json_t *list = job_error(j) ? NULL : jsonx_parse(text, strlen(text), "du", &e);
	take(k, list);
	k->busy = false;
}

static void on_time(struct timer *t)
{
	struct disk *k = t->arg;
	const struct index *ix = k->d->index;
	const char *argv[AT_ONCE + 4] = {"ocibundle", "du", "--json"};
	size_t n = 3;
	int64_t now = record_now_ns();
	for (size_t i = 0; i < index_n_ctrs(ix) && n < AT_ONCE + 3; i++) {
		struct ctr *c = index_ctr_at(ix, i);
		if (!is_due(c, now))
			continue;
		c->disk_asked = now;
		argv[n++] = c->o.id;
	}
	k->busy = n > 3;
	if (!k->busy)
		return;
	struct job *j = job_new(k->d, "DiskUsage", "", JOB_CHANGE);
	job_step_argv(j, STEP_OUTPUT, SVC_BUNDLE_MS, argv);
	job_submit(j, done);
}

void disk_wanted(struct disk *k)
{
	const struct index *ix = k->d->index;
	int64_t now = record_now_ns();
	if (k->busy)
		return;
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		if (!is_due(index_ctr_at(ix, i), now))
			continue;
		k->busy = true;
		loop_timer(k->d->loop, &k->timer, SOON_MS, on_time, k);
		return;
	}
}
