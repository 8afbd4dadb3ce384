/* SPDX-License-Identifier: Apache-2.0 */
/* Security contexts: the pod's, with the container's on top (pkg/securitycontext/util.go,
 * kuberuntime/security_context.go). */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { USERNS_LENGTH = 65536, GROUPS_MAX = 65536 };

/* The container's member, or the pod's. */
static json_t *effective(const struct pm *p, const json_t *container, const char *key)
{
	json_t *own = json_object_get(json_object_get(container, "securityContext"), key);
	return own ? own : json_object_get(json_object_get(p->spec, "securityContext"), key);
}

static json_t *namespaces(const struct pm *p)
{
	bool host_users = !json_is_false(json_object_get(p->spec, "hostUsers"));
	const char *pid = flag(p->spec, "hostPID")                 ? "NODE"
			  : flag(p->spec, "shareProcessNamespace") ? "POD"
								   : "CONTAINER";
	json_t *users = host_users || p->o->userns <= 0
				? json_pack("{s:s}", "mode", "NODE")
				: json_pack("{s:s, s:[{s:i, s:I, s:i}], s:[{s:i, s:I, s:i}]}",
					    "mode", "POD", "uids", "container_id", 0, "host_id",
					    (json_int_t)p->o->userns, "length", USERNS_LENGTH,
					    "gids", "container_id", 0, "host_id",
					    (json_int_t)p->o->userns, "length", USERNS_LENGTH);
	return json_pack("{s:s, s:s, s:s, s:o}", "network",
			 flag(p->spec, "hostNetwork") ? "NODE" : "POD", "pid", pid, "ipc",
			 flag(p->spec, "hostIPC") ? "NODE" : "POD", "userns_options", users);
}

/* {"type", "localhostProfile"} as a SecurityProfile; NULL with an error. */
static json_t *profile(struct pm *p, const json_t *j, const char *dir, const char *path,
		       struct err *e)
{
	const char *type = str(j, "type"), *file = str(j, "localhostProfile");
	if (strcmp(type, "RuntimeDefault") == 0 || strcmp(type, "Unconfined") == 0)
		return json_pack("{s:s}", "profile_type", type);
	if (strcmp(type, "Localhost") != 0 || !*file)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s: '%.60s' is no profile%s", p->what, path,
				 type,
				 strcmp(type, "Localhost") ? "" : " without localhostProfile");
	if (dir && (file[0] == '/' || strstr(file, "..")))
		return err_set_p(e, ERR_BAD_INPUT,
				 "%s: %s.localhostProfile: '%.100s' must be relative", p->what,
				 path, file);
	AUTO_FREE char *ref = dir ? xasprintf("%s/%s", dir, file) : xstrdup(file);
	return json_pack("{s:s, s:s}", "profile_type", "Localhost", "localhost_ref", ref);
}

static int add_profiles(struct pm *p, json_t *out, const json_t *container, const char *path,
			struct err *e)
{
	const json_t *seccomp = effective(p, container, "seccompProfile");
	const json_t *apparmor = effective(p, container, "appArmorProfile");
	AUTO_FREE char *at = xasprintf("%s.securityContext.seccompProfile", path);
	AUTO_FREE char *at_armor = xasprintf("%s.securityContext.appArmorProfile", path);
	/* Without one a kubelet says Unconfined aloud (its seccompDefault is off). */
	json_t *j = seccomp ? profile(p, seccomp, p->o->seccomp_dir, at, e)
			    : json_pack("{s:s}", "profile_type", "Unconfined");
	if (!j)
		return -1;
	json_object_set_new(out, "seccomp", j);
	if (!apparmor)
		return 0;
	if (!(j = profile(p, apparmor, NULL, at_armor, e)))
		return -1;
	json_object_set_new(out, "apparmor", j);
	return 0;
}

/* As a kubelet sends them since 1.34. */
static void add_paths(json_t *out, bool unmasked)
{
	static const char *const masked[] = {
		"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
		"/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap",
	};
	static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
						"/proc/sysrq-trigger"};
	if (unmasked)
		return;
	json_t *m = json_array(), *r = json_array();
	for (size_t i = 0; i < ARRAY_LEN(masked); i++)
		json_array_append_new(m, json_string(masked[i]));
	for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
		json_array_append_new(r, json_string(read_only[i]));
	json_object_set_new(out, "masked_paths", m);
	json_object_set_new(out, "readonly_paths", r);
}

static int add_id(struct pm *p, json_t *out, const json_t *id, const char *key, const char *path,
		  struct err *e)
{
	json_int_t n = json_integer_value(id);
	if (!id)
		return 0;
	if (n < 0 || n > INT32_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: %lld is no id", p->what, path,
			       (long long)n);
	json_object_set_new(out, key, json_pack("{s:I}", "value", n));
	return 0;
}

bool container_takes_image_user(const struct pm *p, const json_t *container)
{
	return effective(p, container, "runAsGroup") && !effective(p, container, "runAsUser");
}

