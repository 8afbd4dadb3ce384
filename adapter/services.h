/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SERVICES_H
#define CRISP_SERVICES_H
/* The handlers in the table of call.h (services.c); one svc_*.c an area. */
#include "call.h"

/* svc_runtime.c: about crisp itself; nothing here waits for anything. */
void svc_version(struct call *c, const ProtobufCMessage *request);
void svc_status(struct call *c, const ProtobufCMessage *request);
void svc_runtime_config(struct call *c, const ProtobufCMessage *request);
/* Ask the runtimes what they can do, by a job. */
void svc_probe_handlers(struct crispd *d);
void svc_update_runtime_config(struct call *c, const ProtobufCMessage *request);

/* svc_pods.c */
void svc_run_pod_sandbox(struct call *c, const ProtobufCMessage *request);
void svc_stop_pod_sandbox(struct call *c, const ProtobufCMessage *request);
void svc_remove_pod_sandbox(struct call *c, const ProtobufCMessage *request);
void svc_pod_sandbox_status(struct call *c, const ProtobufCMessage *request);
void svc_list_pod_sandbox(struct call *c, const ProtobufCMessage *request);
void svc_stream_pod_sandboxes(struct call *c, const ProtobufCMessage *request);

/* svc_containers.c: what changes one */
void svc_create_container(struct call *c, const ProtobufCMessage *request);
void svc_start_container(struct call *c, const ProtobufCMessage *request);
void svc_stop_container(struct call *c, const ProtobufCMessage *request);
void svc_remove_container(struct call *c, const ProtobufCMessage *request);
void svc_reopen_container_log(struct call *c, const ProtobufCMessage *request);

/* svc_update.c */
void svc_update_container_resources(struct call *c, const ProtobufCMessage *request);
void svc_update_pod_sandbox_resources(struct call *c, const ProtobufCMessage *request);

/* svc_checkpoint.c */
void svc_checkpoint_container(struct call *c, const ProtobufCMessage *request);
void svc_checkpoint_pod(struct call *c, const ProtobufCMessage *request);
void svc_restore_pod(struct call *c, const ProtobufCMessage *request);
/* At the start: whatever a checkpoint that was killed has left paused runs on. */
void svc_thaw(struct crispd *d);

/* svc_ctr_read.c, svc_exec.c */
void svc_list_containers(struct call *c, const ProtobufCMessage *request);
void svc_stream_containers(struct call *c, const ProtobufCMessage *request);
void svc_container_status(struct call *c, const ProtobufCMessage *request);
void svc_exec_sync(struct call *c, const ProtobufCMessage *request);

/* svc_stats.c */
void svc_container_stats(struct call *c, const ProtobufCMessage *request);
void svc_list_container_stats(struct call *c, const ProtobufCMessage *request);
void svc_stream_container_stats(struct call *c, const ProtobufCMessage *request);
void svc_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request);
void svc_list_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request);
void svc_stream_pod_sandbox_stats(struct call *c, const ProtobufCMessage *request);

/* svc_metrics.c */
void svc_list_metric_descriptors(struct call *c, const ProtobufCMessage *request);
void svc_list_pod_sandbox_metrics(struct call *c, const ProtobufCMessage *request);
void svc_stream_pod_sandbox_metrics(struct call *c, const ProtobufCMessage *request);

/* svc_images.c */
void svc_list_images(struct call *c, const ProtobufCMessage *request);
void svc_stream_images(struct call *c, const ProtobufCMessage *request);
void svc_image_status(struct call *c, const ProtobufCMessage *request);
void svc_pull_image(struct call *c, const ProtobufCMessage *request);
void svc_remove_image(struct call *c, const ProtobufCMessage *request);
void svc_image_fs_info(struct call *c, const ProtobufCMessage *request);
#endif
