/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "services.h"
#include "svc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

/* Checkpoints. Pause, capture and resume are one run of ctrrun, which resumes on each of its ways out;
 * for the one that it does not choose (SIGKILL) `ctrrun thaw` comes after it, and at crispd's start. A
 * client that gives up ends the job: SIGTERM is another way out. */

enum {
	MARGIN_MS = 2000,      /* of the client's deadline, for resuming and cleaning up */
	MARGIN_PART = 4,       /* but not more than this part of it */
	KILL_AFTER_MS = 30000, /* beyond the tool's own clock */
	THAW_MS = 90000,
	SECONDS_MAX = 86400,
	CTRS_MAX = 256,
};

/* What the tool may take: less than the client's deadline, so that it has answered before. */
static long long budget_ms(const struct call *c, long long asked_s)
{
	long long left = call_time_left_ms(c);
	long long ms =
		1000 * (asked_s > 0 ? asked_s : (long long)call_daemon(c)->cfg.runtime_timeout);
	if (left < 0)
		return ms;
	left -= left / MARGIN_PART < MARGIN_MS ? left / MARGIN_PART : MARGIN_MS;
	return ms < left ? ms : left;
}

/* argv of a step whose length is not known here. */
struct words {
	const char *v[3 * CTRS_MAX + 16];
	size_t n;
	char *owned[CTRS_MAX];
	size_t n_owned;
	char timeout[32];
};

static void add(struct words *w, const char *word)
{
	if (w->n + 1 < ARRAY_LEN(w->v))
		w->v[w->n++] = word;
	w->v[w->n] = NULL;
}

static void add_timeout(struct words *w, long long ms)
{
	snprintf(w->timeout, sizeof w->timeout, "%lld.%03d", ms / 1000, (int)(ms % 1000));
	add(w, "--timeout");
	add(w, w->timeout);
}

/* The entries of the map `options`. */
static void add_options(struct words *w, size_t n,
			Runtime__V1__CheckpointPodRequest__OptionsEntry *const *options)
{
	for (size_t i = 0; i < n && w->n_owned < CTRS_MAX; i++) {
		char *word = xasprintf("%s=%s", options[i]->key, options[i]->value);
		w->owned[w->n_owned++] = word;
		add(w, "--option");
		add(w, word);
	}
}

static void words_release(struct words *w)
{
	for (size_t i = 0; i < w->n_owned; i++)
		free(w->owned[i]);
}
#define AUTO_WORDS __attribute__((cleanup(words_release)))

static void step_thaw(struct job *j, const char *pod)
{
	job_step(j, STEP_ALWAYS, THAW_MS, "ctrrun", "thaw", pod);
}

/* ---- CheckpointContainer */

static void answer_container(struct call *c, const struct job *j)
{
	Runtime__V1__CheckpointContainerResponse r =
		RUNTIME__V1__CHECKPOINT_CONTAINER_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

void svc_checkpoint_container(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__CheckpointContainerRequest *r = (const void *)request;
	struct crispd *d = call_daemon(c);
	struct words w = {.n = 0};
	struct ctr *k = svc_need_ctr(c, r->container_id);
	if (!k)
		return;
	if (k->damage || k->state != CTR_RUNNING) {
		svc_fail(c, ERR_BAD_STATE, "container %s is %s, not running", k->o.id,
			 k->damage ? "damaged" : ctr_state_name(k->state));
		return;
	}
	if (r->location[0] != '/' || r->timeout < 0 || r->timeout > SECONDS_MAX) {
		svc_fail(c, ERR_BAD_INPUT, "%s",
			 r->location[0] != '/' ? "location: not an absolute path"
					       : "timeout: not within a day");
		return;
	}
	long long ms = budget_ms(c, r->timeout);
	add(&w, "ctrrun");
	add(&w, "checkpoint");
	add_timeout(&w, ms);
	add(&w, k->o.id);
	add(&w, r->location);
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CHANGE);
	job_for(j, k->rec.pod_id, k->o.id);
	job_ends_with_client(j);
	job_step_argv(j, STEP_PLAIN, ms + KILL_AFTER_MS, w.v);
	step_thaw(j, k->rec.pod_id);
	job_wait(j, c, answer_container);
	job_submit(j, svc_done_ctr);
}

