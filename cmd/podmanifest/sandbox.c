/* SPDX-License-Identifier: Apache-2.0 */
/* The PodSandboxConfig: kuberuntime_sandbox.go, labels.go. */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { FQDN_LEN_MAX = 64 };

static json_t *pod_labels(const struct pm *p)
{
	json_t *labels = json_deep_copy(json_object_get(p->meta, "labels"));
	if (!labels)
		labels = json_object();
	json_object_set_new(labels, "io.kubernetes.pod.name", json_string(p->name));
	json_object_set_new(labels, "io.kubernetes.pod.namespace", json_string(p->namespace_));
	json_object_set_new(labels, "io.kubernetes.pod.uid", json_string(p->uid));
	return labels;
}

static int add_ports(struct pm *p, json_t *list, json_t *container, const char *path, struct err *e)
{
	bool host = flag(p->spec, "hostNetwork");
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(container, "ports"), i, one) {
		json_int_t inside = jsonx_opt_int(one, "containerPort", 0);
		json_int_t outside = jsonx_opt_int(one, "hostPort", host ? inside : 0);
		const char *protocol = str(one, "protocol"), *ip = str(one, "hostIP");
		protocol = *protocol ? protocol : "TCP";
		if (inside < 1 || inside > 65535 || outside < 0 || outside > 65535)
			return err_set(e, ERR_BAD_INPUT, "%s: %s.ports[%zu]: no port", p->what,
				       path, i);
		if (strcmp(protocol, "TCP") != 0 && strcmp(protocol, "UDP") != 0 &&
		    strcmp(protocol, "SCTP") != 0)
			return err_set(e, ERR_BAD_INPUT, "%s: %s.ports[%zu].protocol: '%.40s'",
				       p->what, path, i, protocol);
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:s}", "protocol", protocol,
						      "container_port", inside, "host_port",
						      outside, "host_ip", ip));
	}
	return 0;
}

/* Of what runs for the whole of the pod's life. */
static json_t *port_mappings(struct pm *p, struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	bool init;
	for (size_t i = 0; i < containers_count(p); i++) {
		json_t *c = container_at(p, i, &init);
		AUTO_FREE char *path = xasprintf("spec: container %s", str(c, "name"));
		if ((!init || is_sidecar(c)) && add_ports(p, list, c, path, e) < 0)
			return NULL;
	}
	return TAKE(list);
}

/* kubepods, the class below it unless it is Guaranteed, the pod (pkg/kubelet/cm). */
static char *cgroup_parent(const struct pm *p)
{
	const char *class = p->qos == QOS_BURSTABLE ? "burstable" : "besteffort";
	bool top = p->qos == QOS_GUARANTEED;
	if (p->o->cgroup_parent)
		return xstrdup(p->o->cgroup_parent);
	if (strcmp(p->cfg->cgroup_manager, "systemd") != 0)
		return xasprintf("/kubepods%s%s/pod%s", top ? "" : "/", top ? "" : class, p->uid);
	AUTO_FREE char *uid = xstrdup(p->uid);
	for (char *c = uid; *c; c++)
		*c = (char)(*c == '-' ? '_' : *c);
	return top ? xasprintf("/kubepods.slice/kubepods-pod%s.slice", uid)
		   : xasprintf("/kubepods.slice/kubepods-%s.slice/kubepods-%s-pod%s.slice", class,
			       class, uid);
}

static json_t *sysctls(const struct pm *p)
{
	json_t *out = json_object(), *one;
	size_t i;
	json_array_foreach (json_object_get(json_object_get(p->spec, "securityContext"), "sysctls"),
			    i, one)
		json_object_set_new(out, str(one, "name"), json_string(str(one, "value")));
	return out;
}

static json_t *linux_config(struct pm *p, struct err *e)
{
	AUTO_FREE char *parent = cgroup_parent(p);
	AUTO_JSON json_t *out =
		json_pack("{s:s, s:o}", "cgroup_parent", parent, "sysctls", sysctls(p));
	json_t *security = sandbox_security(p, e);
	if (!security)
		return NULL;
	json_object_set_new(out, "security_context", security);
	return pod_resources(p, out, e) < 0 ? NULL : TAKE(out);
}

static int set_hostname(struct pm *p, json_t *out, struct err *e)
{
	AUTO_FREE char *fqdn = xasprintf("%s.%s", p->hostname, p->domain);
	bool full = flag(p->spec, "setHostnameAsFQDN") && *p->domain;
	if (full && strlen(fqdn) > FQDN_LEN_MAX)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: spec.setHostnameAsFQDN: '%s' is longer than %d", p->what, fqdn,
			       FQDN_LEN_MAX);
	/* On the node's network the name is the node's. */
	if (!flag(p->spec, "hostNetwork"))
		json_object_set_new(out, "hostname", json_string(full ? fqdn : p->hostname));
	return 0;
}

json_t *sandbox_config(struct pm *p, struct err *e)
{
	AUTO_FREE char *logs =
		xasprintf("%s/%s_%s_%s", p->o->log_dir, p->namespace_, p->name, p->uid);
	AUTO_JSON json_t *out = json_pack("{s:{s:s, s:s, s:s}, s:s, s:o}", "metadata", "name",
					  p->name, "uid", p->uid, "namespace", p->namespace_,
					  "log_directory", logs, "labels", pod_labels(p));
	json_t *annotations = json_object_get(p->meta, "annotations");
	if (annotations)
		json_object_set(out, "annotations", annotations);
	json_t *parts[3] = {dns_config(p, e), NULL, NULL};
	static const char *const keys[] = {"dns_config", "port_mappings", "linux"};
	parts[1] = parts[0] ? port_mappings(p, e) : NULL;
	parts[2] = parts[1] ? linux_config(p, e) : NULL;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i])
			json_object_set_new(out, keys[i], parts[i]);
	return parts[2] && set_hostname(p, out, e) == 0 ? TAKE(out) : NULL;
}
