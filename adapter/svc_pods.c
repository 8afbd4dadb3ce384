/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "lister.h"
#include "packed.h"
#include "services.h"
#include "standby.h"
#include "svc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

/* The kubelet has stopped the containers before; this grace is for whoever has not. */
enum { POD_STOP_GRACE_S = 2 };

/* The pod of the same name, namespace, uid and attempt as the configuration says. */
static struct pod *namesake(const struct index *ix, const json_t *config)
{
	json_t *m = json_object_get(config, "metadata");
	return svc_namesake(ix, jsonx_opt_string(m, "name", ""),
			    jsonx_opt_string(m, "namespace", ""), jsonx_opt_string(m, "uid", ""),
			    (uint32_t)jsonx_opt_int(m, "attempt", 0));
}

static void reply_run(struct call *c, const char *id)
{
	Runtime__V1__RunPodSandboxResponse r = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;
	r.pod_sandbox_id = (char *)id;
	call_reply(c, &r.base);
}

/* wanted: {"handler": …, "config": …}. A ready pod that is just what is asked for is the answer to
 * a repeated request. False when there is no such pod. */
static bool answer_existing(struct call *c, const json_t *wanted)
{
	struct crispd *d = call_daemon(c);
	json_t *config = json_object_get(wanted, "config");
	struct pod *p = namesake(d->index, config);
	if (!p)
		return false;
	AUTO_JSON json_t *have = svc_disk_config(d, OBJ_POD, p->o.id);
	const char *handler = jsonx_opt_string((json_t *)wanted, "handler", "");
	if (pod_visible(p) && pod_ready(p) && strcmp(p->rec.handler, handler) == 0 && have &&
	    json_equal(have, config))
		reply_run(c, p->o.id);
	else
		svc_fail(c, ERR_EXISTS, "pod sandbox %s of that name is there already: %s",
			 p->config->metadata->name, p->o.id);
	return true;
}

static void answer_run(struct call *c, const struct job *j)
{
	const struct err *e = job_error(j);
	/* It was made by hand, or before a crash, and the index had not heard. */
	if (e && e->kind == ERR_EXISTS) {
		index_rescan(job_daemon(j)->index);
		if (answer_existing(c, job_config(j)))
			return;
	}
	if (e)
		call_fail(c, e);
	else
		reply_run(c, job_pod(j));
}

enum { WORDS = 10, ID_AT = 3, NEXT_MS = 10 * 60 * 1000 };

/* Of the tool that makes a pod; the id's room is the caller's. */
static void create_words(const char *words[WORDS], const json_t *wanted, const char *id)
{
	const char *handler = jsonx_opt_string((json_t *)wanted, "handler", "");
	const char *const all[WORDS] = {"podnet", "create",   "--id", id,  "--handler",
					handler,  "--origin", "cri",  "-", NULL};
	memcpy(words, all, sizeof all);
}

/* What is likely to come is started once the answers are out: the next pod, of the same handler, and the pod's first
 * container. */
static void done_run(struct job *j)
{
	struct crispd *d = job_daemon(j);
	char id[ID_SIZE];
	const char *words[WORDS];
	svc_done_pod(j);
	if (job_error(j))
		return;
	create_words(words, job_config(j), id);
	standby_want_next(d->standbys, NEXT_MS, words, ID_AT, id);
	svc_want_bundle(d, job_pod(j), STANDBY_MS);
}

static void submit_run(struct call *c, const char *key, json_t *wanted)
{
	struct crispd *d = call_daemon(c);
	char id[ID_SIZE];
	const char *words[WORDS];
	create_words(words, wanted, id);
	standby_next_id(d->standbys, words, ID_AT, id);
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CREATE);
	job_for(j, id, NULL);
	job_identify(j, key, json_incref(wanted));
	AUTO_FREE char *file = xasprintf("%s/pods/%s/pod.json", d->cfg.root, id);
	/* With it comes the start of a sandbox container, for a handler that needs one. */
	struct step *s = job_step_argv(j, STEP_PLAIN, svc_network_ms(d) + svc_runtime_ms(d), words);
	svc_step_json(s, json_object_get(wanted, "config"), file);
	job_wait(j, c, answer_run);
	job_submit(j, done_run);
}

