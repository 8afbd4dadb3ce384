/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "flat.h"
#include "jsonx.h"
#include "owners.h"
#include "proc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add_ns(json_t *out, const char *type, const char *path)
{
	json_t *ns = json_pack("{s:s}", "type", type);
	if (path)
		json_object_set_new(ns, "path", json_string(path));
	json_array_append_new(out, ns);
}

/* A pin that should be there and is not must never turn into the host's namespace. */
static int add_pin(const struct bundle *b, json_t *out, const char *type, const char *name,
		   struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s/ns/%s", b->pod_run, name);
	if (access(path, F_OK) < 0)
		return err_set(e, ERR_BAD_STATE, "the pod's %s namespace is gone (%s)", type, path);
	add_ns(out, type, path);
	return 0;
}

static int add_target_pid(const struct bundle *b, json_t *out, const char *target, struct err *e)
{
	char id[ID_SIZE];
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	if (object_resolve(b->st, OBJ_CONTAINER, target, id, e) < 0 ||
	    ctr_record_read(b->st, id, &r, e) < 0)
		return err_wrap(e, "namespace_options.target_id");
	if (strcmp(r.pod_id, b->pod_rec.id) != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "namespace_options.target_id: container %s is in another pod", id);
	if (ctr_effective(b->st, &r, &x) != CTR_RUNNING || r.pid <= 0 ||
	    proc_start_time((pid_t)r.pid) != (unsigned long long)r.pid_start)
		return err_set(e, ERR_BAD_STATE,
			       "namespace_options.target_id: container %s is not running", id);
	AUTO_FREE char *path = xasprintf("/proc/%lld/ns/pid", (long long)r.pid);
	add_ns(out, "pid", path);
	return 0;
}

static int add_pid(const struct bundle *b, json_t *out, struct err *e)
{
	const Runtime__V1__NamespaceOption *own = b->sec->namespace_options;
	Runtime__V1__NamespaceMode mode = own ? own->pid : b->pod_ns->pid;
	AUTO_FREE char *pin = xasprintf("%s/ns/pid", b->pod_run);
	why(b, "linux.namespaces[pid]", "%s linux.security_context.namespace_options.pid",
	    own ? "request" : "pod");
	if (mode == RUNTIME__V1__NAMESPACE_MODE__NODE)
		return 0;
	if (mode == RUNTIME__V1__NAMESPACE_MODE__TARGET)
		return add_target_pid(b, out, own ? own->target_id : "", e);
	/* A pod that shares its processes has a pin; one that has none gives each container its
	 * own. */
	bool shared = mode == RUNTIME__V1__NAMESPACE_MODE__POD && access(pin, F_OK) == 0;
	add_ns(out, "pid", shared ? pin : NULL);
	return 0;
}

/* Network, IPC and host name are the pod's, whatever the container's own options say. */
json_t *namespaces_json(struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	add_ns(out, "mount", NULL);
	why(b, "linux.namespaces[user]",
	    "pod linux.security_context.namespace_options.userns_options");
	if (owners_of_pod(b) && add_pin(b, out, "user", "user", e) < 0)
		return NULL;
	if (b->pod_ns->network != RUNTIME__V1__NAMESPACE_MODE__NODE) {
		if (!*b->pod_rec.netns || access(b->pod_rec.netns, F_OK) < 0)
			return err_set_p(e, ERR_BAD_STATE,
					 "the pod's network namespace is gone (%s)",
					 b->pod_rec.netns);
		why(b, "linux.namespaces[network]", "pod (its network)");
		why(b, "linux.namespaces[uts]", "pod (its host name)");
		add_ns(out, "network", b->pod_rec.netns);
		if (add_pin(b, out, "uts", "uts", e) < 0)
			return NULL;
	}
	if (b->pod_ns->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE &&
	    add_pin(b, out, "ipc", "ipc", e) < 0)
		return NULL;
	why(b, "linux.namespaces[ipc]", "pod linux.security_context.namespace_options.ipc");
	if (add_pid(b, out, e) < 0)
		return NULL;
	/* Version 1 shows whole hierarchies through it, which is more than without. */
	if (b->cgroup2 && !b->sec->privileged)
		add_ns(out, "cgroup", NULL);
	return TAKE(out);
}