/* ---- CheckpointPod */

static void answer_pod(struct call *c, const struct job *j)
{
	Runtime__V1__CheckpointPodResponse r = RUNTIME__V1__CHECKPOINT_POD_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* False: the answer is given. */
static bool check_containers(struct call *c, const struct pod *p,
			     const Runtime__V1__CheckpointPodRequest *r)
{
	if (!r->n_container_ids || r->n_container_ids > CTRS_MAX) {
		svc_fail(c, ERR_BAD_INPUT, "container_ids: not within 1 to %d", CTRS_MAX);
		return false;
	}
	for (size_t i = 0; i < r->n_container_ids; i++) {
		struct ctr *k = svc_need_ctr(c, r->container_ids[i]);
		if (!k)
			return false;
		for (size_t m = 0; m < i; m++)
			if (strcmp(r->container_ids[m], k->o.id) == 0) {
				svc_fail(c, ERR_BAD_INPUT, "container_ids: %s twice", k->o.id);
				return false;
			}
		if (strcmp(k->rec.pod_id, p->o.id) != 0) {
			svc_fail(c, ERR_BAD_INPUT, "container %s is not of pod sandbox %s", k->o.id,
				 p->o.id);
			return false;
		}
		if (k->damage || k->state != CTR_RUNNING) {
			svc_fail(c, ERR_BAD_STATE, "container %s is %s, not running", k->o.id,
				 k->damage ? "damaged" : ctr_state_name(k->state));
			return false;
		}
	}
	return true;
}

void svc_checkpoint_pod(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__CheckpointPodRequest *r = (const void *)request;
	struct crispd *d = call_daemon(c);
	AUTO_WORDS struct words w = {.n = 0};
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	if (!p)
		return;
	if (!pod_ready(p)) {
		svc_fail(c, ERR_BAD_STATE, "pod sandbox %s is not ready", p->o.id);
		return;
	}
	if (r->output_path[0] != '/') {
		svc_fail(c, ERR_BAD_INPUT, "output_path: not an absolute path");
		return;
	}
	if (!check_containers(c, p, r))
		return;
	long long ms = budget_ms(c, 0);
	add(&w, "ctrrun");
	add(&w, "checkpoint-pod");
	add_timeout(&w, ms);
	add_options(&w, r->n_options, r->options);
	add(&w, "--");
	add(&w, p->o.id);
	add(&w, r->output_path);
	for (size_t i = 0; i < r->n_container_ids; i++)
		add(&w, r->container_ids[i]);
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CHANGE);
	job_for(j, p->o.id, NULL);
	job_ends_with_client(j);
	job_step_argv(j, STEP_PLAIN, ms + KILL_AFTER_MS, w.v);
	step_thaw(j, p->o.id);
	job_wait(j, c, answer_pod);
	job_submit(j, svc_done_pod);
}

/* ---- RestorePod */

/* {"containers": [{"name", "id"}], …}, what the job is identified with. */
static void answer_restore(struct call *c, const struct job *j)
{
	Runtime__V1__RestorePodResponse r = RUNTIME__V1__RESTORE_POD_RESPONSE__INIT;
	Runtime__V1__RestoredContainer all[CTRS_MAX], *list[CTRS_MAX];
	json_t *made = json_object_get(job_config(j), "made"), *v;
	size_t i;
	if (job_error(j)) {
		call_fail(c, job_error(j));
		return;
	}
	json_array_foreach (made, i, v) {
		all[i] = (Runtime__V1__RestoredContainer)RUNTIME__V1__RESTORED_CONTAINER__INIT;
		all[i].name = (char *)jsonx_opt_string(v, "name", "");
		all[i].container_id = (char *)jsonx_opt_string(v, "id", "");
		list[i] = &all[i];
	}
	r.pod_sandbox_id = (char *)job_pod(j);
	r.restored_containers = list;
	r.n_restored_containers = json_array_size(made);
	call_reply(c, &r.base);
}

