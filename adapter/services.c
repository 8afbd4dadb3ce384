/* SPDX-License-Identifier: Apache-2.0 */
#include "services.h"

#include "feed.h"
#include "svc_streaming.h"

#include "cri.pb-c.h"

#define RUNTIME(rpc, input, streaming, handler) \
	{ \
		"/runtime.v1.RuntimeService/" rpc, &runtime__v1__##input##__descriptor, streaming, \
			handler \
	}
#define IMAGE(rpc, input, streaming, handler) \
	{ \
		"/runtime.v1.ImageService/" rpc, &runtime__v1__##input##__descriptor, streaming, \
			handler \
	}

const struct call_method call_methods[] = {
	RUNTIME("Version", version_request, false, svc_version),
	RUNTIME("Status", status_request, false, svc_status),
	RUNTIME("RuntimeConfig", runtime_config_request, false, svc_runtime_config),
	RUNTIME("UpdateRuntimeConfig", update_runtime_config_request, false,
		svc_update_runtime_config),
	RUNTIME("RunPodSandbox", run_pod_sandbox_request, false, svc_run_pod_sandbox),
	RUNTIME("StopPodSandbox", stop_pod_sandbox_request, false, svc_stop_pod_sandbox),
	RUNTIME("RemovePodSandbox", remove_pod_sandbox_request, false, svc_remove_pod_sandbox),
	RUNTIME("PodSandboxStatus", pod_sandbox_status_request, false, svc_pod_sandbox_status),
	RUNTIME("ListPodSandbox", list_pod_sandbox_request, false, svc_list_pod_sandbox),
	RUNTIME("StreamPodSandboxes", stream_pod_sandboxes_request, true, svc_stream_pod_sandboxes),
	RUNTIME("CreateContainer", create_container_request, false, svc_create_container),
	RUNTIME("StartContainer", start_container_request, false, svc_start_container),
	RUNTIME("StopContainer", stop_container_request, false, svc_stop_container),
	RUNTIME("RemoveContainer", remove_container_request, false, svc_remove_container),
	RUNTIME("ListContainers", list_containers_request, false, svc_list_containers),
	RUNTIME("StreamContainers", stream_containers_request, true, svc_stream_containers),
	RUNTIME("ContainerStatus", container_status_request, false, svc_container_status),
	RUNTIME("UpdateContainerResources", update_container_resources_request, false,
		svc_update_container_resources),
	RUNTIME("UpdatePodSandboxResources", update_pod_sandbox_resources_request, false,
		svc_update_pod_sandbox_resources),
	RUNTIME("ReopenContainerLog", reopen_container_log_request, false,
		svc_reopen_container_log),
	RUNTIME("ExecSync", exec_sync_request, false, svc_exec_sync),
	RUNTIME("Exec", exec_request, false, svc_exec),
	RUNTIME("Attach", attach_request, false, svc_attach),
	RUNTIME("PortForward", port_forward_request, false, svc_port_forward),
	RUNTIME("ContainerStats", container_stats_request, false, svc_container_stats),
	RUNTIME("ListContainerStats", list_container_stats_request, false,
		svc_list_container_stats),
	RUNTIME("StreamContainerStats", stream_container_stats_request, true,
		svc_stream_container_stats),
	RUNTIME("PodSandboxStats", pod_sandbox_stats_request, false, svc_pod_sandbox_stats),
	RUNTIME("ListPodSandboxStats", list_pod_sandbox_stats_request, false,
		svc_list_pod_sandbox_stats),
	RUNTIME("StreamPodSandboxStats", stream_pod_sandbox_stats_request, true,
		svc_stream_pod_sandbox_stats),
	RUNTIME("ListMetricDescriptors", list_metric_descriptors_request, false,
		svc_list_metric_descriptors),
	RUNTIME("ListPodSandboxMetrics", list_pod_sandbox_metrics_request, false,
		svc_list_pod_sandbox_metrics),
	RUNTIME("StreamPodSandboxMetrics", stream_pod_sandbox_metrics_request, true,
		svc_stream_pod_sandbox_metrics),
	RUNTIME("CheckpointContainer", checkpoint_container_request, false,
		svc_checkpoint_container),
	RUNTIME("CheckpointPod", checkpoint_pod_request, false, svc_checkpoint_pod),
	RUNTIME("RestorePod", restore_pod_request, false, svc_restore_pod),
	RUNTIME("GetContainerEvents", get_events_request, true, svc_get_container_events),
	IMAGE("ListImages", list_images_request, false, svc_list_images),
	IMAGE("StreamImages", stream_images_request, true, svc_stream_images),
	IMAGE("ImageStatus", image_status_request, false, svc_image_status),
	IMAGE("PullImage", pull_image_request, false, svc_pull_image),
	IMAGE("RemoveImage", remove_image_request, false, svc_remove_image),
	IMAGE("ImageFsInfo", image_fs_info_request, false, svc_image_fs_info),
	{NULL, NULL, false, NULL},
};
