/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
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
	size_t from = json_array_size(all), rule = json_array_size(cgroup);
	char path[PATH_MAX + 32];
	for (size_t i = 0; i < b->ctr->n_devices; i++) {
		const Runtime__V1__Device *d = b->ctr->devices[i];
		const char *inside = *d->container_path ? d->container_path : d->host_path;
		if (any && strcmp(inside, d->host_path) == 0)
			continue;
		if (add_tree(&l, AT_FDCWD, d->host_path, d->host_path, inside,
			     *d->permissions ? d->permissions : "rwm", 0, e) < 0)
			return -1;
		for (; from < json_array_size(all); from++)
			why(b, device_line(all, from, path, sizeof path), "request devices[%zu]",
			    i);
		for (; rule < json_array_size(cgroup); rule++) {
			snprintf(path, sizeof path, "linux.resources.devices[%zu]", rule);
			why(b, path, "request devices[%zu]", i);
		}
	}
	*devices = TAKE(all);
	*rules = TAKE(cgroup);
	return 0;
}