static void done_restore(struct job *j)
{
	size_t i;
	json_t *v;
	json_array_foreach (json_object_get(job_config(j), "made"), i, v)
		index_refresh_ctr(job_daemon(j)->index, jsonx_opt_string(v, "id", ""));
	svc_done_pod(j);
}

static bool check_restore(struct call *c, const Runtime__V1__RestorePodRequest *r)
{
	const Runtime__V1__PodSandboxMetadata *m = r->config ? r->config->metadata : NULL;
	const char *why = NULL;
	if (!m || !*m->name || !*m->uid || !*m->namespace_)
		why = "pod sandbox: metadata needs name, namespace and uid";
	else if (r->checkpoint_path[0] != '/')
		why = "checkpoint_path: not an absolute path";
	else if (!r->n_container_configs || r->n_container_configs > CTRS_MAX)
		why = "container_configs: none, or too many";
	for (size_t i = 0; !why && i < r->n_container_configs; i++) {
		const Runtime__V1__ContainerMetadata *a = r->container_configs[i]->metadata;
		if (!a || !*a->name)
			why = "container_configs: metadata needs a name";
		for (size_t k = 0; !why && k < i; k++)
			if (strcmp(r->container_configs[k]->metadata->name, a->name) == 0)
				why = "container_configs: a name is there twice";
	}
	if (why)
		svc_fail(c, ERR_BAD_INPUT, "%s", why);
	return !why;
}

/* Whatever there is of it by then; what is not there is no failure. */
static void undo_steps(struct job *j, const json_t *made)
{
	struct crispd *d = job_daemon(j);
	static const char *const tools[] = {"ctrrun", "ocibundle"};
	for (size_t t = 0; t < ARRAY_LEN(tools); t++)
		for (size_t i = 0; i < json_array_size(made); i++) {
			const char *id = jsonx_opt_string(json_array_get(made, i), "id", "");
			if (t == 0)
				job_step(j, STEP_UNDO, svc_runtime_ms(d), "ctrrun", "rm", "--force",
					 id);
			else
				job_step(j, STEP_UNDO, SVC_BUNDLE_MS, "ocibundle", "rm", id);
		}
	job_step(j, STEP_UNDO, svc_network_ms(d), "podnet", "rm", job_pod(j));
}

static void step_check(struct job *j, const Runtime__V1__RestorePodRequest *r)
{
	struct words w = {.n = 0};
	add(&w, "ctrrun");
	add(&w, "checkpoint-check");
	add(&w, "--");
	add(&w, r->checkpoint_path);
	add(&w, r->runtime_handler);
	for (size_t i = 0; i < r->n_container_configs; i++)
		add(&w, r->container_configs[i]->metadata->name);
	job_step_argv(j, STEP_PLAIN, svc_runtime_ms(job_daemon(j)), w.v);
}

static void step_container(struct job *j, const Runtime__V1__RestorePodRequest *r, const char *id,
			   const json_t *config)
{
	struct crispd *d = job_daemon(j);
	AUTO_WORDS struct words w = {.n = 0};
	AUTO_FREE char *file = xasprintf("%s/containers/%s/container.json", d->cfg.root, id);
	struct step *s = job_step(j, STEP_PLAIN, SVC_BUNDLE_MS, "ocibundle", "create", "--id", id,
				  "--origin", "cri", job_pod(j), "-");
	svc_step_json(s, config, file);
	add(&w, "ctrrun");
	add(&w, "restore");
	add_options(&w, r->n_options, (void *)r->options);
	add(&w, "--");
	add(&w, id);
	add(&w, r->checkpoint_path);
	job_step_argv(j, STEP_PLAIN, svc_runtime_ms(d), w.v);
}

