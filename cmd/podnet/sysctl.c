/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "spec.h"
#include "xalloc.h"

#include <string.h>

enum { SYSCTL_NAME_MAX = 255, VALUE_LEN_MAX = 4095 };

enum scope { SCOPE_NONE, SCOPE_NET, SCOPE_IPC };

static enum scope scope_of(const char *path)
{
	static const char *const ipc[] = {"kernel/shm", "kernel/msg", "fs/mqueue/"};
	if (strncmp(path, "net/", 4) == 0 && path[4])
		return SCOPE_NET;
	if (strcmp(path, "kernel/sem") == 0)
		return SCOPE_IPC;
	for (size_t i = 0; i < ARRAY_LEN(ipc); i++)
		if (strncmp(path, ipc[i], strlen(ipc[i])) == 0 && path[strlen(ipc[i])])
			return SCOPE_IPC;
	return SCOPE_NONE;
}

/* As sysctl(8): the first separator says which one it is; the other one then means itself, so that
 * an interface's name may hold a dot. */
static char *path_of(const char *name)
{
	char *path = xstrdup(name);
	if (name[strcspn(name, "./")] == '/')
		return path;
	for (char *s = path; *s; s++)
		*s = *s == '.' ? '/' : *s == '/' ? '.' : *s;
	return path;
}

static bool path_is_sane(const char *path)
{
	size_t n = strlen(path);
	if (n == 0 || n > SYSCTL_NAME_MAX || path[0] == '/' || path[n - 1] == '/')
		return false;
	for (const char *s = path; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return !strstr(path, "//") && !strstr(path, "..");
}

/* 1 to set it, 0 when its namespace is the host's. */
static int check(const char *name, const char *path, const char *value, const struct pod_spec *s,
		 struct err *e)
{
	if (!path_is_sane(path))
		return err_set(e, ERR_BAD_INPUT, "sysctl '%.80s': malformed name", name);
	enum scope scope = scope_of(path);
	if (scope == SCOPE_NONE)
		return err_set(e, ERR_BAD_INPUT,
			       "sysctl %s: not namespaced: it would change the whole host", name);
	if (strlen(value) > VALUE_LEN_MAX || strchr(value, '\n'))
		return err_set(e, ERR_BAD_INPUT, "sysctl %s: malformed value", name);
	return scope == SCOPE_NET ? !s->host_net : !s->host_ipc;
}

int sysctl_add(json_t *sysctls, const char *name, const char *value, const struct pod_spec *s,
	       struct err *e)
{
	AUTO_FREE char *path = path_of(name);
	int r = check(name, path, value, s, e);
	if (r == 0)
		return err_set(e, ERR_BAD_INPUT, "sysctl %s: the pod uses the host's %s namespace",
			       name, scope_of(path) == SCOPE_NET ? "network" : "IPC");
	if (r > 0)
		json_object_set_new(sysctls, path, json_string(value));
	return r < 0 ? -1 : 0;
}

/* A default of "every group may ping" is meant for those that the pod has; the kernel would refuse
 * the rest. A request is taken at its word. */
static json_t *fit_groups(const char *path, json_t *value, const struct pod_spec *s)
{
	char *end;
	const char *text = json_string_value(value);
	if (!s->gid_map || strcmp(path, "net/ipv4/ping_group_range") != 0)
		return json_incref(value);
	unsigned long low = strtoul(text, &end, 10), high = strtoul(end, NULL, 10);
	if (low >= s->n_gids || high < s->n_gids)
		return json_incref(value);
	return json_sprintf("%lu %lu", low, (unsigned long)s->n_gids - 1);
}

int sysctl_add_defaults(json_t *sysctls, json_t *defaults, const struct pod_spec *s, struct err *e)
{
	const char *name;
	json_t *value;
	json_object_foreach (defaults, name, value) {
		AUTO_FREE char *path = path_of(name);
		int r = check(name, path, json_string_value(value), s, e);
		if (r < 0)
			return err_wrap(e, "default_sysctls");
		if (r > 0)
			json_object_set_new(sysctls, path, fit_groups(path, value, s));
	}
	return 0;
}
