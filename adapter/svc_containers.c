/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "services.h"
#include "standby.h"
#include "svc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

/* The container of the same pod, name and attempt. wanted: {"pod": …, "config": …}. */
static struct ctr *namesake(const struct index *ix, const json_t *wanted)
{
	json_t *m = json_object_get(json_object_get(wanted, "config"), "metadata");
	const char *pod = jsonx_opt_string((json_t *)wanted, "pod", "");
	const char *name = jsonx_opt_string(m, "name", "");
	json_int_t attempt = jsonx_opt_int(m, "attempt", 0);
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		struct ctr *k = index_ctr_at(ix, i);
		const Runtime__V1__ContainerMetadata *have = k->config->metadata;
		if (k->rec.complete && strcmp(k->rec.pod_id, pod) == 0 &&
		    strcmp(have->name, name) == 0 && have->attempt == (uint32_t)attempt)
			return k;
	}
	return NULL;
}

static void reply_create(struct call *c, const char *id)
{
	Runtime__V1__CreateContainerResponse r = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
	r.container_id = (char *)id;
	call_reply(c, &r.base);
}

static void answer_create(struct call *c, const struct job *j);

enum { WORDS = 9, ID_AT = 3, ANOTHER_MS = 2000 };

/* Of the tool that makes a container's bundle; the id's room is the caller's. */
static void bundle_words(const char *words[WORDS], const char *pod, const char *id)
{
	const char *const all[WORDS] = {"ocibundle", "create", "--id", id,  "--origin",
					"cri",       pod,      "-",    NULL};
	memcpy(words, all, sizeof all);
}

void svc_want_bundle(struct crispd *d, const char *pod, long long for_ms)
{
	char id[ID_SIZE];
	const char *words[WORDS];
	bundle_words(words, pod, id);
	standby_want_next(d->standbys, for_ms, words, ID_AT, id);
}

static void want_create(struct job *j)
{
	standby_want(job_daemon(j)->standbys, STANDBY_MS,
		     STANDBY_WORDS("ctrrun", "create", "--defer-errors", job_ctr(j)));
}

/* A kubelet starts what it has created. */
static void want_start(struct job *j)
{
	standby_want(job_daemon(j)->standbys, STANDBY_MS,
		     STANDBY_WORDS("ctrrun", "start", job_ctr(j)));
}

/* A pod often has another container, and that is made at once. */
static void want_another(struct job *j)
{
	svc_want_bundle(job_daemon(j), job_pod(j), ANOTHER_MS);
}

static void step_runtime_create(struct job *j, const char *id)
{
	struct crispd *d = job_daemon(j);
	struct step *s = job_step(j, STEP_PLAIN, svc_runtime_ms(d), "ctrrun", "create",
				  "--defer-errors", id);
	step_then(s, want_start);
	job_step(j, STEP_UNDO, svc_runtime_ms(d), "ctrrun", "rm", "--force", id);
	job_step(j, STEP_UNDO, SVC_BUNDLE_MS, "ocibundle", "rm", id);
}

/* A container of that name is there. One that is just what is asked for is the answer to a repeated
 * request. False when there is none, or what is there is a remainder that nobody can see: of a creation or
 * of a removal that stopped half way. Its place is taken; its id is not, which somebody may know for gone. */
static bool answer_existing(struct call *c, bool may_replace, json_t *wanted)
{
	struct crispd *d = call_daemon(c);
	struct ctr *k = namesake(d->index, wanted);
	if (!k)
		return false;
	bool ours = strcmp(k->rec.origin, "cri") == 0;
	AUTO_JSON json_t *have = svc_disk_config(d, OBJ_CONTAINER, k->o.id);
	bool equal = have && json_equal(have, json_object_get(wanted, "config")) && ours;
	if (equal && k->state == CTR_CREATED) {
		reply_create(c, k->o.id);
	} else if (ours && k->state == CTR_PREPARED && may_replace) {
		return false;
	} else {
		svc_fail(c, ERR_EXISTS, "container %s of that name is in the pod already: %s",
			 k->config->metadata->name, k->o.id);
	}
	return true;
}