/* Takes wanted: {"handler", "config", "containers": [ContainerConfig], "path"}. */
static void submit_restore(struct call *c, const Runtime__V1__RestorePodRequest *r, const char *key,
			   json_t *wanted)
{
	struct crispd *d = call_daemon(c);
	char id[ID_SIZE];
	size_t i;
	json_t *v, *made = json_array();
	id_new(id);
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CREATE);
	job_for(j, id, NULL);
	job_ends_with_client(j);
	step_check(j, r);
	AUTO_FREE char *file = xasprintf("%s/pods/%s/pod.json", d->cfg.root, id);
	struct step *s = job_step(j, STEP_PLAIN, svc_network_ms(d), "podnet", "create", "--id", id,
				  "--handler", r->runtime_handler, "--origin", "cri", "-");
	svc_step_json(s, json_object_get(wanted, "config"), file);
	json_array_foreach (json_object_get(wanted, "containers"), i, v) {
		char ctr[ID_SIZE];
		id_new(ctr);
		json_array_append_new(made, json_pack("{s:s, s:s}", "name",
						      r->container_configs[i]->metadata->name, "id",
						      ctr));
		step_container(j, r, ctr, v);
	}
	undo_steps(j, made);
	json_object_set_new(wanted, "made", made);
	job_identify(j, key, wanted);
	job_wait(j, c, answer_restore);
	job_submit(j, done_restore);
}

static json_t *configs_json(struct call *c, const Runtime__V1__RestorePodRequest *r)
{
	AUTO_JSON json_t *list = json_array();
	for (size_t i = 0; i < r->n_container_configs; i++) {
		json_t *one = svc_config_json(c, &r->container_configs[i]->base);
		if (!one)
			return NULL;
		json_array_append_new(list, one);
	}
	return TAKE(list);
}

void svc_restore_pod(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__RestorePodRequest *r = (const void *)request;
	if (!check_restore(c, r))
		return;
	const Runtime__V1__PodSandboxMetadata *m = r->config->metadata;
	AUTO_JSON json_t *list = configs_json(c, r);
	json_t *config = list ? svc_config_json(c, &r->config->base) : NULL;
	if (!config)
		return;
	json_t *wanted = json_pack("{s:s, s:o, s:O, s:s}", "handler", r->runtime_handler, "config",
				   config, "containers", list, "path", r->checkpoint_path);
	if (!wanted) {
		svc_fail(c, ERR_BAD_INPUT, "runtime_handler or checkpoint_path is not UTF-8");
		return;
	}
	AUTO_FREE char *key =
		xasprintf("pod %s/%s/%s/%u", m->namespace_, m->name, m->uid, m->attempt);
	struct job *j = job_find(call_daemon(c)->jobs, key);
	if (j) {
		json_decref(wanted);
		svc_fail(c, ERR_EXISTS, "pod sandbox %s of that name is being made: %s", m->name,
			 job_pod(j));
		return;
	}
	submit_restore(c, r, key, wanted);
}

/* What was under way when the last crispd, and its tools with it, came to an end. */
void svc_thaw(struct crispd *d)
{
	for (size_t i = 0; i < index_n_pods(d->index); i++) {
		const char *pod = index_pod_at(d->index, i)->o.id;
		AUTO_FREE char *note =
			xasprintf("%s/pods/%s/checkpoint-under-way.json", d->cfg.runroot, pod);
		if (access(note, F_OK) < 0)
			continue;
		struct job *j = job_new(d, "Thaw", "", JOB_CHANGE);
		job_for(j, pod, NULL);
		step_thaw(j, pod);
		job_submit(j, svc_done_pod);
	}
}
