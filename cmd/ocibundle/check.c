/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "cap.h"
#include "handler.h"
#include "owners.h"
#include "utf8.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define NODE RUNTIME__V1__NAMESPACE_MODE__NODE
#define POD RUNTIME__V1__NAMESPACE_MODE__POD
#define CONTAINER RUNTIME__V1__NAMESPACE_MODE__CONTAINER
#define TARGET RUNTIME__V1__NAMESPACE_MODE__TARGET

bool path_is_plain(const char *path)
{
	for (const char *p = path; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
		if ((p == path || p[-1] == '/') && p[0] == '.' && p[1] == '.' &&
		    (p[2] == '/' || !p[2]))
			return false;
	}
	return true;
}

static int check_names(const struct bundle *b, struct err *e)
{
	const char *name = b->ctr->metadata ? b->ctr->metadata->name : "";
	if (!*name)
		return err_set(e, ERR_BAD_INPUT, "metadata.name: missing");
	if (strlen(name) > 253 || strchr(name, '/') || !path_is_plain(name))
		return err_set(e, ERR_BAD_INPUT, "metadata.name: '%.80s' is not a name", name);
	if (!b->ctr->image || !*b->ctr->image->image)
		return err_set(e, ERR_BAD_INPUT, "image.image: missing");
	AUTO_HANDLER struct handler h = {0};
	if (*b->ctr->image->runtime_handler &&
	    handler_find(&h, b->cfg, b->ctr->image->runtime_handler, e) < 0)
		return err_wrap(e, "image.runtime_handler");
	if (b->ctr->log_path[0] == '/' || !path_is_plain(b->ctr->log_path))
		return err_set(e, ERR_BAD_INPUT,
			       "log_path: '%.200s' must be relative, without \"..\"",
			       b->ctr->log_path);
	if (b->ctr->working_dir[0] && b->ctr->working_dir[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "working_dir: '%.200s' is not an absolute path",
			       b->ctr->working_dir);
	return 0;
}

static int check_envs(const struct bundle *b, struct err *e)
{
	for (size_t i = 0; i < b->ctr->n_envs; i++) {
		const Runtime__V1__KeyValue *kv = b->ctr->envs[i];
		const char *value = (const char *)kv->value.data;
		if (!*kv->key || strchr(kv->key, '='))
			return err_set(e, ERR_BAD_INPUT, "envs[%zu].key: '%.80s' is not a name", i,
				       kv->key);
		if (kv->value.len && memchr(value, '\0', kv->value.len))
			return err_set(e, ERR_BAD_INPUT, "envs[%zu].value: '%.80s' has a NUL in it",
				       i, kv->key);
		/* config.json can carry nothing else. */
		if (kv->value.len && !utf8_valid(value, kv->value.len))
			return err_set(e, ERR_BAD_INPUT, "envs[%zu].value: '%.80s' is not UTF-8", i,
				       kv->key);
	}
	return 0;
}

static int check_rro(const Runtime__V1__Mount *m, size_t i, struct err *e)
{
	if (!m->readonly)
		return err_set(e, ERR_BAD_INPUT,
			       "mounts[%zu].recursive_read_only: needs readonly as well", i);
	if (m->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
		return err_set(e, ERR_BAD_INPUT,
			       "mounts[%zu].recursive_read_only: needs PROPAGATION_PRIVATE", i);
	return 0;
}

static int check_mount_source(const Runtime__V1__Mount *m, size_t i, struct err *e)
{
	struct stat st;
	if (m->image && *m->image->image) {
		if (*m->host_path)
			return err_set(e, ERR_BAD_INPUT,
				       "mounts[%zu]: has a host_path and an image", i);
		if (!m->readonly)
			return err_set(e, ERR_BAD_INPUT,
				       "mounts[%zu]: an image can be mounted read-only only", i);
		return 0;
	}
	if (*m->image_sub_path)
		return err_set(e, ERR_BAD_INPUT, "mounts[%zu].image_sub_path: without an image", i);
	if (m->host_path[0] != '/')
		return err_set(e, ERR_BAD_INPUT,
			       "mounts[%zu].host_path: '%.200s' is not an absolute path", i,
			       m->host_path);
	if (stat(m->host_path, &st) < 0) {
		err_sys(e, "mounts[%zu].host_path: %s", i, m->host_path);
		if (e->errnum == ENOENT || e->errnum == ENOTDIR)
			e->kind = ERR_BAD_INPUT;
		return -1;
	}
	return 0;
}

static int check_mounts(const struct bundle *b, struct err *e)
{
	static const char *const options[] = {"noexec", "nodev", "nosuid"};
	for (size_t i = 0; i < b->ctr->n_mounts; i++) {
		const Runtime__V1__Mount *m = b->ctr->mounts[i];
		if (m->container_path[0] != '/' || !path_is_plain(m->container_path) ||
		    strspn(m->container_path, "/") == strlen(m->container_path))
			return err_set(e, ERR_BAD_INPUT,
				       "mounts[%zu].container_path: '%.200s' is not an absolute "
				       "path below /",
				       i, m->container_path);
		for (size_t k = 0; k < m->n_mount_options; k++) {
			size_t n = 0;
			while (n < ARRAY_LEN(options) &&
			       strcmp(options[n], m->mount_options[k]) != 0)
				n++;
			if (n == ARRAY_LEN(options))
				return err_set(e, ERR_BAD_INPUT,
					       "mounts[%zu].mount_options: '%.64s' is not one of "
					       "noexec, nodev, nosuid",
					       i, m->mount_options[k]);
		}
		if (owners_check_mount(b, i, e) < 0)
			return -1;
		if (m->recursive_read_only && check_rro(m, i, e) < 0)
			return -1;
		if (check_mount_source(m, i, e) < 0)
			return -1;
	}
	return 0;
}

static int check_devices(const struct bundle *b, struct err *e)
{
	for (size_t i = 0; i < b->ctr->n_devices; i++) {
		const Runtime__V1__Device *d = b->ctr->devices[i];
		const char *inside = *d->container_path ? d->container_path : d->host_path;
		struct stat st;
		if (d->host_path[0] != '/' || inside[0] != '/' || !path_is_plain(inside))
			return err_set(e, ERR_BAD_INPUT,
				       "devices[%zu]: '%.200s' is not an absolute path", i,
				       d->host_path[0] != '/' ? d->host_path : inside);
		if (strlen(d->permissions) != strspn(d->permissions, "rwm"))
			return err_set(e, ERR_BAD_INPUT,
				       "devices[%zu].permissions: '%.16s' is not made of r, w, m",
				       i, d->permissions);
		/* What it names is looked for when the devices are. */
		if (device_is_pattern(d->host_path))
			continue;
		if (stat(d->host_path, &st) < 0)
			return err_set(e, ERR_BAD_INPUT, "devices[%zu].host_path: %.200s: %s", i,
				       d->host_path, strerror(errno));
		if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISDIR(st.st_mode))
			return err_set(e, ERR_BAD_INPUT,
				       "devices[%zu].host_path: %.200s is not a device", i,
				       d->host_path);
	}
	return 0;
}

static int check_capabilities(const char *what, char **list, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(list[i], "ALL") != 0 && cap_number(list[i]) < 0)
			return err_set(e, ERR_BAD_INPUT,
				       "capabilities.%s: unknown capability '%.64s'", what,
				       list[i]);
	return 0;
}

