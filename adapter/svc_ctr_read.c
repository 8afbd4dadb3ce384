/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "lister.h"
#include "packed.h"
#include "services.h"
#include "svc.h"

#include <string.h>

static bool ctr_matches(const struct ctr *c, const Runtime__V1__ContainerFilter *f)
{
	if (!ctr_visible(c))
		return false;
	if (!f)
		return true;
	if (*f->id && strncmp(c->o.id, f->id, strlen(f->id)) != 0)
		return false;
	if (*f->pod_sandbox_id &&
	    strncmp(c->rec.pod_id, f->pod_sandbox_id, strlen(f->pod_sandbox_id)) != 0)
		return false;
	if (f->state && f->state->state != ctr_cri_state(c))
		return false;
	return svc_labels_match(f->n_label_selector, (void **)f->label_selector,
				c->config->n_labels, (void **)c->config->labels);
}

void svc_list_containers(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ListContainersRequest *r = (const void *)request;
	Runtime__V1__ListContainersResponse reply = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
	const struct index *ix = call_daemon(c)->index;
	AUTO_ARENA struct arena a = {0};
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		struct ctr *k = index_ctr_at(ix, i);
		if (ctr_matches(k, r->filter))
			packed_append(&reply.base, &a, index_n_ctrs(ix), k->packed, k->packed_len);
	}
	call_reply(c, &reply.base);
}

static uint8_t *ctr_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct ctr *k = index_ctr(d->index, id);
	(void)a;
	*len = k ? k->packed_len : 0;
	return k ? k->packed : NULL;
}

void svc_stream_containers(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StreamContainersRequest *r = (const void *)request;
	const struct index *ix = call_daemon(c)->index;
	struct lister *l = lister_new(c, ctr_element, index_n_ctrs(ix));
	for (size_t i = 0; i < index_n_ctrs(ix); i++)
		if (ctr_matches(index_ctr_at(ix, i), r->filter))
			lister_add(l, index_ctr_at(ix, i)->o.id);
	lister_send(l);
}

void svc_container_status(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ContainerStatusRequest *r = (const void *)request;
	Runtime__V1__ContainerStatusResponse reply = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
	Runtime__V1__ContainerStatusResponse__InfoEntry info =
		RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INFO_ENTRY__INIT;
	Runtime__V1__ContainerStatusResponse__InfoEntry *infos[] = {&info};
	struct ctr *k = svc_need_ctr(c, r->container_id);
	AUTO_ARENA struct arena a = {0};
	AUTO_FREE char *text = NULL;
	if (!k)
		return;
	reply.status = status_ctr(call_daemon(c), k, &a);
	if (r->verbose) {
		text = status_ctr_info(k);
		info.key = (char *)"info";
		info.value = text;
		reply.n_info = 1;
		reply.info = infos;
	}
	call_reply(c, &reply.base);
}