/* User and group, the pod's groups. */
static int add_identity(struct pm *p, json_t *out, const json_t *container, const char *path,
			struct err *e)
{
	json_t *pod = json_object_get(p->spec, "securityContext"), *one;
	json_t *fs_group = json_object_get(pod, "fsGroup");
	json_t *more = json_object_get(pod, "supplementalGroups"), *groups = json_array();
	const char *policy = str(pod, "supplementalGroupsPolicy");
	AUTO_FREE char *user = xasprintf("%s.securityContext.runAsUser", path);
	AUTO_FREE char *group = xasprintf("%s.securityContext.runAsGroup", path);
	size_t i;
	if (fs_group)
		json_array_append(groups, fs_group);
	json_array_foreach (more, i, one)
		json_array_append(groups, one);
	json_object_set_new(out, "supplemental_groups", groups);
	if (more && !json_is_array(more))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: spec.securityContext.supplementalGroups: expected list",
			       p->what);
	json_array_foreach (groups, i, one)
		if (!json_is_integer(one) || json_integer_value(one) < 0 ||
		    json_integer_value(one) > INT32_MAX || i > GROUPS_MAX)
			return err_set(
				e, ERR_BAD_INPUT,
				"%s: spec.securityContext.supplementalGroups: no id among them",
				p->what);
	if (*policy && strcmp(policy, "Merge") != 0 && strcmp(policy, "Strict") != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: spec.securityContext.supplementalGroupsPolicy: '%.40s'",
			       p->what, policy);
	if (*policy)
		json_object_set_new(out, "supplemental_groups_policy", json_string(policy));
	if (add_id(p, out, effective(p, container, "runAsUser"), "run_as_user", user, e) < 0)
		return -1;
	/* The sandbox runs nothing as anybody: without a user its group is left out. */
	if (!container && container_takes_image_user(p, NULL))
		return 0;
	return add_id(p, out, effective(p, container, "runAsGroup"), "run_as_group", group, e);
}

static void add_selinux(struct pm *p, json_t *out, const json_t *container)
{
	json_t *options = effective(p, container, "seLinuxOptions");
	if (options)
		json_object_set(out, "selinux_options", options);
}

bool container_checks_image_user(const struct pm *p, const json_t *container)
{
	return json_is_true(effective(p, container, "runAsNonRoot")) &&
	       !effective(p, container, "runAsUser");
}

json_t *container_security(struct pm *p, json_t *container, const char *path, struct err *e)
{
	const json_t *own = json_object_get(container, "securityContext");
	const json_t *caps = json_object_get(own, "capabilities");
	const char *proc = str(own, "procMount");
	AUTO_JSON json_t *out = json_object();
	if (*proc && strcmp(proc, "Default") != 0 && strcmp(proc, "Unmasked") != 0)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s.securityContext.procMount: '%.40s'",
				 p->what, path, proc);
	if (caps) {
		json_t *c = json_object();
		json_object_set(c, "add_capabilities", json_object_get(caps, "add"));
		json_object_set(c, "drop_capabilities", json_object_get(caps, "drop"));
		json_object_set_new(out, "capabilities", c);
	}
	json_object_set_new(out, "privileged", json_boolean(flag(own, "privileged")));
	json_object_set_new(out, "readonly_rootfs",
			    json_boolean(flag(own, "readOnlyRootFilesystem")));
	json_object_set_new(
		out, "no_new_privs",
		json_boolean(json_is_false(json_object_get(own, "allowPrivilegeEscalation"))));
	json_object_set_new(out, "namespace_options", namespaces(p));
	add_paths(out, strcmp(proc, "Unmasked") == 0);
	add_selinux(p, out, container);
	if (add_identity(p, out, container, path, e) < 0 ||
	    add_profiles(p, out, container, path, e) < 0)
		return NULL;
	if (json_is_true(effective(p, container, "runAsNonRoot")) &&
	    json_object_get(out, "run_as_user") &&
	    json_integer_value(json_object_get(json_object_get(out, "run_as_user"), "value")) == 0)
		return err_set_p(e, ERR_BAD_INPUT,
				 "%s: %s.securityContext: runAsNonRoot, but runAsUser is 0",
				 p->what, path);
	return TAKE(out);
}

json_t *sandbox_security(struct pm *p, struct err *e)
{
	AUTO_JSON json_t *out = json_object();
	bool privileged = false, init;
	if (json_is_false(json_object_get(p->spec, "hostUsers")) && p->o->userns <= 0)
		problem(p,
			"spec.hostUsers: the ids of the user namespace must be given (--userns)");
	for (size_t i = 0; i < containers_count(p); i++)
		privileged = privileged ||
			     flag(json_object_get(container_at(p, i, &init), "securityContext"),
				  "privileged");
	json_object_set_new(out, "namespace_options", namespaces(p));
	json_object_set_new(out, "privileged", json_boolean(privileged));
	json_object_set_new(out, "seccomp", json_pack("{s:s}", "profile_type", "RuntimeDefault"));
	add_selinux(p, out, NULL);
	return add_identity(p, out, NULL, "spec", e) < 0 ? NULL : TAKE(out);
}
