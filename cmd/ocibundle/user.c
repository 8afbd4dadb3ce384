/* SPDX-License-Identifier: Apache-2.0 */
/* process.user: who the container's command runs as, by the image's own passwd and group files. */
#include "bundle.h"

#include "auto.h"
#include "buf.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "owners.h"
#include "passwd.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX_BYTES = 4 << 20 };

/* The whole file of the image; empty when there is none. A symlink in it leads to where the
 * container itself would get. */
static int read_in_root(int rootfs, const char *path, struct buf *b, struct err *e)
{
	char by_fd[32];
	AUTO_CLOSE int fd = fs_open_in_root(rootfs, path, O_PATH, 0, e);
	if (fd < 0)
		return e->errnum == ENOENT || e->errnum == ENOTDIR ? 0 : err_wrap(e, "the image");
	snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
	if (fs_read_at(AT_FDCWD, by_fd, b, e) < 0)
		return err_set(e, ERR_BAD_INPUT, "the image's %s cannot be read: %s", path,
			       e->errnum ? strerror(e->errnum)
					 : "not a regular file, or larger than 4 MiB");
	return 0;
}

struct who {
	struct buf passwd, group;
	struct passwd_entry entry; /* name "" when the user is not in passwd */
	uint32_t uid, gid;
	struct id_set groups;
};

static void who_release(struct who *w)
{
	buf_release(&w->passwd);
	buf_release(&w->group);
	id_set_release(&w->groups);
}

static int find_user(struct who *w, const char *user, struct err *e)
{
	bool numeric = passwd_parse_id(user, strlen(user), &w->uid);
	if (passwd_find(w->passwd.data, w->passwd.len, numeric ? NULL : user, w->uid, &w->entry)) {
		w->uid = w->entry.uid;
		w->gid = w->entry.gid;
		return 0;
	}
	w->entry = (struct passwd_entry){.home = "/"};
	if (!numeric)
		return err_set(e, ERR_BAD_INPUT, "user '%.80s' is not in the image's /etc/passwd",
			       user);
	return 0;
}

static int find_group(struct who *w, const char *group, struct err *e)
{
	if (passwd_parse_id(group, strlen(group), &w->gid) ||
	    group_find(w->group.data, w->group.len, group, &w->gid))
		return 0;
	return err_set(e, ERR_BAD_INPUT, "group '%.80s' is not in the image's /etc/group", group);
}

/* The image's User: "", user, user:group, each a name or a number. */
static int find_image_user(struct who *w, const char *spec, struct err *e)
{
	AUTO_FREE char *user = xstrdup(spec);
	char *group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	if (find_user(w, *user ? user : "0", e) < 0 ||
	    (group && *group && find_group(w, group, e) < 0))
		return err_wrap(e, "the image's user '%.80s'", spec);
	return 0;
}

static int find_who(const struct bundle *b, struct who *w, struct err *e)
{
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	char number[16];
	if (read_in_root(b->rootfs, "/etc/passwd", &w->passwd, e) < 0 ||
	    read_in_root(b->rootfs, "/etc/group", &w->group, e) < 0)
		return -1;
	snprintf(number, sizeof number, "%u", s->run_as_user ? (uint32_t)s->run_as_user->value : 0);
	if (s->run_as_user || *s->run_as_username) {
		if (find_user(w, s->run_as_user ? number : s->run_as_username, e) < 0)
			return -1;
	} else {
		json_t *config = json_object_get(b->img.config, "config");
		if (find_image_user(w, jsonx_opt_string(config, "User", ""), e) < 0)
			return -1;
	}
	if (s->run_as_group)
		w->gid = (uint32_t)s->run_as_group->value;
	return 0;
}

static void why_user(const struct bundle *b, const struct who *w)
{
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	const char *user = jsonx_opt_string(json_object_get(b->img.config, "config"), "User", "");
	const char *source = s->run_as_user ? "request linux.security_context.run_as_user"
			     : *s->run_as_username
				     ? "request linux.security_context.run_as_username"
			     : *user ? "image User"
				     : "default";
	why(b, "process.user", "%s", source);
	if (s->run_as_group)
		why(b, "process.user.gid", "request linux.security_context.run_as_group");
	why(b, "process.user.additionalGids", "image /etc/group");
	for (size_t i = 0; i < s->n_supplemental_groups; i++)
		why_at(b, "request linux.security_context.supplemental_groups",
		       "process.user.additionalGids[%u]", (uint32_t)s->supplemental_groups[i]);
	why_at(b, s->run_as_group ? "request linux.security_context.run_as_group" : source,
	       "process.user.additionalGids[%u]", w->gid);
}

int user_json(struct bundle *b, char **home, json_t **user, struct err *e)
{
	struct who w = {.passwd = BUF_INIT(FILE_MAX_BYTES), .group = BUF_INIT(FILE_MAX_BYTES)};
	const Runtime__V1__LinuxContainerSecurityContext *s = b->sec;
	if (find_who(b, &w, e) < 0) {
		who_release(&w);
		return -1;
	}
	/* The primary group is among them: a file that is denied to a group stays denied after a
	 * setgid program has changed the primary one. */
	id_set_add(&w.groups, w.gid);
	for (size_t i = 0; i < s->n_supplemental_groups; i++)
		id_set_add(&w.groups, (uint32_t)s->supplemental_groups[i]);
	if (s->supplemental_groups_policy != RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict &&
	    *w.entry.name)
		group_memberships(w.group.data, w.group.len, w.entry.name, &w.groups);
	id_set_sort(&w.groups);
	if (owners_check_ids(b, w.uid, w.groups.ids, w.groups.count, e) < 0) {
		who_release(&w);
		return -1;
	}
	why_user(b, &w);
	json_t *gids = json_array();
	for (size_t i = 0; i < w.groups.count; i++)
		json_array_append_new(gids, json_integer(w.groups.ids[i]));
	*user = json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)w.uid, "gid", (json_int_t)w.gid,
			  "additionalGids", gids);
	*home = xstrdup(w.entry.home[0] == '/' ? w.entry.home : "/");
	who_release(&w);
	return 0;
}
