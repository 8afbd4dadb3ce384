/* SPDX-License-Identifier: Apache-2.0 */
#include "parent.h"

#include "auto.h"
#include "cgroup.h"
#include "fs.h"
#include "image.h"
#include "log.h"
#include "record.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The systemd driver names a slice, and systemd looks after it. */
static char *parent_path(const char *parent, const char *id)
{
	if (!*parent)
		return xasprintf("/crisp/%s", id);
	if (parent[0] != '/' || strstr(parent, "..") || strlen(parent) >= NAME_MAX / 2)
		return NULL;
	size_t len = strlen(parent);
	while (len > 1 && parent[len - 1] == '/')
		len--;
	return len > 1 ? xstrndup(parent, len) : NULL;
}

/* image.h's escape keeps a path in one file name. */
static bool mark_name(const char *path, char out[NAME_MAX + 16])
{
	char name[NAME_MAX];
	if (image_name_escape(path, name, sizeof name) < 0)
		return false;
	snprintf(out, NAME_MAX + 16, "cgroups/%s", name);
	return true;
}

/* The shortest prefix of path, cut at a '/', for which wanted() holds; NULL = none. */
static char *first_prefix(const char *path, bool (*wanted)(const struct state *, const char *),
			  const struct state *s)
{
	for (const char *end = path; *end;) {
		end = strchrnul(end + 1, '/');
		char *prefix = xstrndup(path, (size_t)(end - path));
		if (wanted(s, prefix))
			return prefix;
		free(prefix);
	}
	return NULL;
}

static bool is_missing(const struct state *s, const char *path)
{
	(void)s;
	return !cgroup_exists(path);
}

static bool is_marked(const struct state *s, const char *path)
{
	char mark[NAME_MAX + 16];
	return mark_name(path, mark) && faccessat(s->root, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int parent_intend(const struct state *s, const char *parent, const char *id, struct err *e)
{
	char mark[NAME_MAX + 16];
	AUTO_FREE char *path = parent_path(parent, id);
	AUTO_FREE char *top = path ? first_prefix(path, is_missing, s) : NULL;
	if (!top || !mark_name(top, mark))
		return 0;
	if (mkdirat(s->root, "cgroups", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir cgroups");
	AUTO_CLOSE int fd =
		openat(s->root, mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, "note cgroup %s", top) : 0;
}

void parent_take_init(const char *parent, const char *id, pid_t pid)
{
	AUTO_FREE char *path = parent_path(parent, id);
	AUTO_FREE char *group = path ? xasprintf("%s/podinit-%s", path, id) : NULL;
	if (group && !cgroup_join(group, pid))
		log_warn("pod %s: its first process stays in our cgroup", id);
}

void parent_drop_init(const char *parent, const char *id)
{
	AUTO_FREE char *path = parent_path(parent, id);
	AUTO_FREE char *group = path ? xasprintf("%s/podinit-%s", path, id) : NULL;
	if (group)
		(void)cgroup_rmdir(group);
}

struct users {
	const struct state *s;
	const char *path, *id;
};

/* Another pod whose containers go there, now or later: 1 ends the walk. */
static int uses(void *arg, const char *id, struct err *e)
{
	const struct users *u = arg;
	struct err damage;
	AUTO_POD_RECORD struct pod_record r = {0};
	(void)e;
	if (strcmp(id, u->id) == 0 || pod_record_read(u->s, id, &r, &damage) < 0)
		return 0;
	AUTO_FREE char *path = parent_path(r.cgroup_parent, id);
	size_t n = strlen(u->path);
	return path && strncmp(path, u->path, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

void parent_prune(const struct state *s, const char *parent, const char *id)
{
	char mark[NAME_MAX + 16];
	struct err ignored;
	AUTO_FREE char *path = parent_path(parent, id);
	AUTO_FREE char *top = path ? first_prefix(path, is_marked, s) : NULL;
	if (!top)
		return;
	size_t top_len = strlen(top);
	for (size_t len = strlen(path); len >= top_len; len = (size_t)(strrchr(path, '/') - path)) {
		struct users u = {s, path, id};
		path[len] = '\0';
		if (object_each(s, OBJ_POD, uses, &u, &ignored) != 0 || !cgroup_rmdir(path))
			return;
		if (is_marked(s, path) && mark_name(path, mark))
			unlinkat(s->root, mark, 0);
		if (len == top_len)
			return;
	}
}
