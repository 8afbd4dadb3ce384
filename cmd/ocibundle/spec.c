/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "buf.h"
#include "edit.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "owners.h"
#include "seccomp.h"
#include "stopsig.h"
#include "userns.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

/* Files of /proc and /sys that show or change the host; for requests that bring no list. */
static const char *const masked[] = {
	"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
	"/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap",
};
static const char *const read_only[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* The generated initialiser names the deprecated strings too. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static const Runtime__V1__LinuxContainerSecurityContext no_sec =
	RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
#pragma GCC diagnostic pop
static const Runtime__V1__NamespaceOption no_ns = RUNTIME__V1__NAMESPACE_OPTION__INIT;

static void free_paths(struct bundle *b)
{
	free(b->dir);
	free(b->run);
	free(b->pod_run);
	free(b->cgroup_path);
}

void bundle_release(struct bundle *b)
{
	pod_record_release(&b->pod_rec);
	image_release(&b->img);
	json_decref(b->mount_images);
	free_paths(b);
	auto_close(&b->rootfs);
	auto_close(&b->userns);
	*b = (struct bundle){.rootfs = -1, .userns = -1};
}

/* A systemd slice is named by the last part of the parent's path; without one, all of ours are in
 * crisp.slice. */
static char *cgroup_path(const struct bundle *b)
{
	const char *parent = b->pod_rec.cgroup_parent, *last;
	if (strcmp(b->cfg->cgroup_manager, "systemd") != 0)
		return *parent ? xasprintf("%s%s/%s", *parent == '/' ? "" : "/", parent, b->id)
			       : xasprintf("/crisp/%s/%s", b->pod_rec.id, b->id);
	last = strrchr(parent, '/');
	last = last ? last + 1 : parent;
	return xasprintf("%s:crisp:%s", *last ? last : "crisp.slice", b->id);
}

void bundle_derive(struct bundle *b)
{
	const Runtime__V1__LinuxContainerConfig *l = b->ctr->linux;
	const Runtime__V1__LinuxPodSandboxConfig *p = b->pod->linux;
	b->sec = l && l->security_context ? l->security_context : &no_sec;
	b->res = l ? l->resources : NULL;
	b->pod_ns = p && p->security_context && p->security_context->namespace_options
			    ? p->security_context->namespace_options
			    : &no_ns;
	free_paths(b); /* the second time the id is known */
	b->dir = xasprintf("%s/%s/%s", b->st->root_path, object_dir_name(OBJ_CONTAINER), b->id);
	b->run = xasprintf("%s/%s/%s", b->st->run_path, object_dir_name(OBJ_CONTAINER), b->id);
	b->pod_run =
		xasprintf("%s/%s/%s", b->st->run_path, object_dir_name(OBJ_POD), b->pod_rec.id);
	b->cgroup2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	b->cgroup_path = cgroup_path(b);
}

char *pod_hostname(const struct bundle *b)
{
	struct err ignored;
	AUTO_BUF struct buf name = BUF_INIT(4096);
	AUTO_FREE char *path = xasprintf("%s/hostname", b->pod_run);
	if (fs_read_at(AT_FDCWD, path, &name, &ignored) < 0 || !name.len)
		return xstrdup(b->pod->hostname);
	name.data[strcspn(name.data, "\n")] = '\0';
	return buf_take(&name);
}

int stop_signal_of(const struct bundle *b, int *number, struct err *e)
{
	const ProtobufCEnumValue *v;
	const char *name =
		jsonx_opt_string(json_object_get(b->img.config, "config"), "StopSignal", "");
	*number = 0;
	if (b->ctr->stop_signal == RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT) {
		*number = *name ? stopsig_number(name) : 0;
		if (*number >= 0)
			return 0;
		/* An image that cannot be stopped as it wishes is still one that can run. */
		log_warn("the image's StopSignal '%.32s' is no signal: TERM is used", name);
		*number = 0;
		return 0;
	}
	v = protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor,
						 (int)b->ctr->stop_signal);
	if (v)
		*number =
			stopsig_number(strncmp(v->name, "SIGNAL_", 7) == 0 ? v->name + 7 : v->name);
	if (!v || *number < 0)
		return err_set(e, ERR_BAD_INPUT, "stop_signal: unknown signal %d",
			       (int)b->ctr->stop_signal);
	return 0;
}

static int add_seccomp(const struct bundle *b, json_t *out, struct err *e)
{
	enum profile_kind kind = PROFILE_NONE;
	const char *path = "";
	json_t *profile = NULL;
	if (seccomp_wanted(b, &kind, &path, e) < 0)
		return -1;
	if (b->sec->privileged || kind == PROFILE_NONE || kind == PROFILE_UNCONFINED)
		return 0;
	const char *own = b->handler->seccomp_profile;
	if (kind == PROFILE_LOCALHOST) {
		profile = seccomp_load(path, b->caps, "seccomp profile", e);
		why(b, "linux.seccomp", "request linux.security_context.seccomp (%s)", path);
	} else if (own) {
		profile = seccomp_load(own, b->caps, "handler's seccomp_profile", e);
		why(b, "linux.seccomp", "handler %s seccomp_profile (%s)", b->handler->name, own);
	} else if (*b->cfg->seccomp_profile) {
		profile = seccomp_load(b->cfg->seccomp_profile, b->caps, "seccomp_profile", e);
		why_config(b, "linux.seccomp", "seccomp_profile");
	} else {
		profile = seccomp_default(b->caps);
		why(b, "linux.seccomp",
		    "request linux.security_context.seccomp (RuntimeDefault, built in)");
	}
	if (!profile) {
		/* A profile that is asked for and not there is the request's fault. */
		if (e->kind == ERR_NOT_FOUND)
			e->kind = ERR_BAD_INPUT;
		return -1;
	}
	json_object_set_new(out, "seccomp", profile);
	return 0;
}

