/* SPDX-License-Identifier: Apache-2.0 */
/* What the controllers of Kubernetes make of a workload: one pod of it. */
#include "podmanifest.h"

#include "auto.h"
#include "digest.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { SUFFIX_LEN = 5, UID_LEN = 36 };

static const struct kind {
	const char *name;
	const char *path[3]; /* from spec to the template */
} kinds[] = {
	{"Pod", {NULL}},
	{"Deployment", {"template"}},
	{"ReplicaSet", {"template"}},
	{"ReplicationController", {"template"}},
	{"DaemonSet", {"template"}},
	{"StatefulSet", {"template"}},
	{"Job", {"template"}},
	{"CronJob", {"jobTemplate", "spec", "template"}},
};

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

bool template_is_workload(const char *kind)
{
	return kind_of(kind) != NULL;
}

static json_t *object_at(json_t *in, const char *key)
{
	json_t *j = json_object_get(in, key);
	if (json_is_object(j))
		return j;
	json_object_set_new(in, key, json_object());
	return json_object_get(in, key);
}

/* Labels that a controller adds, which a pod may ask for. */
static void add_label(json_t *meta, const char *key, const char *value)
{
	json_object_set_new(object_at(meta, "labels"), key, json_string(value));
}

static void of_stateful_set(struct pm *p, json_t *set, json_t *pod, const char *name)
{
	json_t *meta = object_at(pod, "metadata"), *spec = object_at(pod, "spec"), *claim;
	json_t *set_spec = json_object_get(set, "spec");
	size_t i;
	char index[24];
	snprintf(index, sizeof index, "%ld", p->o->index);
	add_label(meta, "statefulset.kubernetes.io/pod-name", name);
	add_label(meta, "apps.kubernetes.io/pod-index", index);
	json_object_set_new(spec, "hostname", json_string(name));
	if (*str(set_spec, "serviceName"))
		json_object_set(spec, "subdomain", json_object_get(set_spec, "serviceName"));
	json_t *volumes = json_object_get(spec, "volumes");
	if (!json_is_array(volumes)) {
		json_object_set_new(spec, "volumes", json_array());
		volumes = json_object_get(spec, "volumes");
	}
	json_array_foreach (json_object_get(set_spec, "volumeClaimTemplates"), i, claim) {
		const char *volume = str(json_object_get(claim, "metadata"), "name");
		json_array_append_new(volumes,
				      json_pack("{s:s, s:{s:s}}", "name", volume,
						"persistentVolumeClaim", "claimName", volume));
	}
}

/* An indexed job's pods know their number, by annotation, label and environment. */
static void of_job(struct pm *p, json_t *job_spec, json_t *pod, const char *job)
{
	static const char key[] = "batch.kubernetes.io/job-completion-index";
	json_t *meta = object_at(pod, "metadata"), *spec = object_at(pod, "spec"), *one;
	static const char *const lists[] = {"initContainers", "containers"};
	char index[24];
	size_t k;
	add_label(meta, "batch.kubernetes.io/job-name", job);
	add_label(meta, "job-name", job);
	if (strcmp(str(job_spec, "completionMode"), "Indexed") != 0)
		return;
	snprintf(index, sizeof index, "%ld", p->o->index);
	AUTO_FREE char *host = xasprintf("%s-%s", job, index);
	add_label(meta, key, index);
	json_object_set_new(object_at(meta, "annotations"), key, json_string(index));
	json_object_set_new(spec, "hostname", json_string(host));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_array_foreach (json_object_get(spec, lists[i]), k, one) {
			json_t *env = json_object_get(one, "env");
			if (!json_is_array(env) && json_is_object(one)) {
				json_object_set_new(one, "env", json_array());
				env = json_object_get(one, "env");
			}
			json_array_append_new(
				env, json_pack("{s:s, s:{s:{s:s}}}", "name", "JOB_COMPLETION_INDEX",
					       "valueFrom", "fieldRef", "fieldPath",
					       "metadata.annotations['"
					       "batch.kubernetes.io/job-completion-index']"));
		}
}

/* Equal manifests give equal names and ids, so that a pod that is up already is found. */
static void fingerprint(const json_t *workload, char hex[DIGEST_HEX_LEN + 1])
{
	AUTO_FREE char *text = json_dumps(workload, JSON_COMPACT | JSON_SORT_KEYS);
	digest_of(text ? text : "", text ? strlen(text) : 0, hex);
}

static void set_identity(struct pm *p, json_t *workload, const struct kind *k, json_t *pod)
{
	char hex[DIGEST_HEX_LEN + 1], uid[UID_LEN + 1];
	json_t *meta = object_at(pod, "metadata"), *from = json_object_get(workload, "metadata");
	const char *base = str(from, "name");
	bool is_pod = k == &kinds[0], set = strcmp(k->name, "StatefulSet") == 0;
	fingerprint(workload, hex);
	AUTO_FREE char *index = xasprintf("%ld", p->o->index);
	AUTO_FREE char *suffixed = xasprintf("%s-%.*s", base, set ? (int)strlen(index) : SUFFIX_LEN,
					     set ? index : hex);
	if (p->o->name)
		json_object_set_new(meta, "name", json_string(p->o->name));
	else if (!is_pod)
		json_object_set_new(meta, "name", json_string(suffixed));
	else if (!*base && *str(from, "generateName")) {
		AUTO_FREE char *made =
			xasprintf("%s%.*s", str(from, "generateName"), SUFFIX_LEN, hex);
		json_object_set_new(meta, "name", json_string(made));
	}
	if (!is_pod && *str(from, "namespace"))
		json_object_set(meta, "namespace", json_object_get(from, "namespace"));
	snprintf(uid, sizeof uid, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		 hex + 20);
	if (p->o->uid)
		json_object_set_new(meta, "uid", json_string(p->o->uid));
	else if (!is_pod || !*str(meta, "uid"))
		json_object_set_new(meta, "uid", json_string(uid));
}

json_t *template_pod(struct pm *p, json_t *workload, struct err *e)
{
	const struct kind *k = kind_of(str(workload, "kind"));
	json_t *at = workload, *spec = json_object_get(workload, "spec"), *job_spec = spec;
	AUTO_FREE char *path = xstrdup("spec");
	if (k != &kinds[0])
		at = spec;
	for (size_t i = 0; i < ARRAY_LEN(k->path) && k->path[i]; i++) {
		char *longer = xasprintf("%s.%s", path, k->path[i]);
		free(path);
		path = longer;
		job_spec = strcmp(k->path[i], "template") == 0 ? at : job_spec;
		at = json_object_get(at, k->path[i]);
	}
	if (!json_is_object(at) || !json_is_object(json_object_get(at, "spec")))
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s: missing", p->what,
				 k == &kinds[0] ? "spec" : path);
	AUTO_JSON json_t *pod = json_object();
	json_t *meta = json_object_get(at, "metadata");
	json_object_set_new(pod, "metadata",
			    json_is_object(meta) ? json_deep_copy(meta) : json_object());
	json_object_set_new(pod, "spec", json_deep_copy(json_object_get(at, "spec")));
	set_identity(p, workload, k, pod);
	const char *name = str(json_object_get(pod, "metadata"), "name");
	if (strcmp(k->name, "StatefulSet") == 0)
		of_stateful_set(p, workload, pod, name);
	if (strstr(k->name, "Job"))
		of_job(p, job_spec, pod, str(json_object_get(workload, "metadata"), "name"));
	return TAKE(pod);
}