void svc_run_pod_sandbox(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__RunPodSandboxRequest *r = (const void *)request;
	const Runtime__V1__PodSandboxMetadata *m = r->config ? r->config->metadata : NULL;
	if (!m || !*m->name || !*m->uid || !*m->namespace_) {
		svc_fail(c, ERR_BAD_INPUT, "pod sandbox: metadata needs name, namespace and uid");
		return;
	}
	json_t *config = svc_config_json(c, &r->config->base);
	if (!config)
		return;
	AUTO_JSON json_t *wanted =
		json_pack("{s:s, s:o}", "handler", r->runtime_handler, "config", config);
	if (!wanted) {
		svc_fail(c, ERR_BAD_INPUT, "runtime_handler is not UTF-8");
		return;
	}
	AUTO_FREE char *key =
		xasprintf("pod %s/%s/%s/%u", m->namespace_, m->name, m->uid, m->attempt);
	struct job *j = job_find(call_daemon(c)->jobs, key);
	if (j && json_equal(job_config(j), wanted))
		job_wait(j, c, answer_run);
	else if (j)
		svc_fail(c, ERR_EXISTS, "pod sandbox %s of that name is being made: %s", m->name,
			 job_pod(j));
	else if (!answer_existing(c, wanted))
		submit_run(c, key, wanted);
}

