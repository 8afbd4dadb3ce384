/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "services.h"
#include "svc.h"
#include "xalloc.h"

#include <string.h>

/* Changed limits. Equal requests at the same time share a job; others come one after the other. */

static void answer_ctr(struct call *c, const struct job *j)
{
	Runtime__V1__UpdateContainerResourcesResponse r =
		RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

static void answer_pod(struct call *c, const struct job *j)
{
	Runtime__V1__UpdatePodSandboxResourcesResponse r =
		RUNTIME__V1__UPDATE_POD_SANDBOX_RESOURCES_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* NULL: the call waits for an equal one. Takes the configuration. */
static struct job *new_job(struct call *c, const char *id, json_t *wanted,
			   void (*answer)(struct call *c, const struct job *j))
{
	struct crispd *d = call_daemon(c);
	AUTO_FREE char *key = xasprintf("update %s", id);
	struct job *j = job_find(d->jobs, key);
	if (j && json_equal(job_config(j), wanted)) {
		json_decref(wanted);
		job_wait(j, c, answer);
		return NULL;
	}
	j = job_new(d, call_rpc(c), call_id(c), JOB_CHANGE);
	job_identify(j, key, wanted);
	return j;
}

void svc_update_container_resources(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__UpdateContainerResourcesRequest *r = (const void *)request;
	Runtime__V1__UpdateContainerResourcesResponse nothing =
		RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	struct ctr *k = svc_need_ctr(c, r->container_id);
	if (!k)
		return;
	if (k->damage || (k->state != CTR_CREATED && k->state != CTR_RUNNING)) {
		svc_fail(c, ERR_BAD_STATE, "container %s is %s: it has no limits to change",
			 k->o.id, k->damage ? "damaged" : ctr_state_name(k->state));
		return;
	}
	if (!r->linux) {
		call_reply(c, &nothing.base);
		return;
	}
	json_t *wanted = svc_config_json(c, &r->linux->base);
	struct job *j = wanted ? new_job(c, k->o.id, wanted, answer_ctr) : NULL;
	if (!j)
		return;
	job_for(j, k->rec.pod_id, k->o.id);
	AUTO_FREE char *file = xasprintf("%s/containers/%s/resources.json", d->cfg.root, k->o.id);
	struct step *s =
		job_step(j, STEP_PLAIN, svc_runtime_ms(d), "ctrrun", "update", k->o.id, "-");
	svc_step_json(s, wanted, file);
	job_wait(j, c, answer_ctr);
	job_submit(j, svc_done_ctr);
}

void svc_update_pod_sandbox_resources(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__UpdatePodSandboxResourcesRequest *r = (const void *)request;
	struct crispd *d = call_daemon(c);
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	json_t *wanted = p ? svc_config_json(c, &r->base) : NULL;
	struct job *j = wanted ? new_job(c, p->o.id, wanted, answer_pod) : NULL;
	if (!j)
		return;
	job_for(j, p->o.id, NULL);
	AUTO_FREE char *file = xasprintf("%s/pods/%s/resources.json", d->cfg.root, p->o.id);
	struct step *s = job_step(j, STEP_PLAIN, SVC_BUNDLE_MS, "podnet", "update", p->o.id, "-");
	svc_step_json(s, wanted, file);
	job_wait(j, c, answer_pod);
	job_submit(j, svc_done_pod);
}
