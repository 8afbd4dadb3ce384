/* SPDX-License-Identifier: Apache-2.0 */
#include "handler.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CAN_MAX = 1 << 20 };

const char *const handler_words[] = {"recursive_read_only",
				     "idmapped_mounts",
				     "user_namespaces",
				     "seccomp",
				     "apparmor",
				     "selinux",
				     "cgroup_v1",
				     "cgroup_v2",
				     "systemd_cgroup",
				     "terminal",
				     "update",
				     "pause",
				     "checkpoint",
				     "container_limits",
				     "devices",
				     "privileged",
				     "host_processes",
				     "host_ipc",
				     "target_processes",
				     "sysctls",
				     "mount_propagation",
				     "masked_paths",
				     "ambient_capabilities",
				     NULL};

json_t *handler_identity(const struct handler *h, struct err *e)
{
	struct stat st;
	if (stat(h->path, &st) < 0)
		return err_sys(e, "runtime handler '%s': %s", h->name, h->path), NULL;
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:O}", "path", h->path, "dev",
			 (json_int_t)st.st_dev, "inode", (json_int_t)st.st_ino, "mtime_ns",
			 (json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, "size",
			 (json_int_t)st.st_size, "args", h->args);
}

static json_t *found_out(const struct config *c, const struct handler *h)
{
	struct err ignored;
	AUTO_FREE char *file = xasprintf("%s/handlers/%s.json", c->runroot, h->name);
	if (access(file, F_OK) < 0)
		return NULL;
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, file, CAN_MAX, &ignored);
	AUTO_JSON json_t *now = j ? handler_identity(h, &ignored) : NULL;
	if (!now || !json_equal(now, json_object_get(j, "runtime")))
		return NULL;
	return TAKE(j);
}

void handler_can_say(const struct handler *h, json_t *can)
{
	json_t *words = json_object_get(can, "can");
	if (!h->can)
		return;
	if (!words) {
		words = json_object();
		json_object_set_new(can, "can", words);
	}
	json_object_update(words, h->can);
}

json_t *handler_can(const struct config *c, const struct handler *h)
{
	json_t *j = found_out(c, h);
	if (!h->can)
		return j;
	if (!j)
		j = json_pack("{s:s}", "known_by", "file");
	handler_can_say(h, j);
	return j;
}

int handler_can_do(const json_t *can, const char *what)
{
	const json_t *v = json_object_get(json_object_get(can, "can"), what);
	return json_is_boolean(v) ? json_is_true(v) : -1;
}

int handler_can_write(const struct config *c, const struct handler *h, const json_t *can,
		      struct err *e)
{
	AUTO_FREE char *dir = xasprintf("%s/handlers", c->runroot);
	AUTO_FREE char *name = xasprintf("%s.json", h->name);
	if (fs_mkdirs(AT_FDCWD, dir, 0700, e) < 0)
		return -1;
	AUTO_CLOSE int fd = fs_open_dir(AT_FDCWD, dir, e);
	return fd < 0 ? -1 : jsonx_replace_bounded_at(fd, name, 0600, can, CAN_MAX, e);
}
