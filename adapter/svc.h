/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SVC_H
#define CRISP_SVC_H
/* What the service handlers share. */
#include "index.h"
#include "jobs.h"

/* How long one tool may take, beyond what it waits for on purpose (milliseconds). */
long long svc_runtime_ms(const struct crispd *d); /* a ctrrun that calls the OCI runtime */
long long svc_network_ms(const struct crispd *d); /* podnet: several plugins, a debt to pay */
enum { SVC_BUNDLE_MS = 5 * 60 * 1000 }; /* ocibundle, ocistore: disk only, but slow ones */

__attribute__((format(printf, 3, 4))) void svc_fail(struct call *c, enum err_kind kind,
						    const char *fmt, ...);
/* The reply when the job succeeded, else its error. */
void svc_answer(struct call *c, const struct job *j, const ProtobufCMessage *reply);

/* The object if the CRI may see it; svc_need_* answers NOT_FOUND itself. */
struct pod *svc_pod(struct call *c, const char *id);
struct ctr *svc_ctr(struct call *c, const char *id);
struct pod *svc_need_pod(struct call *c, const char *id);
struct ctr *svc_need_ctr(struct call *c, const char *id);

/* The pod of the same name, namespace, uid and attempt, once it is made. */
struct pod *svc_namesake(const struct index *ix, const char *name, const char *namespace,
			 const char *uid, uint32_t attempt);

/* Is each pair of the selector among the labels? Both are maps of string to string. */
bool svc_labels_match(size_t n_want, void *const *want, size_t n_have, void *const *have);

/* A request's message as JSON, the way the tools write it; or the answer is given. */
json_t *svc_config_json(struct call *c, const ProtobufCMessage *m);
/* Give a step this JSON on stdin. `file` as in step_stdin. */
void svc_step_json(struct step *s, const json_t *j, const char *file);
/* A configuration on disk in the same form, NULL when it cannot be read. */
json_t *svc_disk_config(const struct crispd *d, enum object_kind kind, const char *id);

/* The pod will probably have another container (standby.h). */
void svc_want_bundle(struct crispd *d, const char *pod, long long for_ms);

/* Hooks for job_submit: read the job's objects again. */
void svc_done_ctr(struct job *j);
void svc_done_pod(struct job *j);

/* status.c: the messages of one object, in the arena, strings borrowed from the index. */
Runtime__V1__ContainerStatus *status_ctr(struct crispd *d, struct ctr *c, struct arena *a);
Runtime__V1__PodSandboxStatus *status_pod(struct pod *p, struct arena *a);
/* Of all containers of the pod. */
Runtime__V1__ContainerStatus **status_ctrs_of(struct crispd *d, const char *pod_id, size_t *n,
					      struct arena *a);
/* The verbose "info" entry. */
char *status_ctr_info(const struct ctr *c);
char *status_pod_info(const struct pod *p);

/* svc_stats.c: what a container or a pod uses now; no cpu and memory when it does not run. */
Runtime__V1__ContainerStats *stats_ctr(struct crispd *d, struct ctr *c, struct arena *a);
Runtime__V1__PodSandboxStats *stats_pod(struct crispd *d, struct pod *p, struct arena *a);
/* Where that is read; remembered, and not known when nothing of it has run. */
struct usage_dirs *stats_ctr_dirs(struct ctr *c);
struct usage_dirs *stats_pod_dirs(const struct crispd *d, struct pod *p);
/* Of the pod's network, as long as a container runs in it. */
size_t stats_interfaces(const struct crispd *d, const struct pod *p, struct usage_interface *list,
			size_t max);
#endif
