/* SPDX-License-Identifier: Apache-2.0 */
#include "parent.h"

#include "auto.h"
#include "cgroup.h"
#include "fs.h"
#include "image.h"
#include "log.h"
#include "record.h"
#include "sdunit.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_slice(const struct config *cfg)
{
	return strcmp(cfg->cgroup_manager, "systemd") == 0;
}

/* The systemd driver names a slice by the last part of the path. */
static const char *slice_of(const char *parent)
{
	const char *last = strrchr(parent, '/');
	last = last ? last + 1 : parent;
	return *last ? last : "crisp.slice";
}

static char *parent_path(const struct config *cfg, const char *parent, const char *id)
{
	if (is_slice(cfg))
		return sdunit_slice_path(slice_of(parent));
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

int parent_intend(const struct tool_ctx *c, const char *parent, const char *id, struct err *e)
{
	const struct state *s = &c->st;
	char mark[NAME_MAX + 16];
	AUTO_FREE char *path = parent_path(&c->cfg, parent, id);
	/* The kubelet makes it first. */
	if (!path || !*path || cgroup_exists(path))
		return 0;
	AUTO_FREE char *above = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	AUTO_FREE char *missing = first_prefix(above, is_missing, s);
	const char *top = missing ? missing : path;
	if (!mark_name(top, mark))
		return 0;
	if (mkdirat(s->root, "cgroups", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir cgroups");
	AUTO_CLOSE int fd =
		openat(s->root, mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, "note cgroup %s", top) : 0;
}

void parent_take_init(const struct tool_ctx *c, const char *parent, const char *id, pid_t pid)
{
	struct err why = {.msg = ""};
	AUTO_FREE char *path = parent_path(&c->cfg, parent, id);
	AUTO_FREE char *group = path ? xasprintf("%s/podinit-%s", path, id) : NULL;
	AUTO_FREE char *scope = xasprintf("podinit-%s.scope", id);
	bool joined = is_slice(&c->cfg) ? sdunit_scope(scope, slice_of(parent), pid, &why) == 0
					: !group || cgroup_join(group, pid);
	if (!joined)
		log_warn("pod %s: its first process stays in our cgroup%s%s", id,
			 *why.msg ? ": " : "", why.msg);
}

void parent_drop_init(const struct tool_ctx *c, const char *parent, const char *id)
{
	AUTO_FREE char *path = parent_path(&c->cfg, parent, id);
	AUTO_FREE char *group = path ? xasprintf("%s/podinit-%s", path, id) : NULL;
	/* A scope goes by itself. */
	if (group && !is_slice(&c->cfg))
		(void)cgroup_rmdir(group);
}

struct users {
	const struct tool_ctx *c;
	const char *path, *id;
};

/* Another pod whose containers go there, now or later: 1 ends the walk. */
static int uses(void *arg, const char *id, struct err *e)
{
	const struct users *u = arg;
	struct err damage;
	AUTO_POD_RECORD struct pod_record r = {0};
	(void)e;
	if (strcmp(id, u->id) == 0 || pod_record_read(&u->c->st, id, &r, &damage) < 0)
		return 0;
	AUTO_FREE char *path = parent_path(&u->c->cfg, r.cgroup_parent, id);
	size_t n = strlen(u->path);
	return path && strncmp(path, u->path, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* A slice's group is systemd's to remove; it does so before it answers the next question. */
static bool remove_group(const struct tool_ctx *c, const char *path)
{
	struct err why;
	if (!is_slice(&c->cfg))
		return cgroup_rmdir(path);
	if (cgroup_holds(path) != 0)
		return false;
	if (sdunit_stop(strrchr(path, '/') + 1, &why) < 0)
		log_debug("%s: %s", path, why.msg);
	return true;
}

void parent_prune(const struct tool_ctx *c, const char *parent, const char *id)
{
	const struct state *s = &c->st;
	char mark[NAME_MAX + 16];
	struct err ignored;
	AUTO_FREE char *path = parent_path(&c->cfg, parent, id);
	AUTO_FREE char *top = path ? first_prefix(path, is_marked, s) : NULL;
	if (!top)
		return;
	size_t top_len = strlen(top);
	for (size_t len = strlen(path); len >= top_len; len = (size_t)(strrchr(path, '/') - path)) {
		struct users u = {c, path, id};
		path[len] = '\0';
		if (object_each(s, OBJ_POD, uses, &u, &ignored) != 0 || !remove_group(c, path))
			return;
		if (is_marked(s, path) && mark_name(path, mark))
			unlinkat(s->root, mark, 0);
		if (len == top_len)
			return;
	}
}
