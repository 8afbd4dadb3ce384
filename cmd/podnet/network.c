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

static void file_name(size_t index, char name[32])
{
	if (index == 0)
		snprintf(name, 32, "network.json");
	else
		snprintf(name, 32, "network.%hhu.json", (unsigned char)index);
}

/* What belongs to the pod as a whole (its host ports, its one MAC address) is the first network's:
 * two that map one host port would be in each other's way. */
static json_t *runtime_for(size_t index, json_t *runtime)
{
	static const char *const shared[] = {"dns", "cgroupPath",
					     "io.kubernetes.cri.pod-annotations"};
	if (index == 0)
		return json_incref(runtime);
	json_t *out = json_object();
	for (size_t i = 0; i < ARRAY_LEN(shared); i++)
		json_object_set(out, shared[i], json_object_get(runtime, shared[i]));
	return out;
}

json_t *network_plan(const struct pod *p, size_t index, const struct network_plan *plan)
{
	char ifname[16];
	snprintf(ifname, sizeof ifname, "eth%zu", index);
	return json_pack("{s:i, s:i, s:s, s:O, s:s, s:s, s:s, s:o, s:O, s:O?, s:s}", "version",
			 NETWORK_VERSION, "index", (int)index, "file", plan->file, "name",
			 json_object_get(plan->list, "name"), "ifname",
			 plan->ifname ? plan->ifname : ifname, "netns", p->netns, "args",
			 plan->args, "runtime", runtime_for(index, plan->runtime), "config",
			 plan->list, "networks", plan->networks, "stage", "planned");
}

static int save_stage(const struct pod *p, json_t *net, const char *verb, const char *plugin,
		      struct err *e)
{
	char name[32];
	file_name((size_t)jsonx_opt_int(net, "index", 0), name);
	json_object_set_new(net, "stage", json_sprintf("%s%s%s", verb, *plugin ? " " : "", plugin));
	return jsonx_replace_at(p->dir, name, 0600, net, 0, e);
}

json_t *network_records(int dir)
{
	json_t *out = json_array();
	for (size_t i = 0; dir >= 0 && i < NETWORKS_MAX; i++) {
		char name[32];
		struct err ignored;
		file_name(i, name);
		if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
		json_t *net = jsonx_read_at(dir, name, NETWORK_MAX, &ignored);
		json_array_append_new(out, net ? net : json_null());
	}
	return out;
}

