/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PODMANIFEST_H
#define CRISP_PODMANIFEST_H
/* A Kubernetes v1 Pod as the CRI messages that a kubelet would have sent. The facts are those of
 * kubernetes/kubernetes: pkg/kubelet (kubelet_pods.go, kuberuntime/, qos/, cm/, network/dns),
 * pkg/securitycontext, pkg/fieldpath, third_party/forked/golang/expansion, and what an API server
 * defaults (pkg/apis/core/v1/defaults.go).
 *
 * The documents are read (docs.c), checked against what a Pod may have in it (schema.c), and only
 * then looked at: everything behind relies on the types. What cannot be honoured is a problem with
 * its path (problem); all problems together are one error at the end, or warnings with --lenient. */
#include "config.h"
#include "err.h"
#include "tool.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct options {
	struct opt_strings configmaps, secrets; /* NAME=DIR */
	struct opt_strings volumes;             /* NAME=PATH instead of what the manifest has */
	struct opt_strings cluster_dns;
	const char *volumes_dir, *out_dir, *pod, *name, *uid;
	const char *node_name, *node_ip, *pod_ip, *node_memory, *node_cpu;
	const char *cluster_domain, *resolv_conf, *cgroup_parent, *log_dir, *seccomp_dir;
	long index, userns;
	bool lenient, no_service_account;
};

enum qos { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };

/* What one container, or a pod, asks for; -1 = not said. Processors in thousandths, memory in bytes. */
struct amounts {
	int64_t cpu_request, cpu_limit, memory_request, memory_limit;
};

struct pm {
	const struct options *o;
	const struct config *cfg;
	const char *what; /* the document's name in messages */
	bool write;       /* make directories and files */
	json_t *pod;      /* {"metadata", "spec"}, of a Pod or made from a template */
	json_t *meta, *spec;
	json_t *configmaps, *secrets; /* name -> {key: text, or {"base64"} for what is not text} */
	json_t *problems;             /* texts */
	json_t *places; /* volume name -> {"path", "readonly", "managed"} or {"image"} */
	json_t *late;   /* files that have the pod's address in them */
	size_t spent;   /* bytes that the manifest has become */
	char *dir;      /* the pod's own: volumes, /etc/hosts, termination messages */
	char *hostname, *domain;
	char pod_ip_mark[64]; /* stands for the address while nobody knows it */
	const char *pod_ip, *node_ip;
	char node_ip_found[64], node_name[256];
	const char *name, *namespace_, *uid;
	int64_t node_memory, node_millicpu;
	enum qos qos;
};

/* docs.c: the text's documents; fills p->pod, configmaps, secrets. */
int docs_load(struct pm *p, const char *text, size_t len, struct err *e);
/* template.c: a Pod of a workload; a new object, or NULL with an error. */
json_t *template_pod(struct pm *p, json_t *workload, struct err *e);
bool template_is_workload(const char *kind);

/* schema.c: types and unknown keys of the pod; unknown and unsupported ones become problems. */
int schema_check_pod(struct pm *p, struct err *e);
/* Names that become paths and host names. */
bool name_is_label(const char *s);     /* RFC 1123 label */
bool name_is_subdomain(const char *s); /* labels with dots */

/* problems.c */
__attribute__((format(printf, 2, 3))) void problem(struct pm *p, const char *fmt, ...);
int problems_settle(struct pm *p, struct err *e);
/* Variables, arguments and files may be said once and used often: what they add up to is bounded. */
int spend(struct pm *p, size_t bytes, const char *path, struct err *e);

/* Members of checked objects; missing ones are "", 0, false, NULL. */
const char *str(const json_t *o, const char *key);
bool flag(const json_t *o, const char *key);
bool is_sidecar(const json_t *container);
/* The containers of the pod in the order of their start: initContainers, then containers. */
size_t containers_count(const struct pm *p);
json_t *container_at(const struct pm *p, size_t i, bool *init);

