/* SPDX-License-Identifier: Apache-2.0 */
#include "cniconf.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CONF_FILE_MAX = 1 << 20 };

static const char *const versions[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"}; /* oldest first */

static int version_index(const char *v)
{
	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		if (strcmp(versions[i], v) == 0)
			return (int)i;
	return -1;
}

bool cni_version_at_least(const char *a, const char *b)
{
	return version_index(a) >= version_index(b);
}

/* The specification's rule for network names; plugins make files of them. */
static bool name_is_valid(const char *s)
{
	static const char alnum[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(s);
	if (n == 0 || n > 128 || !strchr(alnum, s[0]))
		return false;
	for (; *s; s++)
		if (!strchr(alnum, *s) && !strchr("_.-", *s))
			return false;
	return true;
}

static int check_plugin(json_t *plugin, const char *what, size_t index, struct err *e)
{
	const char *type = json_string_value(json_object_get(plugin, "type"));
	json_t *caps = json_object_get(plugin, "capabilities");
	if (!json_is_object(plugin))
		return err_set(e, ERR_BAD_INPUT, "%s: plugins[%zu]: expected object, found %s",
			       what, index, jsonx_type_name(json_typeof(plugin)));
	if (!type)
		return err_set(e, ERR_BAD_INPUT, "%s: plugins[%zu].type: expected string", what,
			       index);
	/* It becomes a file name. */
	if (!name_is_valid(type))
		return err_set(e, ERR_BAD_INPUT, "%s: plugins[%zu].type: '%.80s' is no plugin name",
			       what, index, type);
	if (caps && !json_is_object(caps))
		return err_set(e, ERR_BAD_INPUT, "%s: plugins[%zu].capabilities: expected object",
			       what, index);
	return 0;
}

static int check_plugins(json_t *plugins, const char *what, struct err *e)
{
	size_t i;
	json_t *p;
	if (json_array_size(plugins) == 0)
		return err_set(e, ERR_BAD_INPUT, "%s: plugins: the list is empty", what);
	if (json_array_size(plugins) > CNI_PLUGINS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: plugins: more than %d", what,
			       CNI_PLUGINS_MAX);
	json_array_foreach (plugins, i, p)
		if (check_plugin(p, what, i, e) < 0)
			return -1;
	return 0;
}

/* The versions that we know of cniVersion and cniVersions (1.1.0), oldest first. New array. */
static json_t *known_versions(json_t *doc)
{
	json_t *out = json_array(), *more = json_object_get(doc, "cniVersions"), *other;
	const char *single = json_string_value(json_object_get(doc, "cniVersion"));
	for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
		bool listed = single && strcmp(single, versions[v]) == 0;
		size_t i;
		json_array_foreach (more, i, other)
			listed = listed || (json_is_string(other) &&
					    strcmp(json_string_value(other), versions[v]) == 0);
		if (listed)
			json_array_append_new(out, json_string(versions[v]));
	}
	return out;
}

static int check_version(json_t *doc, const char *what, struct err *e)
{
	const json_t *v = json_object_get(doc, "cniVersion");
	AUTO_JSON json_t *known = known_versions(doc);
	if (v && !json_is_string(v))
		return err_set(e, ERR_BAD_INPUT, "%s: cniVersion: expected string", what);
	if (json_array_size(known) > 0)
		return 0;
	if (!v)
		return err_set(e, ERR_BAD_INPUT, "%s: cniVersion: missing", what);
	return err_set(e, ERR_BAD_INPUT, "%s: cniVersion: '%.32s' is not supported (%s to %s are)",
		       what, json_string_value(v), versions[0], versions[ARRAY_LEN(versions) - 1]);
}

/* The newest version as cniVersion, and all of them when there is a choice. */
static void set_versions(json_t *list, json_t *doc)
{
	json_t *known = known_versions(doc);
	size_t n = json_array_size(known);
	json_object_set(list, "cniVersion", json_array_get(known, n - 1));
	if (n > 1)
		json_object_set(list, "cniVersions", known);
	json_decref(known);
}

static void copy_switches(json_t *list, json_t *doc)
{
	static const char *const switches[] = {"disableCheck", "disableGC"};
	for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
		const json_t *v = json_object_get(doc, switches[i]);
		const char *s = json_string_value(v);
		/* libcni takes the strings, too. */
		if (json_is_true(v) || (s && strcmp(s, "true") == 0))
			json_object_set_new(list, switches[i], json_true());
	}
}

