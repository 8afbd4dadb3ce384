/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and their mounts. They lie where a kubelet has them below the pod's directory:
 * volumes/kubernetes.io~KIND/NAME, containers/NAME, etc-hosts. */
#include "podmanifest.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static char *volume_dir(const struct pm *p, const char *kind, const char *name)
{
	return xasprintf("%s/volumes/kubernetes.io~%s/%s", p->dir, kind, name);
}

static int make_dir(const struct pm *p, const char *dir, mode_t mode, struct err *e)
{
	if (!p->write)
		return 0;
	if (fs_mkdirs(AT_FDCWD, dir, 0750, e) < 0)
		return -1;
	AUTO_CLOSE int fd = fs_open_dir(AT_FDCWD, dir, e);
	if (fd < 0)
		return -1;
	return fchmod(fd, mode) < 0 ? err_sys(e, "mode of %s", dir) : 0;
}

static void set_place(struct pm *p, const char *name, const char *path, bool readonly, bool managed)
{
	json_object_set_new(p->places, name,
			    json_pack("{s:s, s:b, s:b}", "path", path, "readonly", readonly,
				      "managed", managed));
}

/* Memory is where the pod's directory is in memory, as the default one is; a size is not kept there. */
static void check_memory(struct pm *p, const json_t *source, const char *path)
{
	struct statfs fs;
	AUTO_FREE char *dir = xstrdup(p->dir);
	const char *medium = str(source, "medium");
	if (!*medium)
		return;
	if (strcmp(medium, "Memory") != 0) {
		problem(p, "%s.emptyDir.medium: '%.40s' is not made", path, medium);
		return;
	}
	for (char *slash; statfs(dir, &fs) < 0 && (slash = strrchr(dir, '/')) && slash != dir;)
		*slash = '\0';
	if (statfs(dir, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		problem(p, "%s.emptyDir.medium: Memory, but %s is not in memory (--volumes)", path,
			p->dir);
	if (json_object_get(source, "sizeLimit"))
		problem(p, "%s.emptyDir.sizeLimit: is not kept in memory", path);
}

static int empty_dir(struct pm *p, const char *name, json_t *source, const char *path,
		     struct err *e)
{
	AUTO_FREE char *dir = volume_dir(p, "empty-dir", name);
	check_memory(p, source, path);
	set_place(p, name, dir, false, true);
	if (make_dir(p, dir, 0777, e) < 0)
		return -1;
	return volume_chown(p, dir, false, e);
}

static int host_path_is(const char *file, const char *type, const char *path, struct err *e)
{
	static const struct {
		const char *type;
		mode_t mode;
		bool create;
	} types[] = {
		{"Directory", S_IFDIR, false},   {"DirectoryOrCreate", S_IFDIR, true},
		{"File", S_IFREG, false},        {"FileOrCreate", S_IFREG, true},
		{"Socket", S_IFSOCK, false},     {"CharDevice", S_IFCHR, false},
		{"BlockDevice", S_IFBLK, false},
	};
	struct stat st;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(type, types[i].type) != 0)
			continue;
		if (stat(file, &st) < 0)
			return types[i].create ? 1 : err_sys(e, "%s.hostPath: %s", path, file);
		return (st.st_mode & S_IFMT) == types[i].mode
			       ? 0
			       : err_set(e, ERR_BAD_INPUT, "%s.hostPath: %s is no %s", path, file,
					 type);
	}
	return !*type ? 0 : err_set(e, ERR_BAD_INPUT, "%s.hostPath.type: '%.40s'", path, type);
}