static void answer_stop(struct call *c, const struct job *j)
{
	Runtime__V1__StopPodSandboxResponse r = RUNTIME__V1__STOP_POD_SANDBOX_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* One job for equal requests. What it is to do is looked up when its turn comes: a container may be
 * in the making, and the job waits for that. */
static void shared_job(struct call *c, const struct pod *p, const char *what, enum job_class class,
		       void (*plan)(struct job *j),
		       void (*answer)(struct call *c, const struct job *j))
{
	struct crispd *d = call_daemon(c);
	AUTO_FREE char *key = xasprintf("%s pod %s", what, p->o.id);
	struct job *j = job_find(d->jobs, key);
	if (j) {
		job_wait(j, c, answer);
		return;
	}
	j = job_new(d, call_rpc(c), call_id(c), class);
	job_for(j, p->o.id, NULL);
	job_identify(j, key, NULL);
	job_plan(j, plan);
	job_wait(j, c, answer);
	job_submit(j, svc_done_pod);
}

static void plan_stop(struct job *j)
{
	struct crispd *d = job_daemon(j);
	size_t live = 0;
	for (size_t i = 0; i < index_n_ctrs(d->index); i++) {
		const struct ctr *k = index_ctr_at(d->index, i);
		char grace[16];
		/* A prepared one may be in the making still, by a tool of a dead daemon. */
		if (strcmp(k->rec.pod_id, job_pod(j)) != 0 ||
		    (!ctr_live(k) && k->state != CTR_PREPARED) || ctr_is_sandbox(&k->rec))
			continue;
		snprintf(grace, sizeof grace, "%d", POD_STOP_GRACE_S);
		job_step(j, STEP_GO_ON | (live++ ? STEP_BESIDE : 0), svc_runtime_ms(d), "ctrrun",
			 "stop", "--timeout", grace, k->o.id);
	}
	job_step(j, STEP_PLAIN, svc_network_ms(d) + svc_runtime_ms(d), "podnet", "stop",
		 job_pod(j));
}

void svc_stop_pod_sandbox(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StopPodSandboxRequest *r = (const void *)request;
	Runtime__V1__StopPodSandboxResponse nothing = RUNTIME__V1__STOP_POD_SANDBOX_RESPONSE__INIT;
	struct pod *p = svc_pod(c, r->pod_sandbox_id);
	if (p)
		shared_job(c, p, "stop", JOB_STOP, plan_stop, answer_stop);
	else
		call_reply(c, &nothing.base);
}

static void answer_remove(struct call *c, const struct job *j)
{
	Runtime__V1__RemovePodSandboxResponse r = RUNTIME__V1__REMOVE_POD_SANDBOX_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* One step for each container of the pod, all at once. */
static void each_ctr(struct job *j, const char *tool, const char *option)
{
	struct crispd *d = job_daemon(j);
	size_t n = 0;
	for (size_t i = 0; i < index_n_ctrs(d->index); i++) {
		const struct ctr *k = index_ctr_at(d->index, i);
		int flags = STEP_GO_ON | (n ? STEP_BESIDE : 0);
		if (strcmp(k->rec.pod_id, job_pod(j)) != 0 || ctr_is_sandbox(&k->rec))
			continue;
		n++;
		if (option)
			job_step(j, flags, svc_runtime_ms(d), tool, "rm", option, k->o.id);
		else
			job_step(j, flags, SVC_BUNDLE_MS, tool, "rm", k->o.id);
	}
}

static void plan_remove(struct job *j)
{
	struct crispd *d = job_daemon(j);
	/* Whatever is in the pod goes, also what nobody told us of. */
	index_rescan(d->index);
	each_ctr(j, "ctrrun", "--force");
	each_ctr(j, "ocibundle", NULL);
	job_step(j, STEP_DECIDES, svc_network_ms(d) + svc_runtime_ms(d), "podnet", "rm",
		 job_pod(j));
}

void svc_remove_pod_sandbox(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__RemovePodSandboxRequest *r = (const void *)request;
	Runtime__V1__RemovePodSandboxResponse nothing =
		RUNTIME__V1__REMOVE_POD_SANDBOX_RESPONSE__INIT;
	struct pod *p = svc_pod(c, r->pod_sandbox_id);
	if (p)
		shared_job(c, p, "remove", JOB_REMOVE, plan_remove, answer_remove);
	else
		call_reply(c, &nothing.base);
}

static bool pod_matches(const struct pod *p, const Runtime__V1__PodSandboxFilter *f)
{
	if (!pod_visible(p))
		return false;
	if (!f)
		return true;
	if (*f->id && strncmp(p->o.id, f->id, strlen(f->id)) != 0)
		return false;
	if (f->state &&
	    (f->state->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY) != pod_ready(p))
		return false;
	return svc_labels_match(f->n_label_selector, (void **)f->label_selector,
				p->config->n_labels, (void **)p->config->labels);
}

void svc_list_pod_sandbox(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ListPodSandboxRequest *r = (const void *)request;
	Runtime__V1__ListPodSandboxResponse reply = RUNTIME__V1__LIST_POD_SANDBOX_RESPONSE__INIT;
	const struct index *ix = call_daemon(c)->index;
	AUTO_ARENA struct arena a = {0};
	for (size_t i = 0; i < index_n_pods(ix); i++) {
		struct pod *p = index_pod_at(ix, i);
		if (pod_matches(p, r->filter))
			packed_append(&reply.base, &a, index_n_pods(ix), p->packed, p->packed_len);
	}
	call_reply(c, &reply.base);
}

static uint8_t *pod_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct pod *p = index_pod(d->index, id);
	(void)a;
	*len = p ? p->packed_len : 0;
	return p ? p->packed : NULL;
}

void svc_stream_pod_sandboxes(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StreamPodSandboxesRequest *r = (const void *)request;
	const struct index *ix = call_daemon(c)->index;
	struct lister *l = lister_new(c, pod_element, index_n_pods(ix));
	for (size_t i = 0; i < index_n_pods(ix); i++)
		if (pod_matches(index_pod_at(ix, i), r->filter))
			lister_add(l, index_pod_at(ix, i)->o.id);
	lister_send(l);
}

void svc_pod_sandbox_status(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__PodSandboxStatusRequest *r = (const void *)request;
	Runtime__V1__PodSandboxStatusResponse reply =
		RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
	Runtime__V1__PodSandboxStatusResponse__InfoEntry info =
		RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT;
	Runtime__V1__PodSandboxStatusResponse__InfoEntry *infos[] = {&info};
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	AUTO_ARENA struct arena a = {0};
	AUTO_FREE char *text = NULL;
	if (!p)
		return;
	reply.status = status_pod(p, &a);
	reply.timestamp = record_now_ns();
	reply.containers_statuses =
		status_ctrs_of(call_daemon(c), p->o.id, &reply.n_containers_statuses, &a);
	if (r->verbose) {
		text = status_pod_info(p);
		info.key = (char *)"info";
		info.value = text;
		reply.n_info = 1;
		reply.info = infos;
	}
	call_reply(c, &reply.base);
}
