/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes that are files: what is in them, and the layout of the kubelet's atomic writer: the files in
 * a directory of their own, "..data" a link to it, and a link to "..data/X" for each X that is seen. */
#include "podmanifest.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES_MAX = 10000, MODE_MAX = 0777 };

static bool path_is_good(const char *path)
{
	if (!*path || strlen(path) >= PATH_MAX || strncmp(path, "..", 2) == 0)
		return false;
	for (const char *s = path;; s++) {
		size_t n = strcspn(s, "/");
		if (n == 0 || n > NAME_MAX || (n == 1 && *s == '.') ||
		    (n == 2 && !strncmp(s, "..", 2)))
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

static int add_file(struct pm *p, json_t *files, const char *path, json_t *data, long mode,
		    const char *at, struct err *e)
{
	if (!path_is_good(path))
		return err_set(e, ERR_BAD_INPUT, "%s: %s: '%.100s' is not a path within a volume",
			       p->what, at, path);
	if (mode < 0 || mode > MODE_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: mode %ld is not 0 to 0777", p->what, at,
			       mode);
	if (spend(p, json_string_length(data) + json_string_length(json_object_get(data, "base64")),
		  at, e) < 0)
		return -1;
	json_object_set_new(files, path,
			    json_pack("{s:O, s:I}", "data", data, "mode", (json_int_t)mode));
	return json_object_size(files) <= FILES_MAX
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s: %s: more than %d files", p->what, at,
				 FILES_MAX);
}

/* All keys, or those of the items at their paths. */
static int add_keys(struct pm *p, json_t *source, json_t *data, long default_mode, json_t *files,
		    const char *at, struct err *e)
{
	json_t *items = json_object_get(source, "items"), *v, *item;
	const char *key;
	size_t i;
	if (!json_array_size(items)) {
		json_object_foreach (data, key, v)
			if (add_file(p, files, key, v, default_mode, at, e) < 0)
				return -1;
		return 0;
	}
	json_array_foreach (items, i, item) {
		v = json_object_get(data, str(item, "key"));
		if (!v && flag(source, "optional"))
			continue;
		if (!v)
			return err_set(e, ERR_NOT_FOUND,
				       "%s: %s.items[%zu]: there is no key '%.100s'", p->what, at,
				       i, str(item, "key"));
		long mode = (long)jsonx_opt_int(item, "mode", default_mode);
		if (add_file(p, files, str(item, "path"), v, mode, at, e) < 0)
			return -1;
	}
	return 0;
}

static int add_fields(struct pm *p, json_t *source, long default_mode, json_t *files,
		      const char *at, struct err *e)
{
	size_t i;
	json_t *item;
	json_array_foreach (json_object_get(source, "items"), i, item) {
		json_t *field = json_object_get(item, "fieldRef");
		json_t *resource = json_object_get(item, "resourceFieldRef");
		AUTO_FREE char *path = xasprintf("%s.items[%zu].%s", at, i,
						 field ? "fieldRef" : "resourceFieldRef");
		AUTO_FREE char *text = field ? pod_field(p, str(field, "fieldPath"), true, path, e)
					     : resource_field(p, resource, NULL, path, e);
		if (!text)
			return -1;
		AUTO_JSON json_t *data = json_string(text);
		long mode = (long)jsonx_opt_int(item, "mode", default_mode);
		if (add_file(p, files, str(item, "path"), data, mode, at, e) < 0)
			return -1;
	}
	return 0;
}

static int add_projected(struct pm *p, json_t *source, long mode, json_t *files, const char *path,
			 struct err *e)
{
	static const char *const kinds[] = {"secret", "configMap", "downwardAPI"};
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(source, "sources"), i, one)
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			json_t *part = json_object_get(one, kinds[k]);
			AUTO_FREE char *at = xasprintf("%s.sources[%zu].%s", path, i, kinds[k]);
			if (part && volume_files(p, kinds[k], part, mode, files, at, e) < 0)
				return -1;
		}
	return 0;
}

int volume_files(struct pm *p, const char *kind, json_t *source, long default_mode, json_t *files,
		 const char *path, struct err *e)
{
	long mode = (long)jsonx_opt_int(source, "defaultMode", default_mode);
	bool secret = strcmp(kind, "secret") == 0;
	if (strcmp(kind, "projected") == 0)
		return add_projected(p, source, mode, files, path, e);
	if (strcmp(kind, "downwardAPI") == 0)
		return add_fields(p, source, mode, files, path, e);
	/* The volume says secretName, a part of a projected one says name. */
	const char *name = str(source, "name");
	name = *name ? name : str(source, "secretName");
	json_t *data = json_object_get(secret ? p->secrets : p->configmaps, name);
	if (!data && flag(source, "optional"))
		return 0;
	if (!data)
		return err_set(
			e, ERR_NOT_FOUND,
			"%s: %s: there is no %s '%.100s' (a document of the same file, or --%s "
			"%.100s=DIR)",
			p->what, path, secret ? "secret" : "configMap", name,
			secret ? "secret" : "configmap", *name ? name : "NAME");
	return add_keys(p, source, data, mode, files, path, e);
}