static json_t *strings(const char *const *list, size_t n)
{
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}

/* A kubelet always lists what is to be masked, so no list of its is a list of nothing: ProcMount
 * Unmasked. From anybody else it says nothing at all. */
static bool is_unmasked(const struct bundle *b)
{
	for (size_t i = 0; i < b->ctr->n_labels; i++)
		if (strcmp(b->ctr->labels[i]->key, "io.kubernetes.container.name") == 0)
			return true;
	return false;
}

static void add_masks(const struct bundle *b, json_t *out)
{
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	if (s->privileged)
		return;
	bool given = s->n_masked_paths || s->n_readonly_paths || is_unmasked(b);
	if (given) {
		why(b, "linux.maskedPaths", "request linux.security_context.masked_paths");
		why(b, "linux.readonlyPaths", "request linux.security_context.readonly_paths");
	}
	json_object_set_new(out, "maskedPaths",
			    given ? strings((const char *const *)s->masked_paths, s->n_masked_paths)
				  : strings(masked, ARRAY_LEN(masked)));
	json_object_set_new(
		out, "readonlyPaths",
		given ? strings((const char *const *)s->readonly_paths, s->n_readonly_paths)
		      : strings(read_only, ARRAY_LEN(read_only)));
}

/* Beside the namespace's path, too: the runtimes look at them for the ids outside. */
static void add_user_maps(const struct bundle *b, json_t *out)
{
	const Runtime__V1__UserNamespace *u = owners_of_pod(b);
	if (!u)
		return;
	json_object_set_new(out, "uidMappings", userns_oci_map(u->uids, u->n_uids));
	json_object_set_new(out, "gidMappings", userns_oci_map(u->gids, u->n_gids));
	why(b, "linux.uidMappings",
	    "pod linux.security_context.namespace_options.userns_options.uids");
	why(b, "linux.gidMappings",
	    "pod linux.security_context.namespace_options.userns_options.gids");
}

static json_t *linux_json(struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *out = json_object();
	AUTO_JSON json_t *namespaces = namespaces_json(b, e);
	AUTO_JSON json_t *resources = namespaces ? resources_json(b, e) : NULL;
	AUTO_JSON json_t *devices = NULL;
	AUTO_JSON json_t *rules = NULL;
	if (!resources || devices_json(b, &devices, &rules, e) < 0)
		return NULL;
	json_object_set(resources, "devices", rules);
	json_object_set_new(out, "cgroupsPath", json_string(b->cgroup_path));
	json_object_set(out, "namespaces", namespaces);
	add_user_maps(b, out);
	json_object_set(out, "resources", resources);
	if (json_array_size(devices))
		json_object_set(out, "devices", devices);
	why(b, "linux.cgroupsPath", "%s",
	    *b->pod_rec.cgroup_parent ? "pod linux.cgroup_parent" : "default");
	why(b, "linux.rootfsPropagation", "request mounts (their propagation)");
	if (b->root_propagation)
		json_object_set_new(out, "rootfsPropagation", json_string(b->root_propagation));
	add_masks(b, out);
	return add_seccomp(b, out, e) < 0 ? NULL : TAKE(out);
}

json_t *spec_build(struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *process = process_json(b, e);
	AUTO_JSON json_t *mounts = process ? mounts_json(b, e) : NULL;
	AUTO_JSON json_t *lin = mounts ? linux_json(b, e) : NULL;
	if (!lin || add_selinux(b, process, lin, e) < 0)
		return NULL;
	why(b, "root.readonly", "request linux.security_context.readonly_rootfs");
	why(b, "annotations[crisp.container]", "request metadata.name");
	why(b, "annotations[crisp.pod]", "pod (its id)");
	json_t *out = json_pack("{s:s, s:O, s:{s:s, s:b}, s:O, s:{s:s, s:s}, s:O}", "ociVersion",
				"1.0.2", "process", process, "root", "path", "rootfs", "readonly",
				(int)b->sec->readonly_rootfs, "mounts", mounts, "annotations",
				"crisp.pod", b->pod_rec.id, "crisp.container",
				b->ctr->metadata ? b->ctr->metadata->name : "", "linux", lin);
	/* A kernel of the sandbox's own takes it from nowhere else. */
	if (b->handler->sandboxed) {
		AUTO_FREE char *name = pod_hostname(b);
		json_object_set_new(out, "hostname", json_string(name));
		why(b, "hostname", "pod hostname");
	}
	if (edit_spec(b, &out, e) < 0 || can_check(b, out, e) < 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}
