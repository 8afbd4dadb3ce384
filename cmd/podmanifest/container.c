/* SPDX-License-Identifier: Apache-2.0 */
/* One ContainerConfig: kuberuntime_container.go, labels.go. */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

static json_t *labels_of(const struct pm *p, const json_t *container)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "io.kubernetes.container.name",
			 str(container, "name"), "io.kubernetes.pod.name", p->name,
			 "io.kubernetes.pod.namespace", p->namespace_, "io.kubernetes.pod.uid",
			 p->uid);
}

/* As Go writes them: members in the order of the type. */
static char *ports_text(const json_t *container)
{
	static const char *const keys[] = {"name", "hostPort", "containerPort", "protocol",
					   "hostIP"};
	AUTO_JSON json_t *out = json_array();
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(container, "ports"), i, one) {
		json_t *port = json_object();
		for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
			json_t *v = json_object_get(one, keys[k]);
			if (v)
				json_object_set(port, keys[k], v);
			else if (strcmp(keys[k], "protocol") == 0)
				json_object_set_new(port, keys[k], json_string("TCP"));
		}
		json_array_append_new(out, port);
	}
	return json_array_size(out) ? json_dumps(out, JSON_COMPACT) : NULL;
}

static json_t *annotations_of(const struct pm *p, const json_t *container)
{
	const char *path = str(container, "terminationMessagePath");
	const char *policy = str(container, "terminationMessagePolicy");
	json_t *pre = json_object_get(json_object_get(container, "lifecycle"), "preStop");
	AUTO_FREE char *grace = xasprintf(
		"%lld", (long long)jsonx_opt_int(p->spec, "terminationGracePeriodSeconds", 30));
	AUTO_FREE char *ports = ports_text(container);
	AUTO_FREE char *hook = pre ? json_dumps(pre, JSON_COMPACT) : NULL;
	json_t *out = json_pack("{s:s, s:s, s:s, s:s}", "io.kubernetes.container.restartCount", "0",
				"io.kubernetes.container.terminationMessagePath",
				*path ? path : "/dev/termination-log",
				"io.kubernetes.container.terminationMessagePolicy",
				*policy ? policy : "File",
				"io.kubernetes.pod.terminationGracePeriod", grace);
	if (ports)
		json_object_set_new(out, "io.kubernetes.container.ports", json_string(ports));
	if (hook)
		json_object_set_new(out, "io.kubernetes.container.preStopHandler",
				    json_string(hook));
	return out;
}

/* 0 with out[key] set, or -1. */
static int add_expanded(struct pm *p, json_t *out, const json_t *container, const char *key,
			const json_t *env, const char *path, struct err *e)
{
	json_t *list = json_array(), *one;
	size_t i;
	json_object_set_new(out, key, list);
	json_array_foreach (json_object_get(container, key), i, one) {
		AUTO_FREE char *text = expand(json_string_value(one), env);
		AUTO_FREE char *at = xasprintf("%s.%s[%zu]", path, key, i);
		if (spend(p, strlen(text), at, e) < 0)
			return -1;
		json_array_append_new(list, json_string(text));
	}
	return 0;
}

static json_t *envs_of(json_t *env)
{
	json_t *out = json_array(), *v;
	const char *key;
	json_object_foreach (env, key, v)
		json_array_append_new(out, json_pack("{s:s, s:O}", "key", key, "value", v));
	return out;
}

static json_t *whole(struct pm *p, json_t *container, json_t *env, const char *path, struct err *e)
{
	const char *name = str(container, "name"), *image = str(container, "image");
	AUTO_FREE char *log = xasprintf("%s/0.log", name);
	json_t *mounts = container_mounts(p, container, env, path, e);
	const char *stop = str(json_object_get(container, "lifecycle"), "stopSignal");
	if (!mounts)
		return NULL;
	AUTO_JSON json_t *out = json_pack(
		"{s:{s:s}, s:{s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:b, s:b}", "metadata",
		"name", name, "image", "image", image, "user_specified_image", image, "working_dir",
		str(container, "workingDir"), "envs", envs_of(env), "mounts", mounts, "labels",
		labels_of(p, container), "annotations", annotations_of(p, container), "log_path",
		log, "stdin", flag(container, "stdin"), "stdin_once", flag(container, "stdinOnce"),
		"tty", flag(container, "tty"));
	if (*stop)
		json_object_set_new(out, "stop_signal", json_string(stop));
	if (add_expanded(p, out, container, "command", env, path, e) < 0 ||
	    add_expanded(p, out, container, "args", env, path, e) < 0)
		return NULL;
	return TAKE(out);
}

json_t *container_config(struct pm *p, json_t *container, bool init, const char *path,
			 struct err *e)
{
	if (!*str(container, "image"))
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s.image: missing", p->what, path);
	AUTO_JSON json_t *env = container_env(p, container, path, e);
	json_t *resources = env ? container_resources(p, container, init, path, e) : NULL;
	if (!resources)
		return NULL;
	AUTO_JSON json_t *config = json_pack("{s:o}", "resources", resources);
	json_t *security = container_security(p, container, path, e);
	if (!security)
		return NULL;
	json_object_set_new(config, "security_context", security);
	json_t *out = whole(p, container, env, path, e);
	if (out)
		json_object_set(out, "linux", config);
	return out;
}
