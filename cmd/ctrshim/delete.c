/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "log.h"
#include "proc.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

bool delete_force;

/* Each call to a shim that may be what hangs; and for processes that are about to end. */
enum { CALL_MS = 4000, END_MS = 3000 };

static bool wait_end(pid_t pid, unsigned long long start, int ms)
{
	struct err ignored;
	AUTO_CLOSE int fd = pid > 1 ? proc_open(pid, start, &ignored) : -1;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd < 0 || poll(&p, 1, ms) > 0;
}

static void kill_process(pid_t pid, unsigned long long start)
{
	struct err ignored;
	AUTO_CLOSE int fd = pid > 1 ? proc_open(pid, start, &ignored) : -1;
	if (fd >= 0)
		pidfd_send_signal(fd, SIGKILL, NULL, 0);
}

static int kill_container(struct task *t, const char *id, enum task_state state, struct err *e)
{
	struct err ignored;
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	r.id = (char *)id;
	/* What is frozen does not die. */
	if (state == TASK_PAUSED || state == TASK_PAUSING)
		(void)task_empty(t, "Resume", &r.base, &ignored);
	/* It may be ending by itself: what counts is that it has. */
	if (task_kill(t, id, "", SIGKILL, true, e) < 0 &&
	    task_kill(t, id, "", SIGKILL, false, e) < 0)
		log_debug("kill %s: %s", id, e->msg);
	return task_call(t, "Wait", &r.base, &shim__wait_response__descriptor, NULL, e);
}

/* 0: the shim does not have it any more. */
static int delete_in_shim(struct task *t, const char *id, bool force, struct err *e)
{
	enum task_state state;
	if (task_state(t, id, &state, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (state != TASK_STOPPED && state != TASK_CREATED && !force)
		return err_set(e, ERR_BAD_STATE,
			       "cannot delete container %s that is not stopped: %s", id,
			       state == TASK_PAUSED ? "paused" : "running");
	if (state != TASK_STOPPED && kill_container(t, id, state, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (task_delete(t, id, "", e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	return 0;
}

/* The last container takes the shim with it. */
static void shut_down(struct place *p, struct task *t)
{
	struct err e;
	ProtobufCMessage *never;
	Shim__ShutdownRequest r = SHIM__SHUTDOWN_REQUEST__INIT;
	if (place_sharing(p) > 0)
		return;
	r.id = p->id;
	/* It may be gone before it has answered. */
	if (task_empty(t, "Shutdown", &r.base, &e) < 0)
		log_debug("shutdown: %s", e.msg);
	while (t->rpc.fd >= 0 && ttrpc_receive(&t->rpc, 0, &shim__empty__descriptor,
					       proc_now_ms() + END_MS, &never, &e) == 1)
		protobuf_c_message_free_unpacked(never, NULL);
	if (!wait_end(p->rec.shim_pid, p->rec.shim_start, END_MS))
		boot_kill(p);
}

/* Nobody answers: as containerd does, the shim's program cleans up without a server. */
static int clean_up(struct place *p, struct err *e)
{
	uint32_t status;
	bool shared = place_sharing(p) > 0;
	if (!shared)
		boot_kill(p);
	if (boot_delete(p, &status, e) < 0) {
		/* One that was not even created has nothing to clean up. */
		if (p->rec.complete)
			log_warn("%s", e->msg);
	}
	kill_process(p->rec.pid, p->rec.pid_start);
	if (!wait_end(p->rec.pid, p->rec.pid_start, END_MS))
		return err_set(e, ERR_UNAVAILABLE, "process %d of container %s does not die",
			       (int)p->rec.pid, p->id);
	return 0;
}

int delete_place(struct place *p, bool force, struct err *e)
{
	AUTO_TASK struct task t = TASK_NONE;
	bool reached = *p->rec.address && task_open(&t, p, e) == 0;
	if (t.limit_ms > CALL_MS)
		t.limit_ms = CALL_MS;
	int r = reached ? delete_in_shim(&t, p->id, force, e) : -1;
	if (r < 0 && reached && (e->kind == ERR_BAD_STATE || !force) && e->kind != ERR_UNAVAILABLE)
		return -1;
	if (r == 0)
		shut_down(p, &t);
	else if (clean_up(p, e) < 0)
		return -1;
	if (p->rec.keeper != getpid() && !wait_end(p->rec.keeper, p->rec.keeper_start, END_MS))
		kill_process(p->rec.keeper, p->rec.keeper_start);
	place_remove(p);
	return 0;
}

void undo_place(struct place *p)
{
	struct err e;
	if (delete_place(p, true, &e) == 0)
		return;
	if (clean_up(p, &e) < 0)
		log_warn("%s", e.msg);
	if (p->rec.keeper != getpid())
		kill_process(p->rec.keeper, p->rec.keeper_start);
	place_remove(p);
}

int verb_delete(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	(void)c;
	(void)argc;
	if (place_open(&p, argv[0], true, e) < 0) {
		if (e->kind == ERR_NOT_FOUND && delete_force)
			return 0;
		/* Killed before there was a record: there is nothing but the directory. */
		if (!delete_force || p.lock < 0)
			return -1;
		place_remove(&p);
		return 0;
	}
	return delete_place(&p, delete_force, e);
}
