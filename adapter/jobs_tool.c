/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_tool.h"

#include "auto.h"
#include "jobs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

static const char *const tool_names[] = {"ocipull", "ocistore",  "podnet", "ocibundle",
					 "ctrrun",  "ctrstream", "ctrtls", NULL};
static const char *const proxy_names[] = {
	"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",   "no_proxy",     "NO_PROXY",
	"all_proxy",  "ALL_PROXY",  "HOME",        "SSL_CERT_FILE", "SSL_CERT_DIR", NULL};

/* "NAME=value" of our own environment, NULL when unset. */
static char *variable(const char *name)
{
	const char *value = getenv(name);
	return value ? xasprintf("%s=%s", name, value) : NULL;
}

void jobs_tools_init(struct jobs_tools *t, const struct crispd *d)
{
	char *v;
	t->d = d;
	jobs_tools_reload(t, &d->said);
	for (size_t i = 0; tool_names[i]; i++)
		t->paths[i] =
			(struct tool_path){.tool = tool_names[i],
					   .path = xasprintf("%s/%s", d->tools_dir, tool_names[i])};
	t->base[t->n_base++] =
		xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	t->base[t->n_base++] = xstrdup("CRISP_LOG=json");
	t->base[t->n_base++] = xasprintf("CRISP_DAEMON=%d", (int)getpid());
	if ((v = variable("CRISP_CONFIG")))
		t->base[t->n_base++] = v;
	if ((v = variable("CRISP_NICE")))
		t->base[t->n_base++] = v;
	for (size_t i = 0; proxy_names[i]; i++) {
		v = variable(proxy_names[i]);
		if (v)
			t->proxy[t->n_proxy++] = v;
	}
}

void jobs_tools_reload(struct jobs_tools *t, const struct config *said)
{
	t->say_root = strcmp(said->root, t->d->cfg.root) != 0;
	t->say_runroot = strcmp(said->runroot, t->d->cfg.runroot) != 0;
	free(t->level);
	t->level = variable("CRISP_LOG_LEVEL");
}

void jobs_tools_release(struct jobs_tools *t)
{
	for (size_t i = 0; i < t->n_base; i++)
		free(t->base[i]);
	free(t->level);
	for (size_t i = 0; i < t->n_proxy; i++)
		free(t->proxy[i]);
	for (size_t i = 0; i < ARRAY_LEN(t->paths); i++)
		free(t->paths[i].path);
}

size_t jobs_tools_argv(const struct jobs_tools *t, const char *tool, const char **argv)
{
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(t->paths) && t->paths[i].tool; i++)
		if (strcmp(t->paths[i].tool, tool) == 0)
			argv[n++] = t->paths[i].path;
	if (t->d->config_file) {
		argv[n++] = "--config";
		argv[n++] = t->d->config_file;
	}
	if (t->say_root) {
		argv[n++] = "--root";
		argv[n++] = t->d->cfg.root;
	}
	if (t->say_runroot) {
		argv[n++] = "--runroot";
		argv[n++] = t->d->cfg.runroot;
	}
	return n;
}

const char *const *jobs_tools_env(struct jobs_tools *t, const char *req, bool proxy)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n_base; i++)
		t->env[n++] = t->base[i];
	if (t->level)
		t->env[n++] = t->level;
	snprintf(t->req, sizeof t->req, "CRISP_REQ=%s", req);
	t->env[n++] = t->req;
	for (size_t i = 0; proxy && i < t->n_proxy; i++)
		t->env[n++] = t->proxy[i];
	t->env[n] = NULL;
	return t->env;
}

static void log_line(const char *tool, const json_t *line, const char *raw, size_t len)
{
	static const char *const levels[] = {"error", "warning", "info", "debug"};
	const char *level = jsonx_opt_string((json_t *)line, "level", "info");
	const char *msg = jsonx_opt_string((json_t *)line, "msg", NULL);
	enum log_level at = LOG_LVL_INFO;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (strcmp(level, levels[i]) == 0)
			at = (enum log_level)i;
	if (msg)
		log_msg(at, "%s: %s", tool, msg);
	else
		log_msg(at, "%s: %.*s", tool, (int)(len < 1024 ? len : 1024), raw);
}

void jobs_read_stderr(const char *tool, const char *text, size_t len, int exit_code, char **warning,
		      struct err *e)
{
	bool named = false;
	for (const char *at = text, *end = text + len; at < end;) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((nl ? nl : end) - at);
		AUTO_JSON json_t *line = json_loadb(at, n, 0, NULL);
		const char *code = jsonx_opt_string(line, "code", NULL);
		const char *msg = jsonx_opt_string(line, "msg", NULL);
		if (code && msg && exit_code != 0) {
			err_set(e, err_kind_of_name(code), "%s", msg);
			named = true;
		} else if (n) {
			log_line(tool, line, at, n);
		}
		if (warning && !*warning && msg &&
		    strcmp(jsonx_opt_string(line, "level", ""), "warning") == 0)
			*warning = xstrdup(msg);
		at += n + 1;
	}
	if (named || exit_code == 0)
		return;
	if (exit_code > 128 && exit_code < 128 + 65)
		err_set(e, ERR_FAILED, "%s was killed by signal %d", tool, exit_code - 128);
	else
		err_set(e, err_kind_of_exit(exit_code), "%s failed with exit status %d", tool,
			exit_code);
}
