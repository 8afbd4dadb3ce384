/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <string.h>

enum { OUT_MAX = 1 << 20, ERR_MAX = 64 << 10, CODE_TRY_AGAIN = 11, CODE_NOT_READY = 50 };

static char *path_variable(const struct config *cfg)
{
	char *all = xstrdup("CNI_PATH=");
	size_t i;
	json_t *dir;
	json_array_foreach (cfg->plugin_dirs, i, dir) {
		AUTO_FREE char *old = all;
		all = xasprintf("%s%s%s", old, i ? ":" : "", json_string_value(dir));
	}
	return all;
}

struct output {
	struct buf out, err;
};

static void output_release(struct output *o)
{
	buf_release(&o->out);
	buf_release(&o->err);
}

static int run(const struct cni_env *env, const char *command, const char *path, const char *input,
	       struct output *o, struct proc_result *r, struct err *e)
{
	bool attachment = env->container_id;
	AUTO_FREE char *cmd = xasprintf("CNI_COMMAND=%s", command);
	AUTO_FREE char *id = attachment ? xasprintf("CNI_CONTAINERID=%s", env->container_id) : NULL;
	AUTO_FREE char *netns = attachment ? xasprintf("CNI_NETNS=%s", env->netns) : NULL;
	AUTO_FREE char *ifname = attachment ? xasprintf("CNI_IFNAME=%s", env->ifname) : NULL;
	AUTO_FREE char *args = attachment ? xasprintf("CNI_ARGS=%s", env->args) : NULL;
	AUTO_FREE char *dirs = path_variable(env->cfg);
	const char *argv[] = {path, NULL};
	/* Plugins call iptables and the like by name. */
	const char *envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			      cmd,
			      dirs,
			      id, /* NULL ends it */
			      netns,
			      ifname,
			      args,
			      NULL};
	int keep[] = {env->lock, -1};
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = envp;
	spec.keep = keep;
	spec.die_with_parent = true;
	return proc_run(&spec, input, strlen(input), &o->out, &o->err,
			(int)env->cfg->network_timeout * 1000, r, e);
}

/* What the plugin said, as our result or as our error. */
static int judge(const struct output *o, const struct proc_result *r, json_t **result,
		 struct err *e)
{
	char text[1024];
	json_int_t code;
	if (!r->exited)
		return err_set(e, ERR_FAILED, "killed by signal %d", r->status);
	if (r->status != 0) {
		cni_error_text(o->out.data, o->out.len, o->err.data, o->err.len, text, sizeof text,
			       &code);
		return err_set(e,
			       code == CODE_TRY_AGAIN || code == CODE_NOT_READY ? ERR_UNAVAILABLE
										: ERR_FAILED,
			       "%s", text);
	}
	if (!result)
		return 0;
	if (o->out.len >= OUT_MAX)
		return err_set(e, ERR_FAILED, "result: more than %d bytes", OUT_MAX - 1);
	*result = cni_result_parse(o->out.data, o->out.len, e);
	return *result ? 0 : -1;
}

int cni_exec(const struct cni_env *env, const char *command, json_t *input, json_t **result,
	     struct err *e)
{
	const char *type = jsonx_opt_string(input, "type", "");
	const char *net = jsonx_opt_string(input, "name", "");
	__attribute__((cleanup(output_release))) struct output o = {.out = BUF_INIT(OUT_MAX),
								    .err = BUF_INIT(ERR_MAX)};
	AUTO_FREE char *path = cni_plugin_find(env->cfg->plugin_dirs, type, e);
	AUTO_FREE char *text = json_dumps(input, JSON_COMPACT);
	struct proc_result r = {0};
	long long began = proc_now_ms();
	int ret = -1;
	if (path && !text)
		err_set(e, ERR_FAILED, "its configuration cannot be written as JSON");
	else if (path && run(env, command, path, text, &o, &r, e) == 0)
		ret = judge(&o, &r, result, e);
	log_debug("network '%s': plugin %s %s: %lld ms%s%s", net, type, command,
		  proc_now_ms() - began, ret < 0 ? ": " : "", ret < 0 ? e->msg : "");
	return ret < 0 ? err_wrap(e, "network '%s': plugin '%s' %s", net, type, command) : 0;
}