static bool id_fits(int64_t id)
{
	return id >= 0 && id < UINT32_MAX;
}

static int check_user(const struct bundle *b, struct err *e)
{
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	if (s->run_as_user && *s->run_as_username)
		return err_set(e, ERR_BAD_INPUT, "run_as_user and run_as_username are both given");
	if (s->run_as_group && !s->run_as_user && !*s->run_as_username)
		return err_set(e, ERR_BAD_INPUT, "run_as_group is given without a user");
	if (s->run_as_user && !id_fits(s->run_as_user->value))
		return err_set(e, ERR_BAD_INPUT, "run_as_user: %lld is not a user id",
			       (long long)s->run_as_user->value);
	if (s->run_as_group && !id_fits(s->run_as_group->value))
		return err_set(e, ERR_BAD_INPUT, "run_as_group: %lld is not a group id",
			       (long long)s->run_as_group->value);
	for (size_t i = 0; i < s->n_supplemental_groups; i++)
		if (!id_fits(s->supplemental_groups[i]))
			return err_set(e, ERR_BAD_INPUT,
				       "supplemental_groups[%zu]: %lld is not a group id", i,
				       (long long)s->supplemental_groups[i]);
	return 0;
}

static int check_namespaces(const struct bundle *b, struct err *e)
{
	const Runtime__V1__NamespaceOption *n = b->sec->namespace_options;
	if (owners_check(b, e) < 0)
		return -1;
	if (!n)
		return 0;
	if (n->network == CONTAINER || n->network == TARGET)
		return err_set(e, ERR_BAD_INPUT, "namespace_options.network: POD or NODE only");
	if (n->ipc == CONTAINER || n->ipc == TARGET)
		return err_set(e, ERR_BAD_INPUT, "namespace_options.ipc: POD or NODE only");
	if (n->pid == TARGET && !*n->target_id)
		return err_set(e, ERR_BAD_INPUT, "namespace_options.target_id: missing");
	return 0;
}

