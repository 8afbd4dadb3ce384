/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CRI_METHOD_H
#define CRISP_CRI_METHOD_H
/* The calls of the CRI's two services by name and by gRPC path. */
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct cri_method {
	const char *service; /* "runtime.v1.RuntimeService" */
	const char *name;    /* "RunPodSandbox"; no two of the services are alike */
	const ProtobufCMessageDescriptor *input, *output;
	bool streaming; /* the server answers with any number of messages */
};

/* The i-th call in the order of cri.proto; false after the last. */
bool cri_method_at(size_t i, struct cri_method *m);
/* By name ("Version"), by service and name ("RuntimeService/Version") or by path. False if there is
 * none. */
bool cri_method_find(const char *name, struct cri_method *m);
/* "/runtime.v1.RuntimeService/RunPodSandbox", to be freed. */
char *cri_method_path(const struct cri_method *m);
#endif
