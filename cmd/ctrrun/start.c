/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "event.h"
#include "log.h"
#include "podroot.h"

#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

/* The start has failed: nothing may be left that could run, and the failure is the container's
 * exit. */
static int refuse(struct ctr *k, struct err *e)
{
	struct err late;
	AUTO_CLOSE int monitor = ctr_monitor_pidfd(k);
	/* First: it would take the end of what we kill for the container's own. */
	if (monitor >= 0)
		pidfd_send_signal(monitor, SIGKILL, NULL, 0);
	if (ctr_cleanup(k, &late) < 0)
		log_warn("%s", late.msg);
	if (ctr_write_exit(k, 128, "StartError", e->msg, &late) < 0)
		log_error("%s", late.msg);
	event_publish(&k->c->st, "exited", "container", k->id, k->rec.pod_id, false);
	return err_wrap(e, "start %s", k->id);
}

/* One from a checkpoint has its process, which waits in the freezer. */
static int let_run(struct ctr *k, struct err *e)
{
	if (k->rec.restored)
		return ctr_resume(k, e);
	return k->rec.sandboxed ? inside_start(k, e) : rt_call(k, "start", NULL, NULL, e);
}

int verb_start(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], CTR_LOCKED, e) < 0)
		return -1;
	if (k.state != CTR_CREATED)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not created", k.id,
			       ctr_state_name(k.state));
	/* Before it runs: the monitor copies it into exit.json, however soon that is. One that is
	 * there already was left by a start that was killed. */
	bool again = k.rec.started_at > 0;
	if (!again)
		k.rec.started_at = record_now_ns();
	if (ctr_save(&k, e) < 0)
		return -1;
	/* Left by a creation that was killed just before its end. */
	podroot_drop_mapped(&c->st, k.id);
	if (*k.rec.start_error) {
		err_set(e, ERR_FAILED, "%s", k.rec.start_error);
		return refuse(&k, e);
	}
	/* Without one nobody would learn of its end. */
	ctr_try_adopt(&k);
	if (let_run(&k, e) < 0 && !(again && rt_is_running(&k))) {
		struct err why = *e;
		ctr_look(&k);
		if (k.state == CTR_EXITED && k.exit.signal)
			return err_set(e, ERR_BAD_STATE,
				       "container %s was killed before it was started", k.id);
		*e = why;
		return refuse(&k, e);
	}
	record_set(&k.rec.state, "running");
	if (ctr_save(&k, e) < 0)
		return -1;
	/* Its end is asked for from now on; a monitor that was lost just now will see the record. */
	if (k.rec.sandboxed && ctl_ask(&k, "{\"op\":\"started\"}", e) < 0) {
		log_warn("container %s: %s", k.id, e->msg);
		ctr_try_adopt(&k);
	}
	event_publish(&c->st, "started", "container", k.id, k.rec.pod_id, false);
	return 0;
}