static int profile_of_string(const char *s, enum profile_kind *kind, const char **ref,
			     const char *what, struct err *e)
{
	*ref = "";
	if (!*s)
		*kind = PROFILE_NONE;
	else if (strcmp(s, "runtime/default") == 0 || strcmp(s, "docker/default") == 0)
		*kind = PROFILE_DEFAULT;
	else if (strcmp(s, "unconfined") == 0)
		*kind = PROFILE_UNCONFINED;
	else if (strncmp(s, "localhost/", 10) == 0 && s[10]) {
		*kind = PROFILE_LOCALHOST;
		*ref = s + 10;
	} else
		return err_set(e, ERR_BAD_INPUT, "%s: '%.200s' is not a profile", what, s);
	return 0;
}

static int profile_of(const Runtime__V1__SecurityProfile *p, const char *old,
		      enum profile_kind *kind, const char **ref, const char *what, struct err *e)
{
	if (!p)
		return profile_of_string(old, kind, ref, what, e);
	*ref = p->localhost_ref;
	switch (p->profile_type) {
	case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault:
		*kind = PROFILE_DEFAULT;
		return 0;
	case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined:
		*kind = PROFILE_UNCONFINED;
		return 0;
	case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost:
		*kind = PROFILE_LOCALHOST;
		if (!**ref)
			return err_set(e, ERR_BAD_INPUT, "%s.localhost_ref: missing", what);
		return 0;
	case _RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE_IS_INT_SIZE:
		break;
	}
	return err_set(e, ERR_BAD_INPUT, "%s.profile_type: unknown value %d", what,
		       (int)p->profile_type);
}

/* Kubelets and crictl users still fill in the old strings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
int seccomp_wanted(const struct bundle *b, enum profile_kind *kind, const char **ref, struct err *e)
{
	return profile_of(b->sec->seccomp, b->sec->seccomp_profile_path, kind, ref, "seccomp", e);
}

int apparmor_wanted(const struct bundle *b, enum profile_kind *kind, const char **ref,
		    struct err *e)
{
	return profile_of(b->sec->apparmor, b->sec->apparmor_profile, kind, ref, "apparmor", e);
}

#pragma GCC diagnostic pop

bool host_has_apparmor(void)
{
	char c = 'N';
	AUTO_CLOSE int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'Y';
}

static int check_profiles(const struct bundle *b, struct err *e)
{
	enum profile_kind kind = PROFILE_NONE;
	const char *ref = "";
	const Runtime__V1__SELinuxOption *se = b->sec->selinux_options;
	if (seccomp_wanted(b, &kind, &ref, e) < 0)
		return -1;
	if (kind == PROFILE_LOCALHOST && ref[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "seccomp: '%.200s' is not an absolute path", ref);
	if (apparmor_wanted(b, &kind, &ref, e) < 0)
		return -1;
	if (kind == PROFILE_LOCALHOST && !b->sec->privileged && !host_has_apparmor())
		return err_set(e, ERR_UNSUPPORTED,
			       "apparmor: profile '%.80s' is asked for, but this host has no "
			       "AppArmor",
			       ref);
	if (se && (*se->user || *se->role || *se->type || *se->level) && !host_has_selinux())
		return err_set(e, ERR_UNSUPPORTED, "selinux_options: this host has no SELinux");
	return 0;
}

static int check_paths(const char *what, char **list, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (list[i][0] != '/' || !path_is_plain(list[i]))
			return err_set(e, ERR_BAD_INPUT,
				       "%s[%zu]: '%.200s' is not an absolute path", what, i,
				       list[i]);
	return 0;
}

static int check_security(const struct bundle *b, struct err *e)
{
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	const Runtime__V1__Capability *c = s->capabilities;
	if (c && (check_capabilities("add_capabilities", c->add_capabilities, c->n_add_capabilities,
				     e) < 0 ||
		  check_capabilities("drop_capabilities", c->drop_capabilities,
				     c->n_drop_capabilities, e) < 0 ||
		  check_capabilities("add_ambient_capabilities", c->add_ambient_capabilities,
				     c->n_add_ambient_capabilities, e) < 0))
		return -1;
	if (s->privileged && !(b->pod->linux && b->pod->linux->security_context &&
			       b->pod->linux->security_context->privileged))
		return err_set(e, ERR_BAD_INPUT,
			       "security_context.privileged: the pod does not allow it");
	if (check_user(b, e) < 0 || check_namespaces(b, e) < 0 || check_profiles(b, e) < 0)
		return -1;
	if (check_paths("masked_paths", s->masked_paths, s->n_masked_paths, e) < 0)
		return -1;
	return check_paths("readonly_paths", s->readonly_paths, s->n_readonly_paths, e);
}

int check_request(const struct bundle *b, struct err *e)
{
	int n;
	if (check_names(b, e) < 0 || check_envs(b, e) < 0 || check_mounts(b, e) < 0 ||
	    check_devices(b, e) < 0 || check_security(b, e) < 0)
		return -1;
	/* Asked for the request's sake; the image's is looked at when there is an image. */
	return b->ctr->stop_signal ? stop_signal_of(b, &n, e) : 0;
}
