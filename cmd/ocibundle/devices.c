/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { DEPTH_MAX = 8, DEVICES_MAX = 16384 };

/* The devices that are asked for, as two lists under the way. `rules` NULL: everything is allowed
 * anyway. */
struct device_lists {
	json_t *devices, *rules;
};

/* One that somebody asks for: host a path or a pattern; inside "" = the same path; access "" = rwm; must:
 * a pattern that names nothing is an error. */
struct device_wish {
	const char *host, *inside, *access;
	bool must;
};

static int add_node(struct device_lists *l, const struct stat *st, const char *inside,
		    const char *access, struct err *e)
{
	const char *type = S_ISCHR(st->st_mode) ? "c" : "b";
	if (json_array_size(l->devices) >= DEVICES_MAX)
		return err_set(e, ERR_EXHAUSTED, "more than %d devices", DEVICES_MAX);
	json_array_append_new(l->devices,
			      json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "path", inside,
					"type", type, "major", (json_int_t)major(st->st_rdev),
					"minor", (json_int_t)minor(st->st_rdev), "fileMode",
					(json_int_t)(st->st_mode & 07777), "uid",
					(json_int_t)st->st_uid, "gid", (json_int_t)st->st_gid));
	if (l->rules)
		json_array_append_new(
			l->rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", type,
					    "major", (json_int_t)major(st->st_rdev), "minor",
					    (json_int_t)minor(st->st_rdev), "access", access));
	return 0;
}

/* The runtime makes these itself, as mounts, links or the container's own. */
static bool runtime_makes(const char *path)
{
	static const char *const own[] = {"/dev/pts",  "/dev/shm",     "/dev/fd",   "/dev/mqueue",
					  "/dev/ptmx", "/dev/console", "/dev/core", "/dev/.udev"};
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (strcmp(own[i], path) == 0)
			return true;
	return false;
}

static int add_tree(struct device_lists *l, int parent, const char *name, const char *host,
		    const char *inside, const char *access, int depth, struct err *e);

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_dir(struct device_lists *l, int fd, const char *host, const char *inside,
		   const char *access, int depth, struct err *e)
{
	struct dirent **list = NULL;
	int n = scandirat(fd, ".", &list, NULL, by_name), r = 0;
	if (n < 0)
		return err_sys(e, "read %s", host);
	for (int i = 0; i < n; i++) {
		if (r == 0 && list[i]->d_name[0] != '.') {
			AUTO_FREE char *h = xasprintf("%s/%s", host, list[i]->d_name);
			AUTO_FREE char *c = xasprintf("%s/%s", inside, list[i]->d_name);
			r = add_tree(l, fd, list[i]->d_name, h, c, access, depth + 1, e);
		}
		free(list[i]);
	}
	free(list);
	return r;
}

/* One device, or all of a directory. Links are not followed below the top: what they point at is
 * found under its own name. A node that has gone is none. */
static int add_tree(struct device_lists *l, int parent, const char *name, const char *host,
		    const char *inside, const char *access, int depth, struct err *e)
{
	struct stat st;
	if (fstatat(parent, name, &st, depth ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "device %s", host);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return runtime_makes(host) ? 0 : add_node(l, &st, inside, access, e);
	if (!S_ISDIR(st.st_mode) || depth > DEPTH_MAX || runtime_makes(host))
		return 0;
	AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "device directory %s", host)
		      : add_dir(l, fd, host, inside, access, depth, e);
}

static const char *device_line(json_t *all, size_t i, char *path, size_t size)
{
	snprintf(path, size, "linux.devices[%s]",
		 jsonx_opt_string(json_array_get(all, i), "path", ""));
	return path;
}

bool device_is_pattern(const char *host)
{
	struct stat st;
	return strpbrk(host, "*?[") && stat(host, &st) < 0;
}

/* Every device that a pattern names, in the order of their names, and how many; inside: the directory
 * that they come into, or the pattern itself: then they keep their paths. */
static int add_matches(struct device_lists *l, const char *pattern, const char *inside,
		       const char *access, size_t *found, struct err *e)
{
	glob_t g;
	int r = glob(pattern, GLOB_ERR, NULL, &g);
	*found = r == 0 ? g.gl_pathc : 0;
	if (r != 0 && r != GLOB_NOMATCH)
		return err_set(e, ERR_FAILED, "devices %s: cannot be read", pattern);
	bool same = strcmp(pattern, inside) == 0;
	r = 0;
	for (size_t i = 0; i < *found && r == 0; i++) {
		const char *host = g.gl_pathv[i];
		AUTO_FREE char *at =
			same ? xstrdup(host) : xasprintf("%s/%s", inside, strrchr(host, '/') + 1);
		r = add_tree(l, AT_FDCWD, host, host, at, access, 0, e);
	}
	globfree(&g);
	return r;
}

