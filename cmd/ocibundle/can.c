/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime cannot do is refused here, where the request can still be told: it would leave it
 * out without a word, or fail with fewer. Only what `ctrrun handlers` has found out, and what the handler's
 * file says, counts. */
#include "edit.h"

#include "auto.h"
#include "jsonx.h"

#include <string.h>

static int refuse(const struct bundle *b, const char *what, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s: the runtime of handler '%s' cannot do it", what,
		       b->handler->name);
}

static int check_hooks(const struct bundle *b, const json_t *can, const json_t *spec, struct err *e)
{
	const json_t *known = json_object_get(json_object_get(can, "can"), "hooks");
	const char *stage;
	json_t *list;
	json_object_foreach (json_object_get(spec, "hooks"), stage, list)
		if (known && json_array_size(list) && !jsonx_has_string(known, stage)) {
			const char *path = jsonx_opt_string(json_array_get(list, 0), "path", "");
			return err_set(e, ERR_UNSUPPORTED,
				       "hook %.200s of stage %s: the runtime of handler '%s' does "
				       "not know that stage",
				       path, stage, b->handler->name);
		}
	return 0;
}

/* RuntimeDefault is the runtime's own idea of a default: one that filters by other means may ignore
 * our list. A profile by name it may not. */
static int check_seccomp(const struct bundle *b, const json_t *can, struct err *e)
{
	enum profile_kind kind = PROFILE_NONE;
	const char *ref = "";
	if (handler_can_do(can, "seccomp") != 0)
		return 0;
	if (seccomp_wanted(b, &kind, &ref, e) < 0)
		return -1;
	return kind == PROFILE_LOCALHOST && !b->sec->privileged ? refuse(b, "seccomp", e) : 0;
}

/* Limits that hold for the pod's containers together: its own. */
static const Runtime__V1__LinuxContainerResources *pod_limits(const struct bundle *b)
{
	static const Runtime__V1__LinuxContainerResources none =
		RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
	return b->pod->linux && b->pod->linux->resources ? b->pod->linux->resources : &none;
}

/* Where all containers of a pod are one to the kernel, a limit of one of them is kept only by a
 * limit of the pod. Shares are a matter of more or less: they are not looked at. */
static int check_limits(const struct bundle *b, const json_t *can, struct err *e)
{
	const Runtime__V1__LinuxContainerResources *r = b->res, *pod = pod_limits(b);
	if (!r || b->sandbox || handler_can_do(can, "container_limits") != 0)
		return 0;
	bool pages = false;
	for (size_t i = 0; i < r->n_hugepage_limits; i++)
		pages = pages || r->hugepage_limits[i]->limit;
	const struct {
		const char *name;
		bool asked;
	} table[] = {
		{"memory_limit_in_bytes",
		 r->memory_limit_in_bytes > 0 && pod->memory_limit_in_bytes <= 0},
		{"cpu_quota", r->cpu_quota > 0 && pod->cpu_quota <= 0},
		{"cpuset_cpus", *r->cpuset_cpus && !*pod->cpuset_cpus},
		{"cpuset_mems", *r->cpuset_mems && !*pod->cpuset_mems},
		{"hugepage_limits", pages},
		{"unified", r->n_unified > 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].asked)
			return err_set(e, ERR_UNSUPPORTED,
				       "resources.%s: the runtime of handler '%s' cannot limit one "
				       "container, and the pod has no such limit",
				       table[i].name, b->handler->name);
	return 0;
}

static bool moves_mounts(const struct bundle *b)
{
	for (size_t i = 0; i < b->ctr->n_mounts; i++)
		if (b->ctr->mounts[i]->propagation !=
		    RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
			return true;
	return false;
}

/* Mapped mounts are made for the runtime and taken away when create is over (owners.c): a sandbox
 * looks for them only when the container starts, and would take the empty place for the volume. */
static bool maps_mounts(const struct bundle *b)
{
	for (size_t i = 0; i < b->ctr->n_mounts; i++)
		if (b->ctr->mounts[i]->n_uidmappings)
			return b->handler->sandboxed;
	return false;
}

/* Below /proc and /sys a runtime with a kernel of its own shows nothing of the host's. */
static bool hides(char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(list[i], "/proc/", 6) != 0 && strncmp(list[i], "/sys/", 5) != 0)
			return true;
	return false;
}

static bool has_user_namespace(const json_t *lin)
{
	size_t i;
	json_t *ns;
	json_array_foreach (json_object_get(lin, "namespaces"), i, ns)
		if (strcmp(jsonx_opt_string(ns, "type", ""), "user") == 0)
			return true;
	return false;
}

/* Of the container's processes and of what the pod shares with the host. */
static int check_sharing(const struct bundle *b, const json_t *can, struct err *e)
{
	const Runtime__V1__NamespaceOption *own =
		b->sec->namespace_options ? b->sec->namespace_options : b->pod_ns;
	const struct {
		const char *word, *what;
		bool asked;
	} table[] = {
		{"host_processes", "namespace_options.pid NODE",
		 own->pid == RUNTIME__V1__NAMESPACE_MODE__NODE ||
			 (b->sandbox && b->pod_ns->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)},
		{"target_processes", "namespace_options.pid TARGET",
		 own->pid == RUNTIME__V1__NAMESPACE_MODE__TARGET},
		{"host_ipc", "namespace_options.ipc NODE",
		 b->pod_ns->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE},
		{"sysctls", "sysctls", b->pod->linux && b->pod->linux->n_sysctls > 0},
		{"privileged", "privileged", b->sec->privileged},
		{"mount_propagation", "mounts: propagation", moves_mounts(b)},
		{"idmapped_mounts", "mounts: uidMappings", maps_mounts(b)},
		{"ambient_capabilities", "add_ambient_capabilities",
		 b->sec->capabilities && b->sec->capabilities->n_add_ambient_capabilities > 0},
		{"masked_paths", "masked_paths",
		 hides(b->sec->masked_paths, b->sec->n_masked_paths)},
		{"masked_paths", "readonly_paths",
		 hides(b->sec->readonly_paths, b->sec->n_readonly_paths)},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].asked && handler_can_do(can, table[i].word) == 0)
			return refuse(b, table[i].what, e);
	return 0;
}

int can_check(const struct bundle *b, const json_t *spec, struct err *e)
{
	AUTO_JSON json_t *can = handler_can(b->cfg, b->handler);
	json_t *process = json_object_get(spec, "process"), *lin = json_object_get(spec, "linux");
	const struct {
		const char *word, *what;
		bool asked;
	} table[] = {
		{"apparmor", "apparmor", json_object_get(process, "apparmorProfile")},
		{"selinux", "selinux_options",
		 json_object_get(process, "selinuxLabel") || json_object_get(lin, "mountLabel")},
		{"terminal", "tty", b->ctr->tty},
		{"user_namespaces", "userns_options", has_user_namespace(lin)},
		{"devices", "devices",
		 !b->sec->privileged && json_array_size(json_object_get(lin, "devices")) > 0},
		{"systemd_cgroup", "cgroup_manager systemd",
		 strcmp(b->cfg->cgroup_manager, "systemd") == 0},
		{b->cgroup2 ? "cgroup_v2" : "cgroup_v1",
		 b->cgroup2 ? "cgroup version 2" : "cgroup version 1", true},
	};
	if (!can)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].asked && handler_can_do(can, table[i].word) == 0)
			return refuse(b, table[i].what, e);
	if (check_sharing(b, can, e) < 0 || check_limits(b, can, e) < 0 ||
	    check_seccomp(b, can, e) < 0)
		return -1;
	return check_hooks(b, can, spec, e);
}
