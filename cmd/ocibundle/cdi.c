/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by name: the Container Device Interface. A specification of a later directory hides the
 * devices of the same name of an earlier one; two of one directory are a conflict. A file that
 * cannot be read matters only to who asks for a device that is not found elsewhere. */
#include "edit.h"

#include "auto.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "ocihook.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { SPEC_MAX = 4 << 20, FILES_MAX = 1024 };

/* "vendor/class=name" -> {"file", "dir", "spec", "edits", "clash": other file}; and what could not
 * be read, for the error of who misses a device. */
struct registry {
	json_t *devices;
	char broken[600];
};

static int is_spec_file(const struct dirent *de)
{
	const char *dot = strrchr(de->d_name, '.');
	return de->d_name[0] != '.' && dot &&
	       (strcmp(dot, ".json") == 0 || strcmp(dot, ".yaml") == 0);
}

static void register_device(struct registry *r, json_t *spec, json_t *device, const char *file,
			    size_t dir)
{
	AUTO_FREE char *name = xasprintf("%s=%s", jsonx_opt_string(spec, "kind", ""),
					 jsonx_opt_string(device, "name", ""));
	json_t *old = json_object_get(r->devices, name);
	if (old && jsonx_opt_int(old, "dir", -1) == (json_int_t)dir) {
		json_object_set_new(old, "clash", json_string(file));
		return;
	}
	json_object_set_new(r->devices, name,
			    json_pack("{s:s, s:I, s:O, s:O}", "file", file, "dir", (json_int_t)dir,
				      "spec", spec, "edits",
				      json_object_get(device, "containerEdits")));
}

static void register_file(struct registry *r, const char *file, size_t dir)
{
	struct err e;
	size_t i;
	json_t *device;
	AUTO_BUF struct buf text = BUF_INIT(SPEC_MAX);
	AUTO_JSON json_t *spec = NULL;
	if (fs_read_at(AT_FDCWD, file, &text, &e) == 0)
		spec = cdi_spec_parse(text.data ? text.data : "", text.len, file, &e);
	if (!spec) {
		log_warn("CDI: %s", e.msg);
		if (!*r->broken)
			snprintf(r->broken, sizeof r->broken, "; %.500s", e.msg);
		return;
	}
	json_array_foreach (json_object_get(spec, "devices"), i, device)
		register_device(r, spec, device, file, dir);
}

static int read_specs(const struct bundle *b, struct registry *r, struct err *e)
{
	size_t dir;
	json_t *name;
	json_array_foreach (b->cfg->cdi_spec_dirs, dir, name) {
		struct dirent **list = NULL;
		const char *path = json_string_value(name);
		int n = scandir(path, &list, is_spec_file, fs_by_bytes);
		if (n < 0 && errno != ENOENT && errno != ENOTDIR)
			return err_sys(e, "cdi_spec_dirs: %s", path);
		for (int i = 0; i < n; i++) {
			AUTO_FREE char *file = xasprintf("%s/%s", path, list[i]->d_name);
			if (i < FILES_MAX)
				register_file(r, file, dir);
			free(list[i]);
		}
		free(list);
	}
	return 0;
}

static int want(json_t *out, const char *name, const char *where, struct err *e)
{
	if (!cdi_is_qualified(name))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: '%.128s' is not of the form vendor/class=name", where, name);
	json_object_set_new(out, name, json_string(where));
	return 0;
}

/* Name -> which field asked; each device once, in the order of the request. */
static json_t *wanted(const struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *out = json_object();
	for (size_t i = 0; i < b->ctr->n_cdi_devices; i++) {
		AUTO_FREE char *where = xasprintf("CDI_devices[%zu]", i);
		if (want(out, b->ctr->cdi_devices[i]->name, where, e) < 0)
			return NULL;
	}
	for (size_t i = 0; i < b->ctr->n_annotations; i++) {
		const char *key = b->ctr->annotations[i]->key;
		if (strncmp(key, "cdi.k8s.io/", 11) != 0)
			continue;
		AUTO_FREE char *where = xasprintf("annotations[%.200s]", key);
		AUTO_FREE char *list = xstrdup(b->ctr->annotations[i]->value);
		for (char *rest = list, *name; (name = strsep(&rest, ","));)
			if (!json_object_get(out, name) && want(out, name, where, e) < 0)
				return NULL;
	}
	return TAKE(out);
}

static json_t *member(json_t *parent, const char *key, json_t *(*make)(void))
{
	json_t *v = json_object_get(parent, key);
	if (v)
		return v;
	json_object_set_new(parent, key, make());
	return json_object_get(parent, key);
}

