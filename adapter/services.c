/* SPDX-License-Identifier: Apache-2.0 */
#include "services.h"

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
	{NULL, NULL, false, NULL},
};
