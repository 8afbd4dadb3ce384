/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "debt.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "ns.h"
#include "podnet.h"

#include <fcntl.h>
#include <string.h>

enum { NETWORK_MAX = 4 << 20, NETWORK_VERSION = 1 };

json_t *network_plan(const struct pod *p, json_t *list, const char *file, const char *args,
		     json_t *runtime)
{
	return json_pack("{s:i, s:s, s:O, s:s, s:s, s:s, s:O, s:O, s:s}", "version",
			 NETWORK_VERSION, "file", file, "name", json_object_get(list, "name"),
			 "ifname", "eth0", "netns", p->netns, "args", args, "runtime", runtime,
			 "config", list, "stage", "planned");
}

static int save_stage(const struct pod *p, json_t *net, const char *verb, const char *plugin,
		      struct err *e)
{
	json_object_set_new(net, "stage", json_sprintf("%s%s%s", verb, *plugin ? " " : "", plugin));
	return jsonx_replace_at(p->dir, NETWORK_FILE, 0600, net, 0, e);
}

static struct cni_env env_of(const struct pod *p, json_t *net, const char *netns, int lock)
{
	return (struct cni_env){
		.cfg = &p->c->cfg,
		.container_id = p->id,
		.netns = netns,
		.ifname = jsonx_opt_string(net, "ifname", "eth0"),
		.args = jsonx_opt_string(net, "args", ""),
		.lock = lock,
	};
}

/* Held by the plugins too: whoever cleans up after a kill -9 can wait for what is still running. */
static int plugin_lock(const struct pod *p, int timeout_ms, struct err *e)
{
	return fs_lock_at(p->dir, "network.lock", timeout_ms, e);
}

int network_add(const struct pod *p, json_t *net, json_t **ips, struct err *e)
{
	json_t *list = json_object_get(net, "config");
	size_t n = json_array_size(json_object_get(list, "plugins"));
	AUTO_JSON json_t *prev = NULL;
	AUTO_CLOSE int lock = plugin_lock(p, 0, e);
	if (lock < 0)
		return -1;
	struct cni_env env = env_of(p, net, p->netns, lock);
	for (size_t i = 0; i < n; i++) {
		AUTO_JSON json_t *in =
			cni_plugin_input(list, i, json_object_get(net, "runtime"), prev);
		json_t *result = NULL;
		if (save_stage(p, net, "ADD", jsonx_opt_string(in, "type", ""), e) < 0 ||
		    cni_exec(&env, "ADD", in, &result, e) < 0)
			return -1;
		json_decref(prev);
		prev = result;
	}
	/* Judged before it is kept: a DEL must not be handed nonsense. */
	*ips = cni_result_ips(prev, env.ifname, e);
	if (!*ips)
		return err_wrap(e, "network '%s'", jsonx_opt_string(list, "name", ""));
	if (json_array_size(*ips) == 0)
		return err_set(e, ERR_FAILED, "network '%s': its plugins gave %s no address",
			       jsonx_opt_string(list, "name", ""), env.ifname);
	json_object_set(net, "result", prev);
	return save_stage(p, net, "attached", "", e);
}

int network_del(const struct pod *p, json_t *net, const char *netns, int lock, struct err *e)
{
	json_t *list = json_object_get(net, "config");
	json_t *result = json_object_get(net, "result");
	struct cni_env env = env_of(p, net, netns, lock);
	int ret = 0;
	/* Before 0.4.0 a DEL had no prevResult. */
	if (!cni_version_at_least(jsonx_opt_string(list, "cniVersion", ""), "0.4.0"))
		result = NULL;
	for (size_t i = json_array_size(json_object_get(list, "plugins")); i-- > 0;) {
		struct err one;
		AUTO_JSON json_t *in =
			cni_plugin_input(list, i, json_object_get(net, "runtime"), result);
		if (cni_exec(&env, "DEL", in, NULL, &one) == 0)
			continue;
		if (ret == 0)
			*e = one;
		else
			log_warn("%s", one.msg);
		ret = -1;
	}
	return ret;
}

/* The saved attachment; if that is damaged, the network that a new pod would get, which is most
 * probably the same. NULL when there is none. */
static json_t *load(const struct pod *p)
{
	struct err e;
	AUTO_FREE char *file = NULL;
	if (faccessat(p->dir, NETWORK_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return NULL;
	AUTO_JSON json_t *net = jsonx_read_at(p->dir, NETWORK_FILE, NETWORK_MAX, &e);
	if (net && jsonx_opt_int(net, "version", 0) == NETWORK_VERSION) {
		json_t *list = cni_list_of(json_object_get(net, "config"), NETWORK_FILE, &e);
		json_decref(list);
		if (list)
			return TAKE(net);
	}
	log_warn("pod %s: %s is damaged: detaching by the present configuration", p->id,
		 NETWORK_FILE);
	AUTO_JSON json_t *list =
		cni_conf_find(p->c->cfg.network_dir, p->c->cfg.cni_default_network, &file, &e);
	if (!list || cni_negotiate(&p->c->cfg, p->c->st.run, list, &e) < 0) {
		log_warn("pod %s: %s", p->id, e.msg);
		return NULL;
	}
	AUTO_JSON json_t *none = json_object();
	AUTO_JSON json_t *guess = network_plan(p, list, file, "IgnoreUnknown=1", none);
	json_object_set_new(guess, "stage", json_string("unknown"));
	return TAKE(guess);
}

int network_detach(const struct pod *p, struct err *e)
{
	struct err why;
	AUTO_JSON json_t *net = load(p);
	const char *stage = jsonx_opt_string(net, "stage", "");
	if (!net || strcmp(stage, "detached") == 0 || strcmp(stage, "planned") == 0)
		return 0;
	/* A creator that was killed may have left a plugin behind that is still at work. One that
	 * keeps the lock after a finished ADD is a daemon: there is no use in waiting for it. */
	int wait = strcmp(stage, "attached") == 0 ? 0 : (int)p->c->cfg.network_timeout * 1000;
	AUTO_CLOSE int lock = plugin_lock(p, wait, &why);
	if (lock < 0 && wait)
		log_warn("pod %s: a network plugin does not end: %s", p->id, why.msg);
	/* The specification wants an empty CNI_NETNS when the namespace is gone: after a reboot. */
	const char *netns = ns_is_pinned(p->netns) ? p->netns : "";
	if (network_del(p, net, netns, lock, &why) < 0) {
		log_warn("pod %s: %s (kept as a debt, see podnet gc)", p->id, why.msg);
		if (debt_record(p, net, why.msg, e) < 0)
			return -1;
	}
	return save_stage(p, net, "detached", "", e);
}
