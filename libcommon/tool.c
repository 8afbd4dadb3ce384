/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include "answer.h"
#include "auto.h"
#include "fs.h"
#include "gate.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "tool_run.h"
#include "turnstile.h"
#include "xalloc.h"

static int load(struct tool_ctx *c, const struct tool_common *k, struct err *e)
{
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
	return 0;
}

static bool uses_state(const struct tool_ctx *c)
{
	return c->flags & TOOL_STATE && !(c->flags & TOOL_STATE_LATER);
}

/* The state directories, and which there are in them. */
struct looks {
	struct fs_stamp root, run;
};

static struct looks look(const struct tool_ctx *c)
{
	return (struct looks){fs_stamp(c->cfg.root), fs_stamp(c->cfg.runroot)};
}

static int begin(struct tool_ctx *c, const struct tool_common *k, struct looks *seen, struct err *e)
{
	if (c->flags & TOOL_NO_CONFIG)
		return 0;
	if (load(c, k, e) < 0)
		return -1;
	if (!uses_state(c))
		return 0;
	*seen = look(c);
	return state_open(&c->st, c->cfg.root, c->cfg.runroot, e);
}

static bool is_current(const struct tool_ctx *c, const struct looks *seen)
{
	if (c->flags & TOOL_NO_CONFIG)
		return true;
	struct looks now = uses_state(c) ? look(c) : *seen;
	return fs_stamp_same(&now.root, &seen->root) && fs_stamp_same(&now.run, &seen->run) &&
	       config_is_current(&c->cfg);
}

static void finish(struct tool_ctx *c)
{
	state_close(&c->st);
	config_release(&c->cfg);
}

/* What was begun (r: with which success) is taken up when it is still what it would be now. */
static int begin_again(struct tool_ctx *c, const struct tool_common *k, struct looks *seen, int r,
		       struct err *e)
{
	log_init(log_prog());
	if (r == 0 && is_current(c, seen))
		return 0;
	finish(c);
	return begin(c, k, seen, e);
}

/* Of a run that cannot begin: the reason, for which there is no verb that would tell it. */
static void tell_error(const struct err *e)
{
	const struct iovec none[ANSWER_PARTS] = {{0}};
	struct err ignored;
	AUTO_JSON json_t *line = jsonx_error_event(e, err_exit_status(e));
	AUTO_FREE char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	if (text && answer_send(turnstile_socket(), turnstile_run(), text, none, &ignored) == 0)
		turnstile_told();
}

/* Returns in each run; the one that stays keeps what it has read for the next. */
static int take_turns(struct tool_ctx *c, const struct tool_common *k, struct looks *seen, int r,
		      struct err *e)
{
	do {
		turnstile_wait();
		r = begin_again(c, k, seen, r, e);
	} while (!turnstile_enter());
	log_init(log_prog());
	if (r < 0)
		tell_error(e);
	return r;
}

static int prepare(struct tool_ctx *c, const struct tool_common *k, struct err *e)
{
	if (tool_prepare_common(c, k, e) < 0)
		return -1;
	struct looks seen = {.root = {.ino = 0}};
	int r = begin(c, k, &seen, e);
	if (uses_state(c) && (gate_given() || turnstile_given()))
		(void)state_boot_id(); /* most steps ask for it */
	if (turnstile_given())
		return take_turns(c, k, &seen, r, e);
	return gate_wait() ? begin_again(c, k, &seen, r, e) : r;
}

int tool_main(const struct tool *t, int argc, char **argv)
{
	proc_as_others();
	gate_take(&argc, argv);
	turnstile_take(&argc, argv);
	int status = tool_run(t, argc, argv, prepare, finish);
	gate_tell(status);
	return status;
}
