/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of a container: makeEnvironmentVariables of kubelet_pods.go. A kubelet sends the
 * variables in no order; here they are in the order of the manifest. */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <string.h>

enum { ENV_MAX = 10000, ENV_BYTES_MAX = 8 << 20 };

static bool name_is_good(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s == '=' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

/* A whole configMap or secret. 1 when it is not there and need not be. */
static int find_source(struct pm *p, json_t *ref, bool secret, const char *path, json_t **out,
		       struct err *e)
{
	const char *name = str(ref, "name");
	*out = json_object_get(secret ? p->secrets : p->configmaps, name);
	if (*out)
		return 0;
	if (flag(ref, "optional"))
		return 1;
	return err_set(
		e, ERR_NOT_FOUND,
		"%s: %s: there is no %s '%.100s' (a document of the same file, or --%s %.100s=DIR)",
		p->what, path, secret ? "secret" : "configMap", name,
		secret ? "secret" : "configmap", *name ? name : "NAME");
}

static int add_from(struct pm *p, json_t *from, json_t *vars, const char *path, struct err *e)
{
	static const struct {
		const char *key;
		bool secret;
	} kinds[] = {{"configMapRef", false}, {"secretRef", true}};
	const char *key;
	json_t *v, *data;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		json_t *ref = json_object_get(from, kinds[i].key);
		AUTO_FREE char *at = xasprintf("%s.%s", path, kinds[i].key);
		int n = ref ? find_source(p, ref, kinds[i].secret, at, &data, e) : 1;
		if (n < 0)
			return -1;
		if (n > 0)
			continue;
		json_object_foreach (data, key, v) {
			AUTO_FREE char *name = xasprintf("%s%s", str(from, "prefix"), key);
			if (!json_is_string(v) && kinds[i].secret)
				problem(p, "%s: key %s is not text", at, key);
			else if (json_is_string(v) && name_is_good(name))
				json_object_set(vars, name, v);
		}
	}
	return 0;
}

/* A key of a configMap or secret: 1 when it is missing and optional. */
static int from_key(struct pm *p, json_t *ref, bool secret, const char *path, char **out,
		    struct err *e)
{
	json_t *data;
	const char *key = str(ref, "key");
	int n = find_source(p, ref, secret, path, &data, e);
	if (n)
		return n;
	json_t *v = json_object_get(data, key);
	if (!v && flag(ref, "optional"))
		return 1;
	if (!v)
		return err_set(e, ERR_NOT_FOUND, "%s: %s: %s '%.100s' has no key '%.100s'", p->what,
			       path, secret ? "secret" : "configMap", str(ref, "name"), key);
	if (!json_is_string(v)) {
		problem(p, "%s: key %s is not text", path, key);
		return 1;
	}
	*out = xstrdup(json_string_value(v));
	return 0;
}

static int from_elsewhere(struct pm *p, json_t *container, json_t *from, const char *path,
			  char **out, struct err *e)
{
	json_t *ref;
	AUTO_FREE char *field = xasprintf("%s.fieldRef", path);
	AUTO_FREE char *resource = xasprintf("%s.resourceFieldRef", path);
	AUTO_FREE char *map = xasprintf("%s.configMapKeyRef", path);
	AUTO_FREE char *secret = xasprintf("%s.secretKeyRef", path);
	if ((ref = json_object_get(from, "fieldRef")))
		return (*out = pod_field(p, str(ref, "fieldPath"), false, field, e)) ? 0 : -1;
	if ((ref = json_object_get(from, "resourceFieldRef")))
		return (*out = resource_field(p, ref, container, resource, e)) ? 0 : -1;
	if ((ref = json_object_get(from, "configMapKeyRef")))
		return from_key(p, ref, false, map, out, e);
	if ((ref = json_object_get(from, "secretKeyRef")))
		return from_key(p, ref, true, secret, out, e);
	*out = xstrdup("");
	return 0;
}

static int add_one(struct pm *p, json_t *container, json_t *env, json_t *vars, const char *path,
		   struct err *e)
{
	const char *name = str(env, "name"), *value = str(env, "value");
	json_t *from = json_object_get(env, "valueFrom");
	AUTO_FREE char *at = xasprintf("%s.valueFrom", path);
	AUTO_FREE char *text = NULL;
	if (!name_is_good(name))
		return err_set(e, ERR_BAD_INPUT, "%s: %s.name: '%.80s' is not a variable's name",
			       p->what, path, name);
	if (*value && from)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: has a value and a valueFrom", p->what,
			       path);
	if (*value)
		text = expand(value, vars);
	int n = !text && from ? from_elsewhere(p, container, from, at, &text, e) : 0;
	if (n)
		return n < 0 ? -1 : 0;
	json_object_set_new(vars, name, json_string(text ? text : ""));
	return 0;
}

static size_t bytes_of(json_t *vars)
{
	size_t bytes = 0;
	const char *key;
	json_t *v;
	json_object_foreach (vars, key, v)
		bytes += strlen(key) + json_string_length(v);
	return bytes;
}

/* Each value may refer to the ones before it; the bound holds for what they grow to. */
static int within_bounds(struct pm *p, json_t *vars, const char *path, struct err *e)
{
	return json_object_size(vars) <= ENV_MAX && bytes_of(vars) <= ENV_BYTES_MAX
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s: %s: too large", p->what, path);
}

json_t *container_env(struct pm *p, json_t *container, const char *path, struct err *e)
{
	AUTO_JSON json_t *vars = json_object();
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(container, "envFrom"), i, one) {
		AUTO_FREE char *at = xasprintf("%s.envFrom[%zu]", path, i);
		if (add_from(p, one, vars, at, e) < 0 || within_bounds(p, vars, at, e) < 0)
			return NULL;
	}
	json_array_foreach (json_object_get(container, "env"), i, one) {
		AUTO_FREE char *at = xasprintf("%s.env[%zu]", path, i);
		if (add_one(p, container, one, vars, at, e) < 0 ||
		    within_bounds(p, vars, at, e) < 0)
			return NULL;
	}
	return spend(p, bytes_of(vars), path, e) < 0 ? NULL : TAKE(vars);
}
