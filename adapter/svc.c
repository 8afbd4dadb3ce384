/* SPDX-License-Identifier: Apache-2.0 */
#include "svc.h"

#include "auto.h"
#include "jsonx.h"
#include "pbjson.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SLACK_MS = 15000, PLUGINS = 10 };

long long svc_runtime_ms(const struct crispd *d)
{
	return 2000 * (long long)d->cfg.runtime_timeout + SLACK_MS;
}

long long svc_network_ms(const struct crispd *d)
{
	return 1000 * PLUGINS * (long long)d->cfg.network_timeout + SLACK_MS;
}

void svc_fail(struct call *c, enum err_kind kind, const char *fmt, ...)
{
	struct err e = {.kind = kind};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e.msg, sizeof e.msg, fmt, ap);
	va_end(ap);
	call_fail(c, &e);
}

void svc_answer(struct call *c, const struct job *j, const ProtobufCMessage *reply)
{
	if (job_error(j))
		call_fail(c, job_error(j));
	else
		call_reply(c, reply);
}

struct pod *svc_pod(struct call *c, const char *id)
{
	struct pod *p = index_pod(call_daemon(c)->index, id);
	return p && pod_visible(p) ? p : NULL;
}

/* One that is still prepared is not listed, yet who knows its id may have it stopped and removed. */
struct ctr *svc_ctr(struct call *c, const char *id)
{
	struct ctr *k = index_ctr(call_daemon(c)->index, id);
	return k && (ctr_visible(k) || (k->rec.complete && strcmp(k->rec.origin, "cri") == 0))
		       ? k
		       : NULL;
}

struct pod *svc_need_pod(struct call *c, const char *id)
{
	struct pod *p = svc_pod(c, id);
	if (!p)
		svc_fail(c, ERR_NOT_FOUND, "no such pod: %.80s", id);
	return p;
}

struct ctr *svc_need_ctr(struct call *c, const char *id)
{
	struct ctr *k = svc_ctr(c, id);
	if (k && ctr_visible(k))
		return k;
	svc_fail(c, ERR_NOT_FOUND, "no such container: %.80s", id);
	return NULL;
}

struct pod *svc_namesake(const struct index *ix, const char *name, const char *namespace,
			 const char *uid, uint32_t attempt)
{
	for (size_t i = 0; i < index_n_pods(ix); i++) {
		struct pod *p = index_pod_at(ix, i);
		const Runtime__V1__PodSandboxMetadata *have = p->config->metadata;
		if (p->rec.complete && strcmp(have->name, name) == 0 &&
		    strcmp(have->uid, uid) == 0 && strcmp(have->namespace_, namespace) == 0 &&
		    have->attempt == attempt)
			return p;
	}
	return NULL;
}

bool svc_labels_match(size_t n_want, void *const *want, size_t n_have, void *const *have)
{
	/* All entries of string maps are alike. */
	for (size_t i = 0; i < n_want; i++) {
		const Runtime__V1__ContainerConfig__LabelsEntry *w = want[i];
		bool found = false;
		for (size_t k = 0; k < n_have && !found; k++) {
			const Runtime__V1__ContainerConfig__LabelsEntry *h = have[k];
			found = strcmp(w->key, h->key) == 0 && strcmp(w->value, h->value) == 0;
		}
		if (!found)
			return false;
	}
	return true;
}

json_t *svc_config_json(struct call *c, const ProtobufCMessage *m)
{
	struct err e;
	json_t *j = pbjson_write(m, 0, &e);
	if (!j)
		call_fail(c, &e);
	return j;
}

void svc_step_json(struct step *s, const json_t *j, const char *file)
{
	AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
	step_stdin(s, text ? text : "", text ? strlen(text) : 0, file);
}

json_t *svc_disk_config(const struct crispd *d, enum object_kind kind, const char *id)
{
	struct err e;
	const char *file = kind == OBJ_POD ? "pod.json" : "container.json";
	AUTO_CLOSE int dir = object_open(&d->st, kind, id, &e);
	AUTO_JSON json_t *j = dir < 0 ? NULL : object_config_read(dir, kind, &e);
	AUTO_PB ProtobufCMessage *m =
		j ? pbjson_read(kind == OBJ_POD ? &runtime__v1__pod_sandbox_config__descriptor
						: &runtime__v1__container_config__descriptor,
				j, file, &e)
		  : NULL;
	return m ? pbjson_write(m, 0, &e) : NULL;
}

void svc_done_ctr(struct job *j)
{
	struct index *ix = job_daemon(j)->index;
	if (*job_ctr(j))
		index_refresh_ctr(ix, job_ctr(j));
}

void svc_done_pod(struct job *j)
{
	struct index *ix = job_daemon(j)->index;
	for (size_t i = index_n_ctrs(ix); i-- > 0;) {
		const struct ctr *c = index_ctr_at(ix, i);
		char id[ID_SIZE];
		if (strcmp(c->rec.pod_id, job_pod(j)) != 0)
			continue;
		memcpy(id, c->o.id, ID_SIZE);
		index_refresh_ctr(ix, id);
	}
	/* Last, so that what its containers do is told while there is a pod. */
	index_refresh_pod(ix, job_pod(j));
}
