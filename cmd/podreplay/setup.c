/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration that the tools of a replay run with: this machine's, but for what shapes a
 * container. */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "handler.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NETWORKS = 16, HANDLER_MAX = 1 << 16 };

static int write_json(const struct replay *r, const char *path, const json_t *j, struct err *e)
{
	AUTO_FREE char *full = xasprintf("%s/%s", r->base, path);
	return jsonx_replace_at(AT_FDCWD, full, 0600, j, 0, e);
}

/* ---- the handler */

/* This machine's handler of that name, or what it is called here when the recorded one was a file
 * of its own for a runtime that is known. */
static int find_handler(const struct replay *r, const char *name, json_t *recorded,
			struct handler *h, struct err *e)
{
	if (handler_find(h, &r->c->cfg, r->opt->handler ? r->opt->handler : name, e) == 0)
		return 0;
	const char *path = jsonx_opt_string(recorded, "path", "");
	AUTO_FREE char *copy = xstrdup(path);
	struct err ignored;
	if (!r->opt->handler && *path && handler_find(h, &r->c->cfg, basename(copy), &ignored) == 0)
		return 0;
	return err_wrap(e, "the pod's runtime (--handler NAME takes another)");
}

/* What of the recorded handler says how a config.json looks, not what is run. */
static void take_recorded(const struct replay *r, json_t *file, json_t *recorded)
{
	static const char *const keys[] = {"default_annotations", "allowed_annotations",
					   "base_spec_patch"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *v = json_object_get(recorded, keys[i]);
		if (!v)
			continue;
		if (!r->opt->allow_privileged) {
			log_warn(
				"%s of the recorded handler is left out without --allow-privileged",
				keys[i]);
			continue;
		}
		AUTO_JSON json_t *copy = json_deep_copy(v);
		json_object_del(copy, "hooks");
		json_object_set(file, keys[i], copy);
	}
}

static int setup_handler(struct replay *r, struct err *e)
{
	struct err ignored;
	json_t *pod = json_object_get(r->arc.index, "pod");
	const char *name = jsonx_opt_string(pod, "handler", "");
	AUTO_HANDLER struct handler h = {0};
	AUTO_JSON json_t *recorded = arc_json(&r->arc, &ignored, "handlers/%s.json", name);
	if (find_handler(r, name, recorded, &h, e) < 0)
		return -1;
	AUTO_JSON json_t *file = h.file ? jsonx_read_at(AT_FDCWD, h.file, HANDLER_MAX, e)
					: json_pack("{s:s}", "path", h.path);
	if (!file)
		return -1;
	/* Its containers are to be ours alone, and the stub network has only the recorded ones. */
	json_object_del(file, "root");
	if (r->opt->stub_network)
		json_object_del(file, "networks");
	if (!r->opt->handler)
		take_recorded(r, file, recorded);
	r->handler = xstrdup(h.name);
	AUTO_FREE char *path = xasprintf("etc/handlers.d/%s.json", h.name);
	return write_json(r, path, file, e);
}

/* ---- the network */

static json_t *stub_list(json_t *net)
{
	json_t *config = json_object_get(net, "config"), *result = json_object_get(net, "result");
	json_t *plugin = json_pack("{s:s, s:O}", "type", STUBNET_NAME, "recorded", result);
	return json_pack("{s:O?, s:O?, s:[o]}", "cniVersion", json_object_get(config, "cniVersion"),
			 "name", json_object_get(config, "name"), "plugins", plugin);
}

static int setup_stub(const struct replay *r, struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	AUTO_FREE char *plugin = xasprintf("%s/etc/plugins/%s", r->base, STUBNET_NAME);
	if (n < 0)
		return err_sys(e, "read /proc/self/exe");
	self[n] = '\0';
	if (symlink(self, plugin) < 0)
		return err_sys(e, "make %s", plugin);
	for (int i = 0; i < NETWORKS; i++) {
		struct err why;
		AUTO_FREE char *name =
			i ? xasprintf("network.%d.json", i) : xstrdup("network.json");
		AUTO_JSON json_t *net = arc_json(&r->arc, &why, "pods/%s/%s", r->arc.pod, name);
		if (!net && i == 0 && why.kind == ERR_NOT_FOUND)
			return 0; /* the host's network */
		if (!net && why.kind == ERR_NOT_FOUND)
			return 0;
		if (!net || !json_is_object(json_object_get(net, "result")))
			return err_set(e, ERR_BAD_INPUT, "%s: no result of a network", name);
		AUTO_JSON json_t *list = stub_list(net);
		AUTO_FREE char *path = xasprintf("etc/net.d/%02d.conflist", i);
		if (!list || write_json(r, path, list, e) < 0)
			return list ? -1 : err_set(e, ERR_BAD_INPUT, "%s: no network", name);
	}
	return 0;
}