json_t *cni_list_of(json_t *doc, const char *what, struct err *e)
{
	if (!json_is_object(doc))
		return err_set_p(e, ERR_BAD_INPUT, "%s: expected object, found %s", what,
				 jsonx_type_name(json_typeof(doc)));
	const char *name = jsonx_string(doc, what, "name", e);
	if (!name)
		return NULL;
	if (!name_is_valid(name))
		return err_set_p(e, ERR_BAD_INPUT, "%s: name: '%.80s' is no network name", what,
				 name);
	if (check_version(doc, what, e) < 0)
		return NULL;
	json_t *plugins = json_object_get(doc, "plugins");
	AUTO_JSON json_t *list = json_object();
	set_versions(list, doc);
	json_object_set_new(list, "name", json_string(name));
	copy_switches(list, doc);
	if (plugins && !json_is_array(plugins))
		return err_set_p(e, ERR_BAD_INPUT, "%s: plugins: expected array, found %s", what,
				 jsonx_type_name(json_typeof(plugins)));
	if (!plugins && !json_object_get(doc, "type"))
		return err_set_p(e, ERR_BAD_INPUT, "%s: neither plugins nor type", what);
	if (plugins)
		json_object_set(list, "plugins", plugins);
	else
		json_object_set_new(list, "plugins", json_pack("[O]", doc));
	if (check_plugins(json_object_get(list, "plugins"), what, e) < 0)
		return NULL;
	return TAKE(list);
}

static int is_conf_file(const struct dirent *de)
{
	const char *ext = strrchr(de->d_name, '.');
	return de->d_name[0] != '.' && ext &&
	       (strcmp(ext, ".conflist") == 0 || strcmp(ext, ".conf") == 0 ||
		strcmp(ext, ".json") == 0);
}

static json_t *load(const char *file, struct err *e)
{
	AUTO_JSON json_t *doc = jsonx_read_at(AT_FDCWD, file, CONF_FILE_MAX, e);
	json_t *list = doc ? cni_list_of(doc, file, e) : NULL;
	/* The node's configuration is at fault, not the caller's input. */
	if (!list)
		e->kind = ERR_UNAVAILABLE;
	return list;
}

/* 1 with the list, 0 to go on, -1 with an error. */
static int consider(const char *file, const char *want, json_t **list, struct err *e)
{
	struct err bad;
	AUTO_JSON json_t *l = load(file, &bad);
	if (!l && *want) {
		log_warn("network configuration: %s", bad.msg);
		return 0;
	}
	if (!l) {
		*e = bad;
		return err_wrap(e, "network configuration");
	}
	if (*want && strcmp(json_string_value(json_object_get(l, "name")), want) != 0)
		return 0;
	*list = TAKE(l);
	return 1;
}

json_t *cni_conf_find(const char *dir, const char *want, char **file, struct err *e)
{
	struct dirent **files = NULL;
	json_t *list = NULL;
	int n = scandir(dir, &files, is_conf_file, fs_by_bytes), found = 0;
	if (n < 0 && errno != ENOENT)
		return err_sys(e, "network configuration %s", dir), NULL;
	for (int i = 0; i < n; i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, files[i]->d_name);
		if (found == 0)
			found = consider(path, want, &list, e);
		if (list && !*file)
			*file = TAKE(path);
		free(files[i]);
	}
	free(files);
	if (found == 0 && *want)
		err_set(e, ERR_UNAVAILABLE, "no network configuration named '%s' in %s", want, dir);
	else if (found == 0)
		err_set(e, ERR_UNAVAILABLE, "no network configuration in %s", dir);
	return list;
}

char *cni_plugin_find(json_t *dirs, const char *type, struct err *e)
{
	AUTO_BUF struct buf all = BUF_INIT(512);
	struct err ignored;
	struct stat st;
	size_t i;
	json_t *dir;
	json_array_foreach (dirs, i, dir) {
		AUTO_FREE char *path = xasprintf("%s/%s", json_string_value(dir), type);
		(void)buf_addf(&all, &ignored, "%s%s", i ? ", " : "", json_string_value(dir));
		if (path[0] != '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (access(path, X_OK) < 0)
			return err_set_p(e, ERR_UNAVAILABLE, "%s is not executable", path);
		return TAKE(path);
	}
	return err_set_p(e, ERR_UNAVAILABLE, "not found in %s",
			 all.data ? all.data : "no directory");
}

int cni_plugins_present(json_t *list, json_t *dirs, struct err *e)
{
	size_t i;
	json_t *plugin;
	json_array_foreach (json_object_get(list, "plugins"), i, plugin) {
		const char *type = json_string_value(json_object_get(plugin, "type"));
		AUTO_FREE char *path = cni_plugin_find(dirs, type, e);
		if (!path)
			return err_wrap(e, "network '%s': plugin '%s'",
					jsonx_opt_string(list, "name", ""), type);
	}
	return 0;
}
