/* SPDX-License-Identifier: Apache-2.0 */
#include "ctr.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Longer than any call of a runtime that another holder of the lock may be waiting for. */
static int lock_timeout_ms(const struct tool_ctx *c)
{
	return ((int)c->cfg.runtime_timeout + 30) * 1000;
}

/* Which of the handlers' runtimes knows the container; for a record that cannot tell. */
static void guess_runtime(struct ctr *k)
{
	AUTO_JSON json_t *names = handler_list(&k->c->cfg);
	size_t i;
	json_t *name;
	struct err ignored;
	json_array_foreach (names, i, name) {
		struct handler h;
		if (handler_find(&h, &k->c->cfg, json_string_value(name), &ignored) < 0)
			continue;
		AUTO_FREE char *dir = xasprintf("%s/%s", h.root, k->id);
		if (access(dir, F_OK) == 0) {
			record_set(&k->rec.handler, h.name);
			record_set(&k->rec.runtime, h.path);
			record_set(&k->rec.runtime_root, h.root);
			k->handler = h;
			return;
		}
		handler_release(&h);
	}
}

static void make_up_record(struct ctr *k)
{
	ctr_record_release(&k->rec);
	char **members[] = {&k->rec.id,         &k->rec.pod_id,   &k->rec.state,
			    &k->rec.handler,    &k->rec.runtime,  &k->rec.runtime_root,
			    &k->rec.origin,     &k->rec.boot_id,  &k->rec.image,
			    &k->rec.image_id,   &k->rec.log_path, &k->rec.cgroup_path,
			    &k->rec.start_error};
	k->rec = (struct ctr_record){.complete = true};
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		record_set(members[i], "");
	record_set(&k->rec.id, k->id);
	record_set(&k->rec.state, "prepared");
	record_set(&k->rec.boot_id, state_boot_id());
	k->damaged = true;
	guess_runtime(k);
}

int ctr_open(struct ctr *k, const struct tool_ctx *c, const char *typed, int flags, struct err *e)
{
	struct err ignored;
	k->c = c;
	if (object_resolve(&c->st, OBJ_CONTAINER, typed, k->id, e) < 0)
		return -1;
	if (flags & CTR_LOCKED) {
		k->lock = object_lock(&c->st, OBJ_CONTAINER, k->id, lock_timeout_ms(c), e);
		if (k->lock < 0)
			return -1;
	}
	if (ctr_record_read(&c->st, k->id, &k->rec, e) < 0) {
		/* A whole id needs no directory to resolve. */
		AUTO_CLOSE int dir = object_open(&c->st, OBJ_CONTAINER, k->id, &ignored);
		if (dir < 0 || !(flags & CTR_DAMAGED_OK))
			return -1;
		log_warn("%s", e->msg);
		make_up_record(k);
	} else if (*k->rec.handler) {
		(void)handler_find(&k->handler, &c->cfg, k->rec.handler, &ignored);
	}
	ctr_look(k);
	return 0;
}

void ctr_release(struct ctr *k)
{
	ctr_record_release(&k->rec);
	exit_record_release(&k->exit);
	handler_release(&k->handler);
	auto_close(&k->lock);
	k->lock = -1;
}

void ctr_look(struct ctr *k)
{
	exit_record_release(&k->exit);
	k->state = ctr_effective(&k->c->st, &k->rec, &k->exit);
}

int ctr_save(struct ctr *k, struct err *e)
{
	return ctr_record_write(&k->c->st, &k->rec, e);
}

int ctr_write_exit(struct ctr *k, int64_t code, const char *reason, const char *message,
		   struct err *e)
{
	char why[32], words[1024], none[1] = "";
	snprintf(why, sizeof why, "%s", reason);
	snprintf(words, sizeof words, "%s", message);
	struct exit_record x = {
		.exit_code = code,
		.started_at = k->rec.started_at,
		.finished_at = record_now_ns(),
		.reason = why,
		.message = words,
		.stderr_tail = none,
	};
	return exit_record_write(&k->c->st, k->id, &x, e);
}

int ctr_run_dir(const struct ctr *k, struct err *e)
{
	return object_open_run(&k->c->st, OBJ_CONTAINER, k->id, true, e);
}

int ctr_pidfd(const struct ctr *k)
{
	struct err ignored;
	if (k->rec.pid <= 0 || strcmp(k->rec.boot_id, state_boot_id()) != 0)
		return -1;
	return proc_open((pid_t)k->rec.pid, (unsigned long long)k->rec.pid_start, &ignored);
}

void ctr_blame_end(struct ctr *k, struct err *e)
{
	AUTO_CLOSE int pidfd = ctr_pidfd(k);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	ctr_look(k);
	if (k->state == CTR_EXITED || pidfd < 0 || poll(&p, 1, 0) > 0) {
		err_wrap(e, "container %s has ended", k->id);
		e->kind = ERR_BAD_STATE;
	}
}

/* "PID START" in a lock that is held. */
static int pidfd_of_lock(const struct ctr *k)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(64);
	AUTO_CLOSE int dir = object_open_run(&k->c->st, OBJ_CONTAINER, k->id, false, &ignored);
	if (dir < 0 || fs_is_locked_at(dir, "monitor.lock", &ignored) != 1 ||
	    fs_read_at(dir, "monitor.lock", &b, &ignored) < 0 || !b.data)
		return -1;
	char *end;
	long pid = strtol(b.data, &end, 10);
	if (pid <= 1 || *end != ' ')
		return -1;
	return proc_open((pid_t)pid, strtoull(end, NULL, 10), &ignored);
}

int ctr_monitor_pidfd(const struct ctr *k)
{
	struct err ignored;
	int fd = -1;
	if (k->rec.monitor > 0 && strcmp(k->rec.boot_id, state_boot_id()) == 0)
		fd = proc_open((pid_t)k->rec.monitor, (unsigned long long)k->rec.monitor_start,
			       &ignored);
	/* Dead, though nobody has reaped it. */
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (fd >= 0 && poll(&p, 1, 0) == 0)
		return fd;
	auto_close(&fd);
	/* It may have a successor that is not in the record. */
	return pidfd_of_lock(k);
}