static void answer_create(struct call *c, const struct job *j)
{
	const struct err *e = job_error(j);
	struct index *ix = job_daemon(j)->index;
	json_t *wanted = (json_t *)job_config(j);
	if (e && (e->kind == ERR_EXISTS || e->kind == ERR_BAD_STATE)) {
		index_rescan(ix);
		/* The state may be that a tool which a dead crispd had started was first. */
		const struct ctr *k = namesake(ix, wanted);
		if ((e->kind == ERR_EXISTS || (k && ctr_visible(k))) &&
		    answer_existing(c, false, wanted))
			return;
	}
	if (e)
		call_fail(c, e);
	else
		reply_create(c, job_ctr(j));
}

/* The remainder whose place was taken went without a word. */
static void done_replacing(struct job *j)
{
	index_rescan(job_daemon(j)->index);
	svc_done_ctr(j);
}

static void submit_create(struct call *c, const struct pod *p, const char *key, json_t *wanted)
{
	struct crispd *d = call_daemon(c);
	char id[ID_SIZE];
	const char *words[WORDS];
	bundle_words(words, p->o.id, id);
	standby_next_id(d->standbys, words, ID_AT, id);
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CREATE);
	job_for(j, p->o.id, id);
	job_identify(j, key, json_incref(wanted));
	const struct ctr *remainder = namesake(d->index, wanted);
	if (remainder)
		job_step(j, STEP_PLAIN, SVC_BUNDLE_MS, "ocibundle", "rm", remainder->o.id);
	AUTO_FREE char *file = xasprintf("%s/containers/%s/container.json", d->cfg.root, id);
	struct step *s = job_step_argv(j, STEP_PLAIN, SVC_BUNDLE_MS, words);
	step_then(s, want_create);
	svc_step_json(s, json_object_get(wanted, "config"), file);
	step_runtime_create(j, id);
	job_wait(j, c, answer_create);
	job_submit(j, remainder ? done_replacing : svc_done_ctr);
}

void svc_create_container(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__CreateContainerRequest *r = (const void *)request;
	const Runtime__V1__ContainerMetadata *m = r->config ? r->config->metadata : NULL;
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	if (!p)
		return;
	if (!m || !*m->name) {
		svc_fail(c, ERR_BAD_INPUT, "container: metadata needs a name");
		return;
	}
	if (!pod_ready(p)) {
		svc_fail(c, ERR_BAD_STATE, "pod sandbox %s is not ready", p->o.id);
		return;
	}
	json_t *config = svc_config_json(c, &r->config->base);
	if (!config)
		return;
	AUTO_JSON json_t *wanted = json_pack("{s:s, s:o}", "pod", p->o.id, "config", config);
	AUTO_FREE char *key = xasprintf("container %s/%s/%u", p->o.id, m->name, m->attempt);
	struct job *j = job_find(call_daemon(c)->jobs, key);
	if (j && json_equal(job_config(j), wanted))
		job_wait(j, c, answer_create);
	else if (j)
		svc_fail(c, ERR_EXISTS, "container %s of that name is being made: %s", m->name,
			 job_ctr(j));
	else if (!answer_existing(c, true, wanted))
		submit_create(c, p, key, wanted);
}