static int host_path(struct pm *p, const char *name, json_t *source, const char *path,
		     struct err *e)
{
	const char *file = str(source, "path"), *type = str(source, "type");
	if (file[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "%s: %s.hostPath.path: '%.200s' is not absolute",
			       p->what, path, file);
	set_place(p, name, file, false, false);
	int n = p->write ? host_path_is(file, type, path, e) : 0;
	if (n <= 0)
		return n < 0 ? err_wrap(e, "%s", p->what) : 0;
	if (type[0] == 'D')
		return fs_mkdirs(AT_FDCWD, file, 0755, e);
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(e, "%s.hostPath: %s", path, file) : 0;
}

static int files_volume(struct pm *p, const char *name, const char *kind, json_t *source,
			const char *path, struct err *e)
{
	static const struct {
		const char *kind, *dir;
	} dirs[] = {{"configMap", "configmap"},
		    {"secret", "secret"},
		    {"downwardAPI", "downward-api"},
		    {"projected", "projected"}};
	AUTO_JSON json_t *files = json_object();
	AUTO_FREE char *at = xasprintf("%s.%s", path, kind);
	size_t i = 0;
	while (strcmp(dirs[i].kind, kind) != 0)
		i++;
	AUTO_FREE char *dir = volume_dir(p, dirs[i].dir, name);
	set_place(p, name, dir, true, true);
	if (volume_files(p, kind, source, 0644, files, at, e) < 0 ||
	    make_dir(p, dir, 0777, e) < 0 || volume_write(p, dir, files, e) < 0)
		return -1;
	return volume_chown(p, dir, true, e);
}

static int image_volume(struct pm *p, const char *name, json_t *source, const char *path,
			struct err *e)
{
	const char *ref = str(source, "reference");
	if (!*ref)
		return err_set(e, ERR_BAD_INPUT, "%s: %s.image.reference: missing", p->what, path);
	json_object_set_new(p->places, name, json_pack("{s:s, s:b}", "image", ref, "readonly", 1));
	return 0;
}

/* The path that --volume gives for this volume, or NULL. */
static const char *given(const struct pm *p, const char *name)
{
	size_t n = strlen(name);
	for (int i = 0; i < p->o->volumes.count; i++)
		if (strncmp(p->o->volumes.v[i], name, n) == 0 && p->o->volumes.v[i][n] == '=')
			return p->o->volumes.v[i] + n + 1;
	return NULL;
}

static int prepare_one(struct pm *p, json_t *volume, const char *path, struct err *e)
{
	const char *name = str(volume, "name"), *kind, *place = given(p, name);
	json_t *source;
	if (place) {
		if (place[0] != '/')
			return err_set(e, ERR_USAGE,
				       "--volume %s: '%.200s' is not an absolute path", name,
				       place);
		set_place(p, name, place, false, false);
		return 0;
	}
	if (json_object_size(volume) > 2)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: more than one kind of volume", p->what,
			       path);
	json_object_foreach (volume, kind, source) {
		if (strcmp(kind, "name") == 0)
			continue;
		if (strcmp(kind, "emptyDir") == 0)
			return empty_dir(p, name, source, path, e);
		if (strcmp(kind, "hostPath") == 0)
			return host_path(p, name, source, path, e);
		if (strcmp(kind, "image") == 0)
			return image_volume(p, name, source, path, e);
		if (strcmp(kind, "configMap") == 0 || strcmp(kind, "secret") == 0 ||
		    strcmp(kind, "downwardAPI") == 0 || strcmp(kind, "projected") == 0)
			return files_volume(p, name, kind, source, path, e);
		problem(p, "%s.%.60s: no storage of a cluster here (--volume %s=PATH)", path, kind,
			name);
		return 0;
	}
	/* An API server makes it an emptyDir; a source that was a problem is told already. */
	AUTO_JSON json_t *nothing = json_object();
	return empty_dir(p, name, nothing, path, e);
}

int volumes_prepare(struct pm *p, struct err *e)
{
	size_t i;
	json_t *one;
	if (make_dir(p, p->dir, 0750, e) < 0)
		return -1;
	json_array_foreach (json_object_get(p->spec, "volumes"), i, one) {
		AUTO_FREE char *path = xasprintf("spec.volumes[%zu]", i);
		if (prepare_one(p, one, path, e) < 0)
			return -1;
	}
	return 0;
}

