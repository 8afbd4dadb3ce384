/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "freezer.h"
#include "jsonx.h"
#include "log.h"

bool ctr_is_paused(const struct ctr *k)
{
	struct err ignored;
	return k->rec.pid > 0 && freezer_is_set((pid_t)k->rec.pid, k->id, &ignored) == 1;
}

int ctr_pause(const struct ctr *k, struct err *e)
{
	AUTO_JSON json_t *can = handler_can(&k->c->cfg, &k->handler);
	if (can && handler_can_do(can, "pause") == 0)
		return err_set(e, ERR_UNSUPPORTED, "runtime handler '%s' cannot pause containers",
			       k->rec.handler);
	if (ctr_is_paused(k))
		return 0;
	return rt_call(k, "pause", NULL, NULL, e) < 0 ? err_wrap(e, "pause %s", k->id) : 0;
}

int ctr_resume(const struct ctr *k, struct err *e)
{
	struct err why;
	if (rt_call(k, "resume", NULL, NULL, &why) == 0)
		return 0;
	/* Nobody is left frozen because a runtime fails, or believes that it runs. */
	if (!ctr_is_paused(k) || freezer_set((pid_t)k->rec.pid, k->id, false, e) < 0) {
		*e = why;
		return err_wrap(e, "resume %s", k->id);
	}
	log_info("container %s: resumed by its control group: %s", k->id, why.msg);
	return 0;
}

static int open_running(struct ctr *k, struct tool_ctx *c, const char *typed, struct err *e)
{
	if (ctr_open(k, c, typed, CTR_LOCKED, e) < 0)
		return -1;
	if (k->state != CTR_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", k->id,
			       ctr_state_name(k->state));
	return 0;
}

int verb_pause(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	return open_running(&k, c, argv[0], e) < 0 ? -1 : ctr_pause(&k, e);
}

int verb_resume(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (open_running(&k, c, argv[0], e) < 0)
		return -1;
	/* What runs is resumed already. */
	if (!k.rec.sandboxed && !ctr_is_paused(&k))
		return 0;
	return ctr_resume(&k, e);
}
