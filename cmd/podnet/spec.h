/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_SPEC_H
#define PODNET_SPEC_H
/* What a PodSandboxConfig asks of podnet, checked. Everything refused is ERR_BAD_INPUT with the
 * path of the field, or ERR_UNSUPPORTED. */
#include "config.h"
#include "cri.pb-c.h"
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct pod_spec {
	bool host_net, host_ipc;
	bool shared_pid; /* asked for by name */
	/* Of its user namespace: the mappings (userns.h), NULL = none, and who is root outside. */
	char *uid_map, *gid_map;
	uint32_t root_uid, root_gid;
	uint32_t n_gids; /* how many groups it has */
	char *hostname;  /* what the pod sees: its own, or the host's */
	json_t *sysctls; /* {"net/core/somaxconn": "1024"}, the node's defaults included */
	json_t *runtime; /* values for the plugins' capabilities: portMappings, dns, … */
	char *resolv;    /* resolv.conf; NULL = the host's */
	char *claim;     /* name, namespace, uid, attempt */
	char *k8s_args;  /* CNI_ARGS without the pod's id */
	char *cgroup_parent;
};

int pod_spec_of(struct pod_spec *s, const Runtime__V1__PodSandboxConfig *m,
		const struct config *cfg, struct err *e);
void pod_spec_release(struct pod_spec *s);
#define AUTO_POD_SPEC __attribute__((cleanup(pod_spec_release)))

/* sysctl.c. Adds name = value (in "a.b/c" or "a/b.c" spelling, as sysctl(8) reads them) under its
 * path. Refuses what belongs to no namespace, and what would reach the host's. */
int sysctl_add(json_t *sysctls, const char *name, const char *value, const struct pod_spec *s,
	       struct err *e);
/* The node's default_sysctls, less those whose namespace is the host's. */
int sysctl_add_defaults(json_t *sysctls, json_t *defaults, const struct pod_spec *s, struct err *e);

/* capabilities.c: the values for s->runtime. */
int capabilities_of(json_t *runtime, const Runtime__V1__PodSandboxConfig *m, struct err *e);
#endif