/* ---- crisp.json */

/* Of what is recorded, what this machine's containers have, too. */
static json_t *in_both(json_t *recorded, const json_t *here)
{
	json_t *out = json_array(), *v;
	size_t i;
	json_array_foreach (recorded, i, v)
		if (json_is_string(v) && jsonx_has_string(here, json_string_value(v)))
			json_array_append(out, v);
	return out;
}

/* Lists and numbers that a config.json depends on; paths of the other machine mean nothing here. */
static void take_recorded_keys(const struct replay *r, json_t *config)
{
	static const char *const keys[] = {"default_capabilities", "default_sysctls",
					   "default_ulimits", "max_container_log_line_size"};
	struct err ignored;
	AUTO_JSON json_t *recorded = arc_json(&r->arc, &ignored, "crisp.json");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *v = json_object_get(recorded, keys[i]);
		json_t *here = json_object_get(config, keys[i]);
		if (!v || json_typeof(v) != json_typeof(here))
			continue;
		if (i == 0 && !r->opt->allow_privileged)
			json_object_set_new(config, keys[i], in_both(v, here));
		else
			json_object_set(config, keys[i], v);
	}
}

static void set_path(json_t *config, const char *key, const struct replay *r, const char *path)
{
	json_object_set_new(config, key, json_sprintf("%s/%s", r->base, path));
}

static json_t *make_config(const struct replay *r)
{
	json_t *config = config_dump(&r->c->cfg);
	json_t *sources = r->c->cfg.sources;
	/* Those of the command line, not those of this machine's pods. */
	static const char *const dirs[][3] = {{"root", "--root", "root"},
					      {"runroot", "--runroot", "run"}};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (strcmp(jsonx_opt_string(sources, dirs[i][0], ""), dirs[i][1]) != 0)
			set_path(config, dirs[i][0], r, dirs[i][2]);
	set_path(config, "handlers_dir", r, "etc/handlers.d");
	take_recorded_keys(r, config);
	json_object_set_new(config, "listen", json_string(""));
	json_object_set_new(config, "record", json_string(""));
	json_object_set_new(config, "metrics_port", json_string(""));
	json_object_set_new(config, "default_runtime", json_string(""));
	json_object_set_new(config, "hooks_dir", json_array());
	json_object_set_new(config, "additional_devices", json_array());
	if (r->opt->stub_network) {
		set_path(config, "network_dir", r, "etc/net.d");
		json_object_set_new(config, "cni_default_network", json_string(""));
		json_object_set_new(config, "network_template", json_string(""));
		json_object_set_new(config, "plugin_dirs",
				    json_pack("[o]", json_sprintf("%s/etc/plugins", r->base)));
	}
	return config;
}

static int make_dirs(const struct replay *r, struct err *e)
{
	static const char *const dirs[] = {"etc",         "etc/handlers.d", "etc/net.d",
					   "etc/plugins", "volumes",        "logs"};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", r->base, dirs[i]);
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_sys(e, "mkdir %s", path);
	}
	return 0;
}

int replay_setup(struct replay *r, struct err *e)
{
	if (make_dirs(r, e) < 0)
		return -1;
	AUTO_JSON json_t *config = make_config(r);
	r->config_file = xasprintf("%s/etc/crisp.json", r->base);
	if (write_json(r, "etc/crisp.json", config, e) < 0 || setup_handler(r, e) < 0 ||
	    (r->opt->stub_network && setup_stub(r, e) < 0) ||
	    config_load(&r->cfg, r->config_file, e) < 0 ||
	    state_open(&r->st, r->cfg.root, r->cfg.runroot, e) < 0)
		return -1;
	r->tools = (struct tools){.cfg = &r->cfg,
				  .config_file = r->config_file,
				  .root = r->cfg.root,
				  .runroot = r->cfg.runroot,
				  .cancel = r->cancel};
	AUTO_JSON json_t *run = json_pack("{s:s, s:s, s:s}", "root", r->cfg.root, "runroot",
					  r->cfg.runroot, "pod", r->pod);
	return write_json(r, "run.json", run, e);
}
