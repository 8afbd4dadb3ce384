/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include "auto.h"
#include "journal.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 12, SAYS_MAX = 64 << 10, BUNDLE_MS = 30000, SLACK_MS = 25000 };

/* Our environment, in which the tools report as objects and leave the journal to us. */
static const char **tool_env(char req[80])
{
	static char json[] = "CRISP_LOG=json";
	extern char **environ;
	size_t n = 0, at = 0;
	const char *own = getenv("CRISP_REQ");
	while (environ[n])
		n++;
	const char **env = xcalloc(n + 3, sizeof *env);
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "CRISP_LOG=", 10) != 0 &&
		    strncmp(environ[i], "CRISP_REQ=", 10) != 0)
			env[at++] = environ[i];
	snprintf(req, 80, "CRISP_REQ=%.60s", own && *own ? own : "podnet");
	env[at++] = json;
	env[at++] = req;
	return env;
}

/* Its last error is ours; what it only remarked is passed on. */
static void take_words(char *text, struct err *e)
{
	struct err ignored;
	for (char *line; (line = strsep(&text, "\n"));) {
		AUTO_JSON json_t *j = jsonx_parse(line, strlen(line), "line", &ignored);
		const char *msg = jsonx_opt_string(j, "msg", line);
		if (!*msg)
			continue;
		if (strcmp(jsonx_opt_string(j, "level", ""), "error") == 0)
			err_set(e, err_kind_of_name(jsonx_opt_string(j, "code", "")), "%s", msg);
		else
			log_warn("%s", msg);
	}
}

static void note(const struct pod *p, const char *const *argv, int64_t began, int status,
		 const struct err *e)
{
	const char *req = getenv("CRISP_REQ");
	struct journal_step step = {
		.rpc = req && *req ? "podnet" : "hand",
		.req = req,
		.argv = argv,
		.when_ns = began,
		.exit_status = status,
		.ms = (record_now_ns() - began) / 1000000,
		.error = status ? e->msg : NULL,
	};
	journal_append(&p->c->st, p->id, &step);
}

/* TOOL --root … WORDS… POD */
static int run_tool(const struct pod *p, const char *tool, const char *const *words, int timeout_ms,
		    struct err *e)
{
	const struct tool_ctx *c = p->c;
	const char *argv[WORDS_MAX + 8];
	char req[80];
	size_t n = 0;
	struct proc_result r;
	int64_t began = record_now_ns();
	AUTO_FREE char *path = config_tool(&c->cfg, tool, e);
	AUTO_FREE const char **env = tool_env(req);
	AUTO_BUF struct buf says = BUF_INIT(SAYS_MAX);
	if (!path)
		return -1;
	argv[n++] = path;
	if (c->config_file) {
		argv[n++] = "--config";
		argv[n++] = c->config_file;
	}
	argv[n++] = "--root";
	argv[n++] = c->cfg.root;
	argv[n++] = "--runroot";
	argv[n++] = c->cfg.runroot;
	while (*words)
		argv[n++] = *words++;
	argv[n++] = p->id;
	argv[n] = NULL;
	struct proc_spec s = PROC_SPEC(argv);
	s.envp = env;
	err_set(e, ERR_FAILED, "%s failed", tool);
	int status = proc_run(&s, NULL, 0, NULL, &says, timeout_ms, &r, e) < 0 ? err_exit_status(e)
									       : proc_exit_code(&r);
	take_words(says.data, e);
	note(p, argv, began, status, e);
	return status ? -1 : 0;
}

static int runtime_ms(const struct pod *p, const struct handler *h)
{
	long s = h && h->create_timeout ? h->create_timeout : (long)p->c->cfg.runtime_timeout;
	return (int)s * 1000 + SLACK_MS;
}

int sandbox_start(const struct pod *p, const struct handler *h, struct err *e)
{
	static const char *const make[] = {"sandbox", NULL}, *const create[] = {"create", NULL},
				 *const start[] = {"start", NULL};
	if (run_tool(p, "ocibundle", make, BUNDLE_MS, e) < 0 ||
	    run_tool(p, "ctrrun", create, runtime_ms(p, h), e) < 0 ||
	    run_tool(p, "ctrrun", start, runtime_ms(p, NULL), e) < 0)
		return err_wrap(e, "sandbox container");
	return 0;
}

bool sandbox_exists(const struct pod *p)
{
	struct err e;
	AUTO_CLOSE int dir = object_open(&p->c->st, OBJ_CONTAINER, p->id, &e);
	return dir >= 0 || e.kind != ERR_NOT_FOUND;
}

int sandbox_remove(const struct pod *p, struct err *e)
{
	static const char *const end[] = {"rm", "--force", NULL}, *const drop[] = {"rm", NULL};
	if (!sandbox_exists(p))
		return 0;
	if (run_tool(p, "ctrrun", end, runtime_ms(p, NULL), e) < 0 ||
	    run_tool(p, "ocibundle", drop, BUNDLE_MS, e) < 0)
		return err_wrap(e, "sandbox container");
	return 0;
}

bool sandbox_runs(const struct pod *p)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	return ctr_record_read(&p->c->st, p->id, &r, &ignored) == 0 &&
	       ctr_effective(&p->c->st, &r, &x) == CTR_RUNNING;
}
