/* SPDX-License-Identifier: Apache-2.0 */
#include "podmanifest.h"

#include "auto.h"
#include "cri.pb-c.h"
#include "fs.h"
#include "jsonx.h"
#include "pbjson.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void pm_release(struct pm *p)
{
	json_decref(p->pod);
	json_decref(p->configmaps);
	json_decref(p->secrets);
	json_decref(p->problems);
	json_decref(p->places);
	json_decref(p->late);
	free(p->dir);
	free(p->hostname);
	free(p->domain);
}

/* What an API server has added to every pod: a token and what goes with it. */
static void drop_service_account(json_t *spec)
{
	static const char *const lists[] = {"initContainers", "containers"};
	json_t *volumes = json_object_get(spec, "volumes"), *source, *c;
	size_t k;
	for (size_t i = json_array_size(volumes); i-- > 0;) {
		json_t *v = json_array_get(volumes, i);
		bool token = false;
		json_array_foreach (json_object_get(json_object_get(v, "projected"), "sources"), k,
				    source)
			token = token || json_object_get(source, "serviceAccountToken");
		if (!token)
			continue;
		for (size_t l = 0; l < ARRAY_LEN(lists); l++)
			json_array_foreach (json_object_get(spec, lists[l]), k, c) {
				json_t *mounts = json_object_get(c, "volumeMounts");
				for (size_t m = json_array_size(mounts); m-- > 0;)
					if (strcmp(str(json_array_get(mounts, m), "name"),
						   str(v, "name")) == 0)
						json_array_remove(mounts, m);
			}
		json_array_remove(volumes, i);
	}
}

/* The first address that is not the loopback's, for status.hostIP. */
static void find_node_ip(struct pm *p)
{
	struct ifaddrs *list = NULL;
	snprintf(p->node_ip_found, sizeof p->node_ip_found, "127.0.0.1");
	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
		    !(i->ifa_flags & IFF_LOOPBACK)) {
			const struct sockaddr_in *in = (const void *)i->ifa_addr;
			inet_ntop(AF_INET, &in->sin_addr, p->node_ip_found,
				  sizeof p->node_ip_found);
			break;
		}
	freeifaddrs(list);
}

/* What the address is called until the pod has one: not a word of the manifest. */
static void choose_mark(struct pm *p, const char *text, size_t len)
{
	for (unsigned n = 0;; n++) {
		snprintf(p->pod_ip_mark, sizeof p->pod_ip_mark, "@pod-ip-%u@", n);
		if (!memmem(text, len, p->pod_ip_mark, strlen(p->pod_ip_mark)))
			return;
	}
}