static void add_env(json_t *spec, json_t *edits)
{
	json_t *env = json_object_get(json_object_get(spec, "process"), "env"), *v, *old;
	size_t i, k;
	json_array_foreach (json_object_get(edits, "env"), i, v) {
		const char *s = json_string_value(v);
		size_t n = strcspn(s, "=") + 1;
		bool done = false;
		json_array_foreach (env, k, old)
			if (strncmp(json_string_value(old), s, n) == 0) {
				json_array_set(env, k, v);
				done = true;
			}
		if (!done)
			json_array_append(env, v);
	}
}

static void add_gids(json_t *spec, json_t *edits)
{
	json_t *user = json_object_get(json_object_get(spec, "process"), "user"), *v, *old;
	json_t *gids = member(user, "additionalGids", json_array);
	size_t i, k;
	json_array_foreach (json_object_get(edits, "additionalGids"), i, v) {
		/* 0 is what an absent field means to who writes these files. */
		bool known = json_integer_value(v) == 0;
		json_array_foreach (gids, k, old)
			known = known || json_equal(old, v);
		if (!known)
			json_array_append(gids, v);
	}
}

/* What the specification leaves out, the host's node says. */
static int fill_node(json_t *out, json_t *node, struct err *e)
{
	const char *host = jsonx_opt_string(node, "hostPath", jsonx_opt_string(node, "path", ""));
	const char *type = jsonx_opt_string(node, "type", NULL);
	struct stat st;
	if (type && strcmp(type, "p") == 0)
		return 0;
	if (type && json_object_get(node, "major") && json_object_get(node, "minor"))
		return 0;
	if (stat(host, &st) < 0)
		return err_set(e, ERR_BAD_INPUT, "%s: %s", host, strerror(errno));
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "%s: not a device", host);
	const char *is = S_ISCHR(st.st_mode) ? "c" : "b";
	if (type && strcmp(type, is) != 0 && !(strcmp(type, "u") == 0 && *is == 'c'))
		return err_set(e, ERR_BAD_INPUT, "%s: is of type %s, not %s", host, is, type);
	json_object_set_new(out, "type", json_string(is));
	json_object_set_new(out, "major", json_integer(major(st.st_rdev)));
	json_object_set_new(out, "minor", json_integer(minor(st.st_rdev)));
	if (!json_object_get(node, "fileMode"))
		json_object_set_new(out, "fileMode", json_integer(st.st_mode & 07777));
	return 0;
}

static void remove_by(json_t *list, const char *key, const char *value)
{
	for (size_t i = json_array_size(list); i-- > 0;)
		if (strcmp(jsonx_opt_string(json_array_get(list, i), key, ""), value) == 0)
			json_array_remove(list, i);
}

/* A container that does not run as root gets devices that are its own, unless the file says. */
static void default_owner(json_t *out, const json_t *user, const char *key)
{
	json_int_t id = jsonx_opt_int((json_t *)user, key, 0);
	if (id > 0 && !json_object_get(out, key))
		json_object_set_new(out, key, json_integer(id));
}

static int add_nodes(const struct bundle *b, json_t *spec, json_t *edits, struct err *e)
{
	json_t *lin = json_object_get(spec, "linux"), *node;
	json_t *user = json_object_get(json_object_get(spec, "process"), "user");
	json_t *rules = json_object_get(json_object_get(lin, "resources"), "devices");
	size_t i;
	json_array_foreach (json_object_get(edits, "deviceNodes"), i, node) {
		json_t *devices = member(lin, "devices", json_array);
		AUTO_JSON json_t *out = json_copy(node);
		AUTO_FREE char *path = mount_tidy(jsonx_opt_string(node, "path", ""));
		if (fill_node(out, node, e) < 0)
			return -1;
		json_object_del(out, "hostPath");
		json_object_del(out, "permissions");
		json_object_set_new(out, "path", json_string(path));
		default_owner(out, user, "uid");
		default_owner(out, user, "gid");
		remove_by(devices, "path", path);
		json_array_append(devices, out);
		const char *type = jsonx_opt_string(out, "type", "c");
		if (*type == 'p' || b->sec->privileged)
			continue;
		json_array_append_new(rules,
				      json_pack("{s:b, s:s, s:O, s:O, s:s}", "allow", 1, "type",
						*type == 'u' ? "c" : type, "major",
						json_object_get(out, "major"), "minor",
						json_object_get(out, "minor"), "access",
						jsonx_opt_string(node, "permissions", "rwm")));
	}
	return 0;
}