static void answer_start(struct call *c, const struct job *j)
{
	Runtime__V1__StartContainerResponse r = RUNTIME__V1__START_CONTAINER_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* One job for equal requests at the same time. */
static struct job *shared_job(struct call *c, const struct ctr *k, const char *what,
			      enum job_class class,
			      void (*answer)(struct call *c, const struct job *j))
{
	struct crispd *d = call_daemon(c);
	AUTO_FREE char *key = xasprintf("%s container %s", what, k->o.id);
	struct job *j = job_find(d->jobs, key);
	if (j) {
		job_wait(j, c, answer);
		return NULL;
	}
	j = job_new(d, call_rpc(c), call_id(c), class);
	job_for(j, k->rec.pod_id, k->o.id);
	job_identify(j, key, NULL);
	job_wait(j, c, answer);
	return j;
}

void svc_start_container(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StartContainerRequest *r = (const void *)request;
	struct ctr *k = svc_need_ctr(c, r->container_id);
	if (!k)
		return;
	if (k->damage || k->state == CTR_RUNNING || k->state == CTR_EXITED) {
		svc_fail(c, ERR_BAD_STATE, "container %s cannot be started: it is %s", k->o.id,
			 k->damage ? "damaged" : ctr_state_name(k->state));
		return;
	}
	struct job *j = shared_job(c, k, "start", JOB_CHANGE, answer_start);
	if (!j)
		return;
	struct step *s =
		job_step(j, STEP_PLAIN, svc_runtime_ms(call_daemon(c)), "ctrrun", "start", k->o.id);
	step_then(s, want_another);
	job_submit(j, svc_done_ctr);
}

static void answer_stop(struct call *c, const struct job *j)
{
	Runtime__V1__StopContainerResponse r = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

void svc_stop_container(struct call *c, const ProtobufCMessage *request)
{
	enum { GRACE_MAX_S = 366 * 86400 };
	const Runtime__V1__StopContainerRequest *r = (const void *)request;
	Runtime__V1__StopContainerResponse nothing = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	struct ctr *k = svc_ctr(c, r->container_id);
	long long grace = r->timeout < 0 ? 0 : r->timeout > GRACE_MAX_S ? GRACE_MAX_S : r->timeout;
	char what[40], seconds[24];
	if (!k || k->state == CTR_EXITED || k->state == CTR_PREPARED) {
		call_reply(c, &nothing.base);
		return;
	}
	/* Equal stops share a job; a shorter grace beside a longer one is a job of its own. */
	snprintf(seconds, sizeof seconds, "%lld", grace);
	snprintf(what, sizeof what, "stop %s", seconds);
	struct job *j = shared_job(c, k, what, JOB_STOP, answer_stop);
	if (!j)
		return;
	job_step(j, STEP_PLAIN, grace * 1000 + svc_runtime_ms(d), "ctrrun", "stop", "--timeout",
		 seconds, k->o.id);
	job_submit(j, svc_done_ctr);
}

static void answer_remove(struct call *c, const struct job *j)
{
	Runtime__V1__RemoveContainerResponse r = RUNTIME__V1__REMOVE_CONTAINER_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

void svc_remove_container(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__RemoveContainerRequest *r = (const void *)request;
	Runtime__V1__RemoveContainerResponse nothing = RUNTIME__V1__REMOVE_CONTAINER_RESPONSE__INIT;
	struct ctr *k = svc_ctr(c, r->container_id);
	if (!k) {
		call_reply(c, &nothing.base);
		return;
	}
	struct job *j = shared_job(c, k, "remove", JOB_REMOVE, answer_remove);
	if (!j)
		return;
	job_step(j, STEP_GO_ON, svc_runtime_ms(call_daemon(c)), "ctrrun", "rm", "--force", k->o.id);
	job_step(j, STEP_DECIDES, SVC_BUNDLE_MS, "ocibundle", "rm", k->o.id);
	job_submit(j, svc_done_ctr);
}

static void answer_reopen(struct call *c, const struct job *j)
{
	Runtime__V1__ReopenContainerLogResponse r =
		RUNTIME__V1__REOPEN_CONTAINER_LOG_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

void svc_reopen_container_log(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ReopenContainerLogRequest *r = (const void *)request;
	struct ctr *k = svc_need_ctr(c, r->container_id);
	if (!k)
		return;
	if (k->state != CTR_RUNNING) {
		svc_fail(c, ERR_BAD_STATE, "container %s is not running", k->o.id);
		return;
	}
	struct job *j = shared_job(c, k, "reopen", JOB_CHANGE, answer_reopen);
	if (!j)
		return;
	job_step(j, STEP_PLAIN, svc_runtime_ms(call_daemon(c)), "ctrrun", "reopen", k->o.id);
	job_submit(j, svc_done_ctr);
}