static int write_file(int dirfd, const char *path, const json_t *file, struct err *e)
{
	size_t len;
	AUTO_FREE char *bytes = source_bytes(json_object_get(file, "data"), &len);
	AUTO_FREE char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');
	if (slash) {
		*slash = '\0';
		if (fs_mkdirs(dirfd, parent, 0755, e) < 0)
			return -1;
	}
	AUTO_CLOSE int fd = fs_open_beneath(dirfd, path, O_WRONLY | O_CREAT | O_EXCL, 0600, e);
	if (fd < 0 || fs_write_all(fd, bytes, len, e) < 0)
		return -1;
	mode_t mode = (mode_t)json_integer_value(json_object_get(file, "mode"));
	return fchmod(fd, mode) < 0 ? err_sys(e, "mode of %s", path) : 0;
}

/* Links that are no more go, new ones come; those that stay are never missing. */
static int link_names(int fd, const char *dir, const json_t *files, struct err *e)
{
	AUTO_JSON json_t *names = json_object();
	const char *path, *name;
	json_t *v;
	struct dirent *de;
	json_object_foreach ((json_t *)files, path, v) {
		AUTO_FREE char *first = xstrndup(path, strcspn(path, "/"));
		json_object_set_new(names, first, json_true());
	}
	AUTO_CLOSEDIR DIR *d = opendir(dir);
	if (!d)
		return err_sys(e, "%s", dir);
	while ((de = readdir(d)))
		if (strncmp(de->d_name, "..", 2) != 0 && strcmp(de->d_name, ".") != 0 &&
		    !json_object_get(names, de->d_name) && unlinkat(fd, de->d_name, 0) < 0)
			return err_sys(e, "remove %s/%s", dir, de->d_name);
	json_object_foreach (names, name, v) {
		AUTO_FREE char *target = xasprintf("..data/%s", name);
		if (symlinkat(target, fd, name) < 0 && errno != EEXIST)
			return err_sys(e, "link %s/%s", dir, name);
	}
	return 0;
}

int volume_write(const struct pm *p, const char *dir, const json_t *files, struct err *e)
{
	char old[16] = "";
	const char *path;
	json_t *v;
	if (!p->write)
		return 0;
	AUTO_CLOSE int fd = fs_open_dir(AT_FDCWD, dir, e);
	if (fd < 0)
		return -1;
	ssize_t n = readlinkat(fd, "..data", old, sizeof old - 1);
	old[n > 0 ? n : 0] = '\0';
	const char *fresh = strcmp(old, "..1") == 0 ? "..2" : "..1";
	if (fs_remove_tree(fd, fresh, e) < 0 || fs_mkdirs(fd, fresh, 0755, e) < 0)
		return -1;
	AUTO_CLOSE int in = fs_open_dir(fd, fresh, e);
	if (in < 0 || fchmod(in, 0755) < 0)
		return in < 0 ? -1 : err_sys(e, "%s", dir);
	json_object_foreach ((json_t *)files, path, v)
		if (write_file(in, path, v, e) < 0)
			return err_wrap(e, "%s", dir);
	(void)unlinkat(fd, "..data_tmp", 0);
	if (symlinkat(fresh, fd, "..data_tmp") < 0 || renameat(fd, "..data_tmp", fd, "..data") < 0)
		return err_sys(e, "link %s/..data", dir);
	if (link_names(fd, dir, files, e) < 0)
		return -1;
	return *old && strcmp(old, fresh) != 0 && strcmp(old, "..2") <= 0
		       ? fs_remove_tree(fd, old, e)
		       : 0;
}

/* fsGroup: the group gets what the mode of the volume lets it have (pkg/volume/volume_linux.go). */
static int chown_one(int dirfd, const char *name, gid_t gid, mode_t mask, struct err *e)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchownat(dirfd, name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "group of %s", name);
	if (S_ISLNK(st.st_mode))
		return 0;
	mode_t mode = (st.st_mode & 07777) | mask | (S_ISDIR(st.st_mode) ? 02110 : 0);
	return fchmodat(dirfd, name, mode, 0) < 0 ? err_sys(e, "mode of %s", name) : 0;
}

static int chown_below(int dirfd, const char *name, gid_t gid, mode_t mask, int depth,
		       struct err *e)
{
	struct stat st;
	struct dirent *de;
	if (chown_one(dirfd, name, gid, mask, e) < 0)
		return -1;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
	    depth > 64)
		return 0;
	int fd = fs_open_dir(dirfd, name, e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return fd < 0 ? -1 : err_sys(e, "%s", name);
	while ((de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    chown_below(fd, de->d_name, gid, mask, depth + 1, e) < 0)
			return -1;
	return 0;
}

int volume_chown(const struct pm *p, const char *dir, bool readonly, struct err *e)
{
	const json_t *group =
		json_object_get(json_object_get(p->spec, "securityContext"), "fsGroup");
	if (!p->write || !group)
		return 0;
	gid_t gid = (gid_t)json_integer_value(group);
	/* What a container has put into an emptyDir is its own; the files of the others are ours. */
	return readonly ? chown_below(AT_FDCWD, dir, gid, 0440, 0, e)
			: chown_one(AT_FDCWD, dir, gid, 0660, e);
}