/* The directories that are missing, each of the volume's own mode; no link is followed. */
static int make_below(int root, const char *sub, struct err *e)
{
	struct stat st;
	AUTO_FREE char *copy = xstrdup(sub);
	char *rest;
	AUTO_CLOSE int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
	if (at < 0 || fstat(root, &st) < 0)
		return err_sys(e, "%s", sub);
	for (char *name = strtok_r(copy, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		bool made = mkdirat(at, name, 0700) == 0;
		int next = made || errno == EEXIST ? fs_open_dir(at, name, e)
						   : err_sys(e, "mkdir %s", name);
		if (next < 0) {
			/* A link, or a file, where a directory should be. */
			e->kind = e->errnum == ENOTDIR || e->errnum == ELOOP ? ERR_BAD_INPUT
									     : e->kind;
			return -1;
		}
		close(at);
		at = next;
		if (made && fchmod(at, st.st_mode & 07777) < 0)
			return err_sys(e, "mode of %s", name);
	}
	return 0;
}

/* The place of sub within the volume, with no link followed out of it; made when it is missing. */
static char *sub_path(const struct pm *p, const char *volume, const char *sub, struct err *e)
{
	char proc[64], real[PATH_MAX];
	if (!p->write)
		return xasprintf("%s/%s", volume, sub);
	AUTO_CLOSE int root = fs_open_dir(AT_FDCWD, volume, e);
	if (root < 0)
		return NULL;
	AUTO_CLOSE int fd = fs_open_in_root(root, sub, O_PATH, 0, e);
	if (fd < 0 && e->errnum == ENOENT && make_below(root, sub, e) == 0)
		fd = fs_open_in_root(root, sub, O_PATH, 0, e);
	if (fd < 0)
		return NULL;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(proc, real, sizeof real - 1);
	if (n <= 0)
		return err_sys(e, "%s/%s", volume, sub), NULL;
	return xstrndup(real, (size_t)n);
}

static bool sub_is_good(const char *sub)
{
	if (sub[0] == '/')
		return false;
	for (const char *s = sub; *s; s += strcspn(s, "/"), s += *s == '/')
		if (strncmp(s, "..", 2) == 0 && (s[2] == '/' || !s[2]))
			return false;
	return true;
}

static int set_modes(struct pm *p, json_t *m, json_t *mount, bool readonly, const char *path,
		     struct err *e)
{
	static const struct {
		const char *name, *cri;
	} modes[] = {{"", "PROPAGATION_PRIVATE"},
		     {"None", "PROPAGATION_PRIVATE"},
		     {"HostToContainer", "PROPAGATION_HOST_TO_CONTAINER"},
		     {"Bidirectional", "PROPAGATION_BIDIRECTIONAL"}};
	const char *want = str(mount, "mountPropagation"), *rro = str(mount, "recursiveReadOnly");
	size_t i = 0;
	while (i < ARRAY_LEN(modes) && strcmp(modes[i].name, want) != 0)
		i++;
	if (i == ARRAY_LEN(modes))
		return err_set(e, ERR_BAD_INPUT, "%s: %s.mountPropagation: '%.40s'", p->what, path,
			       want);
	json_object_set_new(m, "propagation", json_string(modes[i].cri));
	json_object_set_new(m, "readonly", json_boolean(readonly || flag(mount, "readOnly")));
	/* IfPossible is left to the handler that can do without. */
	if (strcmp(rro, "Enabled") == 0)
		json_object_set_new(m, "recursive_read_only", json_true());
	else if (*rro && strcmp(rro, "Disabled") != 0 && strcmp(rro, "IfPossible") != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: %s.recursiveReadOnly: '%.40s'", p->what, path,
			       rro);
	return 0;
}

static void map_ids(const struct pm *p, json_t *m)
{
	if (!json_is_false(json_object_get(p->spec, "hostUsers")) || p->o->userns <= 0)
		return;
	json_t *ids = json_pack("[{s:i, s:I, s:i}]", "container_id", 0, "host_id",
				(json_int_t)p->o->userns, "length", 65536);
	json_object_set(m, "uidMappings", ids);
	json_object_set_new(m, "gidMappings", ids);
}

static json_t *one_mount(struct pm *p, json_t *mount, const json_t *env, const char *path,
			 struct err *e)
{
	const char *name = str(mount, "name"), *at = str(mount, "mountPath");
	const json_t *place = json_object_get(p->places, name);
	const char *expr = str(mount, "subPathExpr");
	AUTO_FREE char *sub = *expr ? expand(expr, env) : xstrdup(str(mount, "subPath"));
	AUTO_FREE char *inside = xasprintf("%s%s", at[0] == '/' ? "" : "/", at);
	AUTO_JSON json_t *m = json_pack("{s:s}", "container_path", inside);
	if (!*at || strchr(at, ':'))
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s.mountPath: '%.200s'", p->what, path, at);
	if (!sub_is_good(sub) || strstr(sub, "$("))
		return err_set_p(e, ERR_BAD_INPUT,
				 "%s: %s.subPath%s: '%.200s' is not within the volume", p->what,
				 path, *expr ? "Expr" : "", sub);
	if (json_object_get(place, "image")) {
		json_object_set_new(m, "image",
				    json_pack("{s:s, s:s}", "image", str(place, "image"),
					      "user_specified_image", str(place, "image")));
		json_object_set_new(m, "image_sub_path", json_string(sub));
	} else {
		AUTO_FREE char *host = *sub ? sub_path(p, str(place, "path"), sub, e)
					    : xstrdup(str(place, "path"));
		if (!host)
			return err_wrap(e, "%s: %s.subPath", p->what, path), NULL;
		json_object_set_new(m, "host_path", json_string(host));
		json_object_set_new(m, "selinux_relabel", json_boolean(flag(place, "managed")));
		map_ids(p, m);
	}
	if (set_modes(p, m, mount, flag(place, "readonly"), path, e) < 0)
		return NULL;
	return TAKE(m);
}

/* The file that a container leaves its last words in. */
static int termination_mount(struct pm *p, json_t *container, json_t *mounts, struct err *e)
{
	const char *at = str(container, "terminationMessagePath");
	AUTO_FREE char *dir = xasprintf("%s/containers/%s", p->dir, str(container, "name"));
	AUTO_FREE char *file = xasprintf("%s/termination-log", dir);
	json_t *m =
		json_pack("{s:s, s:s, s:b}", "container_path", *at ? at : "/dev/termination-log",
			  "host_path", file, "selinux_relabel", 1);
	map_ids(p, m);
	json_array_append_new(mounts, m);
	if (!p->write)
		return 0;
	if (make_dir(p, dir, 0750, e) < 0)
		return -1;
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_TRUNC | O_CLOEXEC, 0666);
	return fd < 0 || fchmod(fd, 0666) < 0 ? err_sys(e, "%s", file) : 0;
}