/* quantity.c: "100m", "1.5Gi", 2 -> thousandths, rounded up. 0 or -1 when it is none. */
int quantity_milli(const json_t *v, int64_t *out);
int quantity_parse(const char *s, int64_t *milli);
int64_t quantity_whole(int64_t milli); /* rounded up */

/* expand.c: $(VAR) by the kubelet's rules; vars is an object of strings. To be freed. */
char *expand(const char *s, const json_t *vars);

/* qos.c: pure. */
int64_t cpu_shares(int64_t milli);
int64_t cpu_quota(int64_t milli); /* for a period of 100 ms */
enum qos qos_of(const struct amounts *all, size_t n);
const char *qos_name(enum qos q);
int64_t oom_score_adj(enum qos q, bool node_critical, int64_t memory_request, int64_t capacity,
		      int64_t smallest_of_main);
json_t *linux_resources(const struct amounts *a);

/* resources.c */
int resources_prepare(struct pm *p, struct err *e); /* p->qos, the node's size */
int amounts_of(const json_t *container, const char *path, struct amounts *a, struct err *e);
json_t *container_resources(struct pm *p, json_t *container, bool init, const char *path,
			    struct err *e);
int pod_resources(struct pm *p, json_t *linux_config, struct err *e);
/* A resourceFieldRef's value, to be freed. */
char *resource_field(struct pm *p, const json_t *ref, json_t *container, const char *path,
		     struct err *e);

/* fields.c: a fieldRef's value, to be freed; for_volume: the fewer fields that files may have. */
char *pod_field(struct pm *p, const char *field_path, bool for_volume, const char *path,
		struct err *e);

/* env.c: the container's variables in order, an object of strings. */
json_t *container_env(struct pm *p, json_t *container, const char *path, struct err *e);

/* sources.c: data of configMaps and secrets. */
int sources_load(struct pm *p, struct err *e);
int sources_add_document(struct pm *p, json_t *doc, const char *path, struct err *e);
/* The bytes of a value, to be freed. */
char *source_bytes(const json_t *value, size_t *len);

/* volumes.c, volume_files.c */
int volumes_prepare(struct pm *p, struct err *e);
json_t *container_mounts(struct pm *p, json_t *container, const json_t *env, const char *path,
			 struct err *e);
/* A directory of files as the kubelet's atomic writer leaves it. files: path -> {"data", "mode"}. */
int volume_write(const struct pm *p, const char *dir, const json_t *files, struct err *e);
/* The files of a configMap, secret, downwardAPI or projected source, added to files. */
int volume_files(struct pm *p, const char *kind, json_t *source, long default_mode, json_t *files,
		 const char *path, struct err *e);
int volume_chown(const struct pm *p, const char *dir, bool readonly, struct err *e); /* fsGroup */

/* hosts.c */
int hosts_prepare(struct pm *p, struct err *e); /* hostname, domain, the hosts file */
json_t *dns_config(struct pm *p, struct err *e);

/* security.c */
json_t *container_security(struct pm *p, json_t *container, const char *path, struct err *e);
json_t *sandbox_security(struct pm *p, struct err *e);
/* runAsNonRoot, and nobody says as whom. */
bool container_checks_image_user(const struct pm *p, const json_t *container);
/* A group without a user: a kubelet sends the image's user with it. */
bool container_takes_image_user(const struct pm *p, const json_t *container);

/* probes.c */
int container_probes(struct pm *p, json_t *container, json_t *out, const char *path, struct err *e);
/* The number of a port that may be a name of the container's ports; -1 with an error. */
int port_number(json_t *container, const json_t *port, const char *path, struct err *e);

/* sandbox.c, container.c, convert.c */
json_t *sandbox_config(struct pm *p, struct err *e);
json_t *container_config(struct pm *p, json_t *container, bool init, const char *path,
			 struct err *e);
/* The whole document from the text of the manifest; a new object. */
json_t *manifest_convert(struct pm *p, const char *text, size_t len, struct err *e);
void pm_release(struct pm *p);
#define AUTO_PM __attribute__((cleanup(pm_release)))
#endif
