/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include "auto.h"
#include "gate.h"
#include "tool_run.h"
#include "xalloc.h"

static int prepare(struct tool_ctx *c, const struct tool_common *k, struct err *e)
{
	if (tool_prepare_common(c, k, e) < 0)
		return -1;
	if (c->flags & TOOL_NO_CONFIG)
		return 0;
	if (config_load(&c->cfg, k->config, e) < 0)
		return -1;
	if (k->root) {
		free(c->cfg.root);
		c->cfg.root = xstrdup(k->root);
		json_object_set_new(c->cfg.sources, "root", json_string("--root"));
	}
	if (k->runroot) {
		free(c->cfg.runroot);
		c->cfg.runroot = xstrdup(k->runroot);
		json_object_set_new(c->cfg.sources, "runroot", json_string("--runroot"));
	}
	if (c->flags & TOOL_STATE && !(c->flags & TOOL_STATE_LATER))
		return state_open(&c->st, c->cfg.root, c->cfg.runroot, e);
	return 0;
}

static void finish(struct tool_ctx *c)
{
	state_close(&c->st);
	config_release(&c->cfg);
}

int tool_main(const struct tool *t, int argc, char **argv)
{
	gate_wait(&argc, argv);
	return tool_run(t, argc, argv, prepare, finish);
}