static int set_identity(struct pm *p, const char *text, size_t len, struct err *e)
{
	const char *ns = str(p->meta, "namespace");
	p->name = str(p->meta, "name");
	p->namespace_ = *ns ? ns : "default";
	p->uid = str(p->meta, "uid");
	if (!name_is_subdomain(p->name))
		return err_set(e, ERR_BAD_INPUT, "%s: metadata.name: '%.100s' is not a name",
			       p->what, p->name);
	if (!name_is_label(p->namespace_))
		return err_set(e, ERR_BAD_INPUT, "%s: metadata.namespace: '%.100s' is not a name",
			       p->what, p->namespace_);
	/* A file name: the pod's directory is called so. */
	size_t plain =
		strspn(p->uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
	if (!plain || plain != strlen(p->uid) || plain > 100)
		return err_set(e, ERR_BAD_INPUT, "%s: metadata.uid: '%.100s' is not a uid", p->what,
			       p->uid);
	if (p->o->volumes_dir && p->o->volumes_dir[0] != '/')
		return err_set(e, ERR_USAGE, "--volumes: '%.200s' is not an absolute path",
			       p->o->volumes_dir);
	p->dir = p->o->volumes_dir ? xstrdup(p->o->volumes_dir)
				   : xasprintf("%s/volumes/%s", p->cfg->runroot, p->uid);
	choose_mark(p, text, len);
	find_node_ip(p);
	p->node_ip = p->o->node_ip ? p->o->node_ip : p->node_ip_found;
	p->pod_ip = p->o->pod_ip                   ? p->o->pod_ip
		    : flag(p->spec, "hostNetwork") ? p->node_ip
						   : p->pod_ip_mark;
	if (p->o->node_name)
		snprintf(p->node_name, sizeof p->node_name, "%s", p->o->node_name);
	else if (gethostname(p->node_name, sizeof p->node_name - 1) < 0)
		return err_sys(e, "gethostname");
	for (char *c = p->node_name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return 0;
}

/* Through the descriptor and back: what is not a CRI message does not leave this program. */
static json_t *as_message(const ProtobufCMessageDescriptor *d, json_t *j, const char *what,
			  struct err *e)
{
	AUTO_PB ProtobufCMessage *m = pbjson_read(d, j, what, e);
	return m ? pbjson_write(m, 0, e) : NULL;
}

static const char *role_of(const json_t *container, bool init)
{
	return !init ? "main" : is_sidecar(container) ? "sidecar" : "init";
}

static const char *policy_of(const struct pm *p, const json_t *container, bool init)
{
	const char *own = str(container, "restartPolicy"), *pod = str(p->spec, "restartPolicy");
	if (*own)
		return own;
	/* An init container that has done its work is not run again. */
	if (init)
		return strcmp(pod, "Never") == 0 ? "Never" : "OnFailure";
	return *pod ? pod : "Always";
}

static const char *pull_policy(const char *said, const char *image)
{
	const char *slash = strrchr(image, '/'), *tag = strchr(slash ? slash : image, ':');
	if (*said)
		return said;
	return !strchr(image, '@') && (!tag || strcmp(tag, ":latest") == 0) ? "Always"
									    : "IfNotPresent";
}

static void add_image(json_t *images, const char *said, const char *image)
{
	size_t i;
	json_t *one;
	json_array_foreach (images, i, one)
		if (strcmp(str(one, "image"), image) == 0)
			return;
	json_array_append_new(images, json_pack("{s:s, s:s}", "image", image, "pull_policy",
						pull_policy(said, image)));
}

/* "" or one of three words (the last may be NULL). */
static int check_word(const struct pm *p, const char *word, const char *const words[3],
		      const char *path, const char *key, struct err *e)
{
	for (size_t i = 0; i < 3 && words[i]; i++)
		if (!*word || strcmp(word, words[i]) == 0)
			return 0;
	return err_set(e, ERR_BAD_INPUT, "%s: %s.%s: '%.40s'", p->what, path, key, word);
}

static int check_words(const struct pm *p, const json_t *c, const char *policy, const char *path,
		       struct err *e)
{
	static const char *const restart[] = {"Always", "OnFailure", "Never"};
	static const char *const last[] = {"File", "FallbackToLogsOnError", NULL};
	static const char *const pull[] = {"Always", "IfNotPresent", "Never"};
	if (check_word(p, policy, restart, path, "restartPolicy", e) < 0 ||
	    check_word(p, str(c, "terminationMessagePolicy"), last, path,
		       "terminationMessagePolicy", e) < 0)
		return -1;
	return check_word(p, str(c, "imagePullPolicy"), pull, path, "imagePullPolicy", e);
}

static json_t *one_container(struct pm *p, size_t i, json_t *images, struct err *e)
{
	bool init;
	json_t *c = container_at(p, i, &init);
	size_t before = json_array_size(json_object_get(p->spec, "initContainers"));
	const char *policy = policy_of(p, c, init), *last = str(c, "terminationMessagePolicy");
	AUTO_FREE char *path = init ? xasprintf("spec.initContainers[%zu]", i)
				    : xasprintf("spec.containers[%zu]", i - before);
	AUTO_FREE char *words =
		xasprintf("%s/containers/%s/termination-log", p->dir, str(c, "name"));
	if (check_words(p, c, policy, path, e) < 0)
		return NULL;
	AUTO_JSON json_t *raw = container_config(p, c, init, path, e);
	if (!raw)
		return NULL;
	add_image(images, str(c, "imagePullPolicy"), str(c, "image"));
	json_t *config = as_message(&runtime__v1__container_config__descriptor, raw, path, e);
	if (!config)
		return err_wrap(e, "%s", p->what), NULL;
	AUTO_JSON json_t *out =
		json_pack("{s:s, s:s, s:s, s:b, s:b, s:{s:s, s:s}}", "name", str(c, "name"), "role",
			  role_of(c, init), "restart", policy, "check_image_user",
			  container_checks_image_user(p, c), "take_image_user",
			  container_takes_image_user(p, c), "termination_message", "file", words,
			  "policy", *last ? last : "File");
	int n = container_probes(p, c, out, path, e);
	json_object_set_new(out, "config", config);
	return n < 0 ? NULL : TAKE(out);
}

static void add_volume_images(const struct pm *p, json_t *images)
{
	size_t i;
	json_t *v;
	json_array_foreach (json_object_get(p->spec, "volumes"), i, v) {
		const json_t *image = json_object_get(v, "image");
		if (json_object_get(json_object_get(p->places, str(v, "name")), "image"))
			add_image(images, str(image, "pullPolicy"), str(image, "reference"));
	}
}

static json_t *build(struct pm *p, struct err *e)
{
	AUTO_JSON json_t *images = json_array();
	AUTO_JSON json_t *containers = json_array();
	json_array_clear(p->late);
	p->spent = 0;
	if (volumes_prepare(p, e) < 0 || hosts_prepare(p, e) < 0)
		return NULL;
	AUTO_JSON json_t *raw = sandbox_config(p, e);
	json_t *pod =
		raw ? as_message(&runtime__v1__pod_sandbox_config__descriptor, raw, p->what, e)
		    : NULL;
	AUTO_JSON json_t *out = pod ? json_pack("{s:i, s:o}", "version", 1, "pod", pod) : NULL;
	for (size_t i = 0; out && i < containers_count(p); i++) {
		json_t *c = one_container(p, i, images, e);
		if (!c)
			return NULL;
		json_array_append_new(containers, c);
	}
	if (!out)
		return NULL;
	add_volume_images(p, images);
	const char *class = str(p->spec, "runtimeClassName"),
		   *policy = str(p->spec, "restartPolicy");
	json_object_set(out, "containers", containers);
	json_object_set(out, "images", images);
	json_object_set_new(out, "restart_policy", json_string(*policy ? policy : "Always"));
	json_object_set_new(out, "qos_class", json_string(qos_name(p->qos)));
	json_object_set_new(
		out, "termination_grace_period_seconds",
		json_integer(jsonx_opt_int(p->spec, "terminationGracePeriodSeconds", 30)));
	if (*class)
		json_object_set_new(out, "runtime_handler", json_string(class));
	json_object_set_new(out, "directory", json_string(p->dir));
	if (p->pod_ip == p->pod_ip_mark)
		json_object_set_new(
			out, "pod_ip",
			json_pack("{s:s, s:O}", "mark", p->pod_ip_mark, "files", p->late));
	return TAKE(out);
}

json_t *manifest_convert(struct pm *p, const char *text, size_t len, struct err *e)
{
	p->configmaps = json_object();
	p->secrets = json_object();
	p->problems = json_array();
	p->places = json_object();
	p->late = json_array();
	bool write = p->write;
	if (docs_load(p, text, len, e) < 0 || sources_load(p, e) < 0)
		return NULL;
	if (p->o->no_service_account)
		drop_service_account(p->spec);
	if (schema_check_pod(p, e) < 0 || set_identity(p, text, len, e) < 0 ||
	    resources_prepare(p, e) < 0)
		return NULL;
	/* Once without a trace: what ends in an error has made nothing. */
	p->write = false;
	json_t *out = build(p, e);
	if (out && problems_settle(p, e) < 0) {
		json_decref(out);
		return NULL;
	}
	if (!out || !write)
		return out;
	json_decref(out);
	struct err ignored;
	bool fresh = access(p->dir, F_OK) < 0;
	p->write = true;
	out = build(p, e);
	json_array_clear(p->problems);
	/* The directory of a pod that is up already stays as it is. */
	if (!out && fresh)
		(void)fs_remove_tree(AT_FDCWD, p->dir, &ignored);
	return out;
}
