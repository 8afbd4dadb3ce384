/* SPDX-License-Identifier: Apache-2.0 */
/* A command that ctrrun exec runs must not outlive it, also when it is killed: then the kernel
 * closes its connection, and we end what its pid file names. */
#include "auto.h"
#include "cgroup.h"
#include "flatjson.h"
#include "fs.h"
#include "log.h"
#include "monitor.h"
#include "proctree.h"

#include <stdio.h>
#include <string.h>

/* The runtime dies with ctrrun, but may be about to write the file. */
enum { LATE_MS = 500, GUARDS_MAX = CTL_CLIENTS - 32 };

/* Some places are kept for who asks and attaches. */
static bool is_crowded(const struct monitor *m)
{
	size_t n = 0;
	for (size_t i = 0; i < m->ctl.high; i++)
		n += m->ctl.client[i].guard[0] != '\0';
	return n >= GUARDS_MAX;
}

int guard_begin(struct ctl_client *c, const char *text, size_t len, struct err *e)
{
	if (is_crowded(c->m))
		return err_set(e, ERR_EXHAUSTED, "guard: there are %d already", GUARDS_MAX);
	if (c->guard[0] || !flatjson_string(text, len, "pid_file", c->guard, sizeof c->guard) ||
	    strncmp(c->guard, "exec.", 5) != 0 || strchr(c->guard, '/')) {
		c->guard[0] = '\0';
		return err_set(e, ERR_BAD_INPUT, "guard: no pid file of an exec");
	}
	return 0;
}

/* The number that the runtime knows the command by is beside its pid file. */
static bool end_inside(struct monitor *m, const char *pid_file)
{
	struct err e;
	char name[64], number[16];
	struct proc p;
	AUTO_BUF struct buf b = BUF_INIT(32);
	snprintf(name, sizeof name, "%s.inside", pid_file);
	if (fs_read_at(m->run_dir, name, &b, &e) < 0 || !b.len)
		return false;
	snprintf(number, sizeof number, "%ld", strtol(b.data, NULL, 10));
	unlinkat(m->run_dir, name, 0);
	unlinkat(m->run_dir, pid_file, 0);
	log_info("process %s in the sandbox has lost its ctrrun exec", number);
	/* Its end is reaped with the orphans. */
	if (runtime_verb(m, &p, -1, "kill", "--pid", number, "KILL", &e) < 0)
		log_warn("kill --pid %s: %s", number, e.msg);
	else
		close(p.pidfd);
	return true;
}

static bool end_command(struct monitor *m, const char *pid_file)
{
	struct err ignored;
	if (m->opts->sandboxed)
		return end_inside(m, pid_file);
	char second[64];
	AUTO_BUF struct buf b = BUF_INIT(32);
	AUTO_BUF struct buf inside = BUF_INIT(32);
	/* The first may be a stand-in's (runtime.c), the second is of the command then. */
	snprintf(second, sizeof second, "%s.container", pid_file);
	if (fs_read_at(m->run_dir, pid_file, &b, &ignored) < 0 || !b.len)
		return false;
	bool stands_in = fs_read_at(m->run_dir, second, &inside, &ignored) == 0 && inside.len;
	long pid = strtol(stands_in ? inside.data : b.data, NULL, 10);
	unlinkat(m->run_dir, pid_file, 0);
	unlinkat(m->run_dir, second, 0);
	/* The number may be somebody else's by now: only what is in the container is ended. */
	AUTO_CLOSE int group = pid > 1 && pid <= INT32_MAX && pid != runtime_pid(m)
				       ? cgroup_open_of((pid_t)pid, m->id, &ignored)
				       : -1;
	if (group < 0)
		return true;
	log_info("process %ld has lost its ctrrun exec", pid);
	proctree_kill((pid_t)pid, proctree_session((pid_t)pid));
	return true;
}

static void on_late(struct timer *t)
{
	struct ctl_client *c = t->arg;
	end_command(c->m, c->guard);
	c->guard[0] = '\0';
}

void guard_end(struct ctl_client *c)
{
	if (!c->guard[0])
		return;
	if (c->m->state == MON_RUNNING && !end_command(c->m, c->guard))
		loop_timer(c->m->loop, &c->late, LATE_MS, on_late, c);
	else
		c->guard[0] = '\0';
}

void guard_release(struct ctl_client *c)
{
	loop_timer_cancel(c->m->loop, &c->late);
	c->guard[0] = '\0';
}
