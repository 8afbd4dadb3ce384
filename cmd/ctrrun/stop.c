/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "event.h"
#include "log.h"
#include "signame.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { KILL_WAIT_MS = 10000 };

bool rm_force;

static void signal_text(int64_t number, char out[16])
{
	snprintf(out, 16, "%d", number > 0 && number <= SIGRTMAX ? (int)number : SIGTERM);
}

/* Everything is killed, and with growing means until it is dead. */
static int kill_and_wait(struct ctr *k, struct err *e)
{
	ctr_kill_all(k, false);
	int gone = ctr_wait_exit(k, KILL_WAIT_MS, e);
	if (gone == 0) {
		log_warn("container %s survives: asking its runtime to kill it", k->id);
		ctr_kill_all(k, true);
		gone = ctr_wait_exit(k, KILL_WAIT_MS, e);
	}
	if (gone == 0)
		return err_set(e, ERR_UNAVAILABLE, "container %s does not die (process %d)", k->id,
			       (int)k->rec.pid);
	return gone < 0 ? -1 : 0;
}

/* Refused at its creation, not yet told: there is nothing to kill, but it has ended now. */
static int end_unborn(struct ctr *k, struct err *e)
{
	if (ctr_write_exit(k, 128, "StartError", k->rec.start_error, e) < 0)
		return -1;
	ctr_look(k);
	return 0;
}

/* No lock from here on: a second stop with a shorter grace simply kills sooner. */
static int stop(struct ctr *k, double grace, struct err *e)
{
	char sig[16];
	if (k->state == CTR_CREATED && *k->rec.start_error)
		return end_unborn(k, e);
	if (k->state == CTR_CREATED)
		grace = 0;
	if (grace > 0) {
		struct err why;
		signal_text(k->rec.stop_signal, sig);
		/* One that ends just now cannot be signalled; one that cannot be signalled is
		 * killed in the end. */
		if (rt_call(k, "kill", NULL, sig, &why) < 0)
			log_debug("kill %s: %s", sig, why.msg);
		int gone = ctr_wait_exit(k, (long long)(grace * 1000), e);
		if (gone != 0)
			return gone < 0 ? -1 : 0;
	}
	return kill_and_wait(k, e);
}

/* One that is in the making, by a tool that its daemon may not have outlived, ends as well: its maker
 * holds the lock. A stop itself goes on without. */
static int open_made(struct ctr *k, const struct tool_ctx *c, const char *typed, struct err *e)
{
	if (ctr_open(k, c, typed, 0, e) < 0)
		return -1;
	if (k->state != CTR_PREPARED)
		return 0;
	ctr_release(k);
	*k = CTR_NONE;
	if (ctr_open(k, c, typed, CTR_LOCKED, e) < 0)
		return -1;
	ctr_release(k);
	*k = CTR_NONE;
	return ctr_open(k, c, typed, 0, e);
}

int verb_stop(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	double grace = c->timeout >= 0 ? c->timeout : (double)c->cfg.ctr_stop_timeout;
	(void)argc;
	if (open_made(&k, c, argv[0], e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (k.state != CTR_CREATED && k.state != CTR_RUNNING)
		return 0;
	ctr_try_adopt(&k);
	if (stop(&k, grace, e) < 0)
		return err_wrap(e, "stop %s", k.id);
	/* The monitor has told it, if there was one. */
	event_publish(&c->st, "changed", "container", k.id, k.rec.pod_id, false);
	return 0;
}

int verb_kill(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	char sig[16];
	int number;
	(void)argc;
	if (signame_parse(argv[1], &number, e) < 0 || ctr_open(&k, c, argv[0], 0, e) < 0)
		return -1;
	if (k.state != CTR_RUNNING && (k.state != CTR_CREATED || *k.rec.start_error))
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", k.id,
			       ctr_state_name(k.state));
	ctr_try_adopt(&k);
	/* A number: runtimes differ in the names they know. */
	signal_text(number, sig);
	if (rt_call(&k, "kill", NULL, sig, e) == 0)
		return 0;
	struct err why = *e;
	ctr_look(&k);
	if (k.state == CTR_EXITED)
		return err_set(e, ERR_BAD_STATE, "container %s is exited, not running", k.id);
	*e = why;
	return err_wrap(e, "kill %s", k.id);
}

/* As ocibundle made it. */
static int reset(struct ctr *k, struct err *e)
{
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_CONTAINER, k->id, e);
	if (dir < 0)
		return -1;
	record_set(&k->rec.state, "prepared");
	record_set(&k->rec.start_error, "");
	k->rec.restored = false;
	/* started_at stays until the next creation: it tells a used root file system from a new
	 * one. */
	k->rec.pid = k->rec.pid_start = k->rec.monitor = k->rec.monitor_start = 0;
	/* First the record: a leftover exit.json makes it exited, still removable. */
	if (ctr_save(k, e) < 0)
		return -1;
	if (unlinkat(dir, "exit.json", 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove exit.json");
	if (unlinkat(dir, "resources.json", 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove resources.json");
	return 0;
}

int verb_rm(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], CTR_LOCKED | CTR_DAMAGED_OK, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (k.state == CTR_RUNNING && !rm_force)
		return err_set(e, ERR_BAD_STATE, "container %s is running", k.id);
	if ((k.state == CTR_RUNNING || k.state == CTR_CREATED) && !*k.rec.start_error &&
	    kill_and_wait(&k, e) < 0)
		return err_wrap(e, "remove %s", k.id);
	if (ctr_cleanup(&k, e) < 0 || reset(&k, e) < 0)
		return err_wrap(e, "remove %s", k.id);
	event_publish(&c->st, "changed", "container", k.id, k.rec.pod_id, false);
	return 0;
}
