/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"

#include "auto.h"
#include "heads.h"
#include "index.h"
#include "jobs.h"
#include "log.h"
#include "telemetry.h"
#include "xalloc.h"

#include <string.h>

struct admin {
	struct crispd *d;
	struct heads *heads;
};

static json_t *index_page(const struct index *ix)
{
	json_t *pods = json_array(), *ctrs = json_array();
	for (size_t i = 0; i < index_n_pods(ix); i++) {
		const struct pod *p = index_pod_at(ix, i);
		json_array_append_new(pods, json_pack("{s:s, s:s}", "id", p->o.id, "state",
						      p->damage ? "damaged" : p->rec.state));
	}
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		const struct ctr *c = index_ctr_at(ix, i);
		json_array_append_new(ctrs,
				      json_pack("{s:s, s:s}", "id", c->o.id, "state",
						c->damage ? "damaged" : ctr_state_name(c->state)));
	}
	return json_pack("{s:o, s:o}", "pods", pods, "containers", ctrs);
}

static void answer_json(struct head *h, json_t *j)
{
	AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	head_answer(h, text ? "200 OK" : "500 Internal Server Error", "application/json",
		    text ? text : "{}");
}

static void on_head(struct head *h, void *arg)
{
	const struct admin *a = arg;
	if (head_asks(h, "/ps")) {
		answer_json(h, jobs_dump(a->d->jobs));
	} else if (head_asks(h, "/index")) {
		answer_json(h, index_page(a->d->index));
	} else if (head_asks(h, "/metrics")) {
		AUTO_BUF struct buf b = BUF_INIT(TELEMETRY_MAX);
		telemetry_page(a->d->telemetry, &b);
		head_answer(h, "200 OK", "text/plain; version=0.0.4", b.data ? b.data : "");
	} else {
		head_answer(h, "404 Not Found", "text/plain", "only /ps, /index and /metrics\n");
	}
}

struct admin *admin_new(struct crispd *d)
{
	struct err e;
	struct admin *a = xcalloc(1, sizeof *a);
	AUTO_FREE char *path = xasprintf("%s/admin.sock", d->cfg.runroot);
	a->d = d;
	a->heads = heads_new(d->loop, "admin.sock", on_head, a);
	if (heads_listen_at(a->heads, d->st.run, path, &e) < 0)
		log_warn("crispd ps and check will not work: %s", e.msg);
	return a;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	heads_free(a->heads);
	(void)unlinkat(a->d->st.run, "admin.sock", 0);
	free(a);
}