json_t *container_mounts(struct pm *p, json_t *container, const json_t *env, const char *path,
			 struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	bool hosts = true;
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(container, "volumeMounts"), i, one) {
		AUTO_FREE char *at = xasprintf("%s.volumeMounts[%zu]", path, i);
		const char *name = str(one, "name");
		json_t *m = NULL;
		bool known = false;
		size_t k;
		json_t *v;
		hosts = hosts && strcmp(str(one, "mountPath"), "/etc/hosts") != 0;
		json_array_foreach (json_object_get(p->spec, "volumes"), k, v)
			known = known || strcmp(str(v, "name"), name) == 0;
		if (!known)
			return err_set_p(e, ERR_BAD_INPUT,
					 "%s: %s.name: there is no volume '%.63s'", p->what, at,
					 name);
		/* One that has no place is a problem that was told. */
		if (!json_object_get(p->places, name))
			continue;
		if (!(m = one_mount(p, one, env, at, e)))
			return NULL;
		json_array_append_new(out, m);
	}
	if (hosts) {
		AUTO_FREE char *file = xasprintf("%s/etc-hosts", p->dir);
		json_t *m = json_pack("{s:s, s:s, s:b}", "container_path", "/etc/hosts",
				      "host_path", file, "selinux_relabel", 1);
		map_ids(p, m);
		json_array_append_new(out, m);
	}
	if (termination_mount(p, container, out, e) < 0)
		return NULL;
	return TAKE(out);
}