bool network_is_attached(json_t *net)
{
	const char *stage = jsonx_opt_string(net, "stage", "detached");
	return strcmp(stage, "detached") != 0 && strcmp(stage, "planned") != 0;
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

/* The addresses are judged before they are kept: a DEL must not be handed nonsense. A pod needs one
 * of its first network; others may be wires without. */
static int keep_result(json_t *net, json_t *result, struct err *e)
{
	const char *ifname = jsonx_opt_string(net, "ifname", "");
	const char *name = jsonx_opt_string(net, "name", "");
	AUTO_JSON json_t *ips = cni_result_ips(result, ifname, e);
	if (!ips)
		return err_wrap(e, "network '%s'", name);
	if (json_array_size(ips) == 0 && jsonx_opt_int(net, "index", 0) == 0)
		return err_set(e, ERR_FAILED, "network '%s': its plugins gave %s no address", name,
			       ifname);
	json_object_set(net, "result", result);
	json_object_set(net, "ips", ips);
	return 0;
}

static int add_one(const struct pod *p, json_t *net, int lock, struct err *e)
{
	json_t *list = json_object_get(net, "config");
	size_t n = json_array_size(json_object_get(list, "plugins"));
	AUTO_JSON json_t *prev = NULL;
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
	return keep_result(net, prev, e) < 0 ? -1 : save_stage(p, net, "attached", "", e);
}

int network_add(const struct pod *p, json_t *nets, json_t **ips, struct err *e)
{
	size_t i;
	json_t *net;
	AUTO_CLOSE int lock = plugin_lock(p, 0, e);
	if (lock < 0)
		return -1;
	json_array_foreach (nets, i, net)
		if (add_one(p, net, lock, e) < 0)
			return -1;
	*ips = json_deep_copy(json_object_get(json_array_get(nets, 0), "ips"));
	return 0;
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

/* What a damaged record was about: the others name all networks of the pod; without them it is most
 * probably the one that a new pod would get. */
static const char *name_of(const struct pod *p, json_t *records, size_t index)
{
	size_t i;
	json_t *net;
	json_array_foreach (records, i, net) {
		json_t *name = json_array_get(json_object_get(net, "networks"), index);
		if (json_is_string(name))
			return json_string_value(name);
	}
	return index == 0 ? p->c->cfg.cni_default_network : NULL;
}

/* The record as it was saved; one that is damaged is guessed, or given up: NULL. */
static json_t *usable(const struct pod *p, json_t *records, size_t index)
{
	struct err e;
	char name[32];
	AUTO_FREE char *file = NULL;
	json_t *net = json_array_get(records, index);
	file_name(index, name);
	if (jsonx_opt_int(net, "version", 0) == NETWORK_VERSION &&
	    jsonx_opt_int(net, "index", 0) == (json_int_t)index) {
		json_t *list = cni_list_of(json_object_get(net, "config"), name, &e);
		json_decref(list);
		if (list)
			return json_incref(net);
	}
	const char *want = name_of(p, records, index);
	log_warn("pod %s: %s is damaged: %s", p->id, name,
		 want ? "detaching by the present configuration"
		      : "what its network has of the pod is left to CNI GC");
	if (!want)
		return NULL;
	AUTO_JSON json_t *list = cni_conf_find(p->c->cfg.network_dir, want, &file, &e);
	if (!list || cni_negotiate(&p->c->cfg, p->c->st.run, list, &e) < 0) {
		log_warn("pod %s: %s", p->id, e.msg);
		return NULL;
	}
	AUTO_JSON json_t *none = json_object();
	struct network_plan plan = {.list = list,
				    .file = file,
				    .ifname = NULL,
				    .args = "IgnoreUnknown=1",
				    .runtime = none};
	AUTO_JSON json_t *guess = network_plan(p, index, &plan);
	json_object_set_new(guess, "stage", json_string("unknown"));
	return TAKE(guess);
}

static int detach_one(const struct pod *p, json_t *net, int lock, struct err *e)
{
	struct err why;
	/* The specification wants an empty CNI_NETNS when the namespace is gone: after a reboot. */
	const char *netns = ns_is_pinned(p->netns) ? p->netns : "";
	if (network_del(p, net, netns, lock, &why) < 0) {
		log_warn("pod %s: %s (kept as a debt, see podnet gc)", p->id, why.msg);
		if (debt_record(p, net, why.msg, e) < 0)
			return -1;
	}
	return save_stage(p, net, "detached", "", e);
}

int network_detach(const struct pod *p, struct err *e)
{
	struct err why;
	AUTO_JSON json_t *nets = network_records(p->dir);
	size_t n = json_array_size(nets);
	while (n > 0 && json_is_object(json_array_get(nets, n - 1)) &&
	       !network_is_attached(json_array_get(nets, n - 1)))
		n--;
	if (n == 0)
		return 0;
	/* A creator that was killed may have left a plugin behind that is still at work on the last
	 * network. One that keeps the lock after a finished ADD is a daemon: there is no use in
	 * waiting for it. */
	bool busy =
		strcmp(jsonx_opt_string(json_array_get(nets, n - 1), "stage", ""), "attached") != 0;
	AUTO_CLOSE int lock =
		plugin_lock(p, busy ? (int)p->c->cfg.network_timeout * 1000 : 0, &why);
	if (lock < 0 && busy)
		log_warn("pod %s: a network plugin does not end: %s", p->id, why.msg);
	while (n-- > 0) {
		AUTO_JSON json_t *net = usable(p, nets, n);
		if (net && network_is_attached(net) && detach_one(p, net, lock, e) < 0)
			return -1;
	}
	return 0;
}