/* Add what is asked for in one place and say for each new line that it comes from `source`. */
static int add_asked(const struct bundle *b, struct device_lists *l, const struct device_wish *w,
		     const char *source, struct err *e)
{
	char path[PATH_MAX + 32];
	size_t from = json_array_size(l->devices), found = 0, rule = json_array_size(l->rules);
	const char *inside = *w->inside ? w->inside : w->host;
	const char *access = *w->access ? w->access : "rwm";
	if (b->sec->privileged && strcmp(inside, w->host) == 0)
		return 0;
	if (!device_is_pattern(w->host)) {
		if (add_tree(l, AT_FDCWD, w->host, w->host, inside, access, 0, e) < 0)
			return -1;
	} else if (add_matches(l, w->host, inside, access, &found, e) < 0) {
		return -1;
	} else if (!found && w->must) {
		return err_set(e, ERR_BAD_INPUT, "%s: no device matches '%.200s'", source, w->host);
	}
	for (; from < json_array_size(l->devices); from++)
		why(b, device_line(l->devices, from, path, sizeof path), "%s", source);
	for (; rule < json_array_size(l->rules); rule++)
		why_at(b, source, "linux.resources.devices[%zu]", rule);
	return 0;
}

/* HOST[:INSIDE][:PERMISSIONS] of additional_devices, as CRI-O and podman spell it. `copy` is cut up. */
static int parse_additional(char *copy, const char *text, struct device_wish *w, struct err *e)
{
	struct stat st;
	*w = (struct device_wish){.inside = "", .access = ""};
	w->host = strsep(&copy, ":");
	if (copy && *copy == '/')
		w->inside = strsep(&copy, ":");
	if (copy)
		w->access = copy;
	if (w->host[0] != '/' || !path_is_plain(w->host) || !path_is_plain(w->inside) ||
	    strspn(w->access, "rwm") != strlen(w->access))
		return err_set(e, ERR_BAD_INPUT,
			       "additional_devices: '%.200s' is not of the form "
			       "HOST[:INSIDE][:rwm]",
			       text);
	/* What a pattern names may be there or not; what is named by itself must be. */
	if (!device_is_pattern(w->host) && stat(w->host, &st) < 0)
		return err_sys(e, "additional_devices: %s", w->host);
	return 0;
}

static int add_additional(const struct bundle *b, struct device_lists *l, struct err *e)
{
	AUTO_FREE char *source = why_config_text(b, "additional_devices");
	size_t i;
	json_t *v;
	json_array_foreach (b->cfg->additional_devices, i, v) {
		struct device_wish w;
		AUTO_FREE char *copy = xstrdup(json_string_value(v));
		if (parse_additional(copy, json_string_value(v), &w, e) < 0 ||
		    add_asked(b, l, &w, source, e) < 0)
			return -1;
	}
	return 0;
}

int devices_json(const struct bundle *b, json_t **devices, json_t **rules, struct err *e)
{
	AUTO_JSON json_t *all = json_array();
	AUTO_JSON json_t *cgroup = json_array();
	bool any = b->sec->privileged;
	struct device_lists l = {all, any ? NULL : cgroup};
	/* First nothing, then what is named; the runtimes add the usual ones (null, zero, …). */
	json_array_append_new(cgroup, json_pack("{s:b, s:s}", "allow", (int)any, "access", "rwm"));
	if (any && add_tree(&l, AT_FDCWD, "/dev", "/dev", "/dev", "rwm", 0, e) < 0)
		return -1;
	if (any) {
		why(b, "linux.devices", "request linux.security_context.privileged");
		why(b, "linux.resources.devices", "request linux.security_context.privileged");
	}
	if (add_additional(b, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < b->ctr->n_devices; i++) {
		const Runtime__V1__Device *d = b->ctr->devices[i];
		const struct device_wish w = {d->host_path, d->container_path, d->permissions,
					      true};
		char source[48];
		snprintf(source, sizeof source, "request devices[%zu]", i);
		if (add_asked(b, &l, &w, source, e) < 0)
			return -1;
	}
	*devices = TAKE(all);
	*rules = TAKE(cgroup);
	return 0;
}
