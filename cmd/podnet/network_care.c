/* SPDX-License-Identifier: Apache-2.0 */
#include "network_care.h"

#include "auto.h"
#include "cni.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static bool is_at_least(json_t *list, const char *version)
{
	return cni_version_at_least(jsonx_opt_string(list, "cniVersion", ""), version);
}

const char *network_check_skipped(json_t *net)
{
	json_t *list = json_object_get(net, "config");
	if (!is_at_least(list, "0.4.0"))
		return "its cniVersion is older than 0.4.0, which brought CHECK";
	if (json_is_true(json_object_get(list, "disableCheck")))
		return "its configuration says disableCheck";
	return NULL;
}

int network_check(const struct pod *p, json_t *net, size_t index, struct err *e)
{
	struct cni_env env = {
		.cfg = &p->c->cfg,
		.container_id = p->id,
		.netns = p->netns,
		.ifname = jsonx_opt_string(net, "ifname", "eth0"),
		.args = jsonx_opt_string(net, "args", ""),
		.lock = -1,
	};
	AUTO_JSON json_t *in =
		cni_plugin_input(json_object_get(net, "config"), index,
				 json_object_get(net, "runtime"), json_object_get(net, "result"));
	return cni_exec(&env, "CHECK", in, NULL, e);
}

/* One verb that is about no attachment, to every plugin of a list of version 1.1.0. */
static int tell_all(struct tool_ctx *c, json_t *list, const char *verb, json_t *valid,
		    struct err *e)
{
	struct cni_env env = {.cfg = &c->cfg, .lock = -1};
	int ret = 0;
	for (size_t i = 0; i < json_array_size(json_object_get(list, "plugins")); i++) {
		struct err one;
		AUTO_JSON json_t *in = cni_plugin_input(list, i, NULL, NULL);
		if (valid)
			json_object_set(in, "cni.dev/valid-attachments", valid);
		if (cni_exec(&env, verb, in, NULL, &one) == 0)
			continue;
		if (ret == 0)
			*e = one;
		ret = -1;
	}
	return ret;
}

static void add_valid(json_t *valid, const char *id, const char *ifname)
{
	json_array_append_new(valid, json_pack("{s:s, s:s}", "containerID", id, "ifname", ifname));
}

struct survey {
	struct tool_ctx *c;
	json_t *networks; /* name -> {"config", "valid"} */
};

static json_t *network_of(struct survey *s, json_t *list)
{
	const char *name = jsonx_opt_string(list, "name", "");
	json_t *n = json_object_get(s->networks, name);
	if (n)
		return n;
	json_object_set_new(s->networks, name, json_pack("{s:O, s:[]}", "config", list, "valid"));
	return json_object_get(s->networks, name);
}

static int survey_pod(void *arg, const char *id, struct err *e)
{
	struct survey *s = arg;
	AUTO_CLOSE int dir = object_open(&s->c->st, OBJ_POD, id, e);
	AUTO_JSON json_t *nets = network_records(dir);
	size_t i;
	json_t *net;
	json_array_foreach (nets, i, net) {
		if (!network_is_attached(net))
			continue;
		AUTO_JSON json_t *list =
			cni_list_of(json_object_get(net, "config"), "network.json", e);
		if (list)
			add_valid(json_object_get(network_of(s, list), "valid"), id,
				  jsonx_opt_string(net, "ifname", "eth0"));
	}
	return 0;
}

/* A network may be another root's as well: whoever has a namespace pinned is using its address, and a
 * debt is ours to pay with the configuration that made it. */
static void spare_others(struct survey *s)
{
	const struct dirent *de;
	AUTO_CLOSEDIR DIR *d = opendir(NETNS_DIR);
	while (d && (de = readdir(d))) {
		const char *id = de->d_name + strlen(NETNS_PREFIX), *name;
		json_t *n;
		if (strncmp(de->d_name, NETNS_PREFIX, strlen(NETNS_PREFIX)) != 0 ||
		    !id_is_valid(id))
			continue;
		json_object_foreach (s->networks, name, n)
			add_valid(json_object_get(n, "valid"), id, "eth0");
	}
}

json_t *networks_in_use(struct tool_ctx *c)
{
	struct err ignored;
	json_t *networks = json_object();
	struct survey s = {.c = c, .networks = networks};
	AUTO_FREE char *file = NULL;
	AUTO_JSON json_t *list =
		cni_conf_find(c->cfg.network_dir, c->cfg.cni_default_network, &file, &ignored);
	if (list && cni_negotiate(&c->cfg, c->st.run, list, &ignored) == 0)
		network_of(&s, list);
	(void)object_each(&c->st, OBJ_POD, survey_pod, &s, &ignored);
	spare_others(&s);
	return networks;
}

int network_gc(struct tool_ctx *c, json_t *network, const char **skipped, struct err *e)
{
	json_t *list = json_object_get(network, "config");
	*skipped = NULL;
	if (!is_at_least(list, "1.1.0"))
		*skipped = "its cniVersion is older than 1.1.0, which brought GC";
	else if (json_is_true(json_object_get(list, "disableGC")))
		*skipped = "its configuration says disableGC";
	if (*skipped || c->dry_run)
		return 0;
	return tell_all(c, list, "GC", json_object_get(network, "valid"), e);
}

static void print_network(struct tool_ctx *c, json_t *list, const char *file)
{
	size_t i;
	json_t *p;
	AUTO_JSON json_t *types = json_array();
	json_array_foreach (json_object_get(list, "plugins"), i, p)
		json_array_append(types, json_object_get(p, "type"));
	AUTO_JSON json_t *out = json_pack("{s:O, s:s, s:O, s:O}", "name",
					  json_object_get(list, "name"), "file", file, "cniVersion",
					  json_object_get(list, "cniVersion"), "plugins", types);
	if (c->json) {
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	printf("%s %s %s", jsonx_opt_string(out, "name", ""), file,
	       jsonx_opt_string(out, "cniVersion", ""));
	json_array_foreach (types, i, p)
		printf("%s%s", i ? "," : " ", json_string_value(p));
	putchar('\n');
}

int cmd_network(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_FREE char *file = NULL;
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *list =
		cni_conf_find(c->cfg.network_dir, c->cfg.cni_default_network, &file, e);
	if (!list || cni_plugins_present(list, c->cfg.plugin_dirs, e) < 0 ||
	    cni_negotiate(&c->cfg, c->st.run, list, e) < 0)
		return -1;
	if (is_at_least(list, "1.1.0") && tell_all(c, list, "STATUS", NULL, e) < 0) {
		/* Whatever it says, what is asked is whether a pod would get a network now. */
		e->kind = ERR_UNAVAILABLE;
		return -1;
	}
	print_network(c, list, file);
	return 0;
}
