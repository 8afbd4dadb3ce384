/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What a plugin has said once is kept in <runroot>/cni-versions.json, as long as its file stays the
 * same: {"/usr/lib/cni/bridge": {"file": "<inode>.<size>.<change>", "versions": ["0.3.1", …]}} */
#define CACHE_FILE "cni-versions.json"
enum { CACHE_MAX = 1 << 20 };

static char *stamp_of(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return xstrdup("");
	return xasprintf("%llu.%lld.%lld.%ld", (unsigned long long)st.st_ino, (long long)st.st_size,
			 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

/* New array of strings, or NULL. */
static json_t *ask(const struct cni_env *env, const char *type, struct err *e)
{
	AUTO_JSON json_t *answer = NULL;
	AUTO_JSON json_t *in = json_pack("{s:s, s:s, s:s}", "cniVersion", "1.0.0", "name",
					 "version", "type", type);
	if (cni_exec(env, "VERSION", in, &answer, e) < 0)
		return NULL;
	json_t *list = json_object_get(answer, "supportedVersions");
	if (!json_is_array(list))
		return err_set_p(e, ERR_FAILED,
				 "plugin '%s' VERSION: supportedVersions: expected array", type);
	return json_incref(list);
}

/* Borrowed from the cache, which gets what was missing. */
static json_t *versions_of(const struct cni_env *env, json_t *cache, const char *type, bool *fresh,
			   struct err *e)
{
	AUTO_FREE char *path = cni_plugin_find(env->cfg->plugin_dirs, type, e);
	if (!path)
		return NULL;
	AUTO_FREE char *stamp = stamp_of(path);
	json_t *known = json_object_get(cache, path);
	if (strcmp(jsonx_opt_string(known, "file", ""), stamp) == 0 &&
	    json_is_array(json_object_get(known, "versions")))
		return json_object_get(known, "versions");
	json_t *list = ask(env, type, e);
	if (!list)
		return NULL;
	json_object_set_new(cache, path, json_pack("{s:s, s:O}", "file", stamp, "versions", list));
	json_decref(list);
	*fresh = true;
	return list; /* the cache's reference */
}

static void keep_common(json_t *offered, json_t *supported)
{
	for (size_t i = json_array_size(offered); i-- > 0;)
		if (!jsonx_has_string(supported, json_string_value(json_array_get(offered, i))))
			json_array_remove(offered, i);
}

static json_t *read_cache(int run)
{
	struct err ignored;
	json_t *cache = jsonx_read_at(run, CACHE_FILE, CACHE_MAX, &ignored);
	if (json_is_object(cache))
		return cache;
	json_decref(cache);
	return json_object();
}

int cni_negotiate(const struct config *cfg, int run, json_t *list, struct err *e)
{
	struct cni_env env = {.cfg = cfg, .lock = -1};
	size_t i;
	json_t *plugin;
	/* With no choice there is nothing to ask: a plugin that cannot do it says so itself. */
	if (!json_object_get(list, "cniVersions"))
		return 0;
	AUTO_JSON json_t *common = json_copy(json_object_get(list, "cniVersions"));
	AUTO_JSON json_t *cache = read_cache(run);
	bool fresh = false;
	json_array_foreach (json_object_get(list, "plugins"), i, plugin) {
		json_t *v =
			versions_of(&env, cache, jsonx_opt_string(plugin, "type", ""), &fresh, e);
		if (!v)
			return -1;
		keep_common(common, v);
	}
	struct err why;
	if (fresh && jsonx_replace_at(run, CACHE_FILE, 0600, cache, 0, &why) < 0)
		log_warn("%s: %s", CACHE_FILE, why.msg);
	size_t n = json_array_size(common);
	if (n == 0)
		return err_set(e, ERR_UNAVAILABLE,
			       "network '%s': its plugins have no cniVersion in common with it",
			       jsonx_opt_string(list, "name", ""));
	json_object_set(list, "cniVersion", json_array_get(common, n - 1));
	json_object_del(list, "cniVersions");
	return 0;
}
