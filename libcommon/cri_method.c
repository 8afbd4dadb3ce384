/* SPDX-License-Identifier: Apache-2.0 */
#include "cri_method.h"

#include "auto.h"
#include "cri.pb-c.h"
#include "xalloc.h"

#include <string.h>

static const ProtobufCServiceDescriptor *const services[] = {
	&runtime__v1__runtime_service__descriptor,
	&runtime__v1__image_service__descriptor,
};

/* protobuf-c's descriptors do not say which calls stream; the unit test compares with cri.proto. */
static const char *const streaming[] = {
	"StreamPodSandboxes",    "StreamContainers",        "StreamContainerStats",
	"StreamPodSandboxStats", "StreamPodSandboxMetrics", "GetContainerEvents",
	"StreamImages",
};

static void fill(struct cri_method *m, const ProtobufCServiceDescriptor *s,
		 const ProtobufCMethodDescriptor *d)
{
	*m = (struct cri_method){s->name, d->name, d->input, d->output, false};
	for (size_t i = 0; i < ARRAY_LEN(streaming); i++)
		if (strcmp(streaming[i], d->name) == 0)
			m->streaming = true;
}

bool cri_method_at(size_t i, struct cri_method *m)
{
	for (size_t s = 0; s < ARRAY_LEN(services); s++) {
		if (i < services[s]->n_methods) {
			fill(m, services[s], &services[s]->methods[i]);
			return true;
		}
		i -= services[s]->n_methods;
	}
	return false;
}

/* Whether a qualifier of a name, without its slashes, means this service. */
static bool is_service(const ProtobufCServiceDescriptor *s, const char *q, size_t len)
{
	return (strlen(s->name) == len && memcmp(s->name, q, len) == 0) ||
	       (strlen(s->short_name) == len && memcmp(s->short_name, q, len) == 0);
}

bool cri_method_find(const char *name, struct cri_method *m)
{
	const char *q = *name == '/' ? name + 1 : name, *slash = strchr(q, '/');
	for (size_t s = 0; s < ARRAY_LEN(services); s++) {
		if (slash ? !is_service(services[s], q, (size_t)(slash - q)) : *name == '/')
			continue;
		const ProtobufCMethodDescriptor *d =
			protobuf_c_service_descriptor_get_method_by_name(services[s],
									 slash ? slash + 1 : name);
		if (d) {
			fill(m, services[s], d);
			return true;
		}
	}
	return false;
}

char *cri_method_path(const struct cri_method *m)
{
	return xasprintf("/%s/%s", m->service, m->name);
}