static bool has_bind(const json_t *options)
{
	size_t i;
	json_t *v;
	json_array_foreach (options, i, v)
		if (strcmp(json_string_value(v), "bind") == 0 ||
		    strcmp(json_string_value(v), "rbind") == 0)
			return true;
	return false;
}

static int add_mounts(json_t *spec, json_t *edits, struct err *e)
{
	json_t *mounts = json_object_get(spec, "mounts"), *m;
	size_t i;
	json_array_foreach (json_object_get(edits, "mounts"), i, m) {
		json_t *given = json_object_get(m, "options");
		AUTO_JSON json_t *options = given ? json_copy(given) : json_array();
		AUTO_FREE char *at = mount_tidy(jsonx_opt_string(m, "containerPath", ""));
		const char *source = jsonx_opt_string(m, "hostPath", "");
		const char *type = jsonx_opt_string(m, "type", "bind");
		bool bind = strcmp(type, "bind") == 0 || has_bind(options);
		if (bind && (source[0] != '/' || access(source, F_OK) < 0))
			return err_set(e, ERR_BAD_INPUT, "mount %.200s: %s", source,
				       source[0] == '/' ? strerror(errno) : "not absolute");
		if (bind && !has_bind(options))
			json_array_append_new(options, json_string("rbind"));
		remove_by(mounts, "destination", at);
		json_array_append_new(mounts,
				      json_pack("{s:s, s:s, s:s, s:O}", "destination", at, "type",
						type, "source", source, "options", options));
	}
	mounts_sort(mounts);
	return 0;
}

static int add_hooks(json_t *spec, json_t *edits, struct err *e)
{
	size_t i;
	json_t *h;
	json_array_foreach (json_object_get(edits, "hooks"), i, h) {
		AUTO_JSON json_t *copy = json_copy(h);
		json_object_del(copy, "hookName");
		AUTO_JSON json_t *hook = ocihook_read(copy, "hook", e);
		if (!hook)
			return -1;
		hook_add(spec, jsonx_opt_string(h, "hookName", ""), hook);
	}
	return 0;
}

static int apply_edits(const struct bundle *b, json_t *spec, json_t *edits, struct err *e)
{
	static const char *const cannot[] = {"intelRdt", "netDevices"};
	if (!edits)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(cannot); i++)
		if (json_object_get(edits, cannot[i]))
			return err_set(e, ERR_UNSUPPORTED, "containerEdits.%s: not supported",
				       cannot[i]);
	add_env(spec, edits);
	add_gids(spec, edits);
	if (add_nodes(b, spec, edits, e) < 0 || add_mounts(spec, edits, e) < 0)
		return -1;
	return add_hooks(spec, edits, e);
}

static int apply_device(const struct bundle *b, json_t *spec, const struct registry *r,
			const char *name, json_t *done, struct err *e)
{
	json_t *d = json_object_get(r->devices, name);
	if (!d)
		return err_set(e, ERR_BAD_INPUT, "no CDI device '%.128s'%s", name, r->broken);
	const char *file = jsonx_opt_string(d, "file", "");
	const char *clash = jsonx_opt_string(d, "clash", NULL);
	if (clash)
		return err_set(e, ERR_BAD_INPUT, "CDI device '%.128s' is in two files: %s and %s",
			       name, file, clash);
	AUTO_JSON json_t *before = json_deep_copy(spec);
	AUTO_FREE char *source = xasprintf("CDI %s (%s)", name, file);
	json_t *common = json_object_get(json_object_get(d, "spec"), "containerEdits");
	/* What a file says for all its devices is done once. */
	if ((!json_object_get(done, file) && apply_edits(b, spec, common, e) < 0) ||
	    apply_edits(b, spec, json_object_get(d, "edits"), e) < 0)
		return err_wrap(e, "CDI device '%.128s' (%s)", name, file);
	json_object_set_new(done, file, json_true());
	why_changes(b, before, spec, source);
	return 0;
}

int cdi_apply(struct bundle *b, json_t *spec, struct err *e)
{
	struct registry r = {.devices = NULL};
	AUTO_JSON json_t *names = wanted(b, e);
	const char *name;
	json_t *where;
	if (!names)
		return -1;
	if (!json_object_size(names))
		return 0;
	AUTO_JSON json_t *devices = json_object();
	AUTO_JSON json_t *done = json_object();
	r.devices = devices;
	if (read_specs(b, &r, e) < 0)
		return -1;
	json_object_foreach (names, name, where)
		if (apply_device(b, spec, &r, name, done, e) < 0)
			return err_wrap(e, "%s", json_string_value(where));
	return 0;
}
