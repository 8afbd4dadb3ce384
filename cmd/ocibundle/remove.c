/* SPDX-License-Identifier: Apache-2.0 */
#include "ocibundle.h"

#include "auto.h"
#include "event.h"
#include "fs.h"
#include "journal.h"
#include "overlay.h"
#include "proc.h"
#include "record.h"
#include "xalloc.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOCK_MS = 10000 };

/* The runtime directory as the kernel names it: mount points are listed without symlinks. */
static int unmount_all(const struct state *s, const char *id, struct err *e)
{
	char link[32], run[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", s->run);
	ssize_t n = readlink(link, run, sizeof run - 1);
	if (n < 0)
		return err_sys(e, "path of %s", s->run_path);
	run[n] = '\0';
	AUTO_FREE char *path =
		xasprintf("%s/%s/%s", n == 1 ? "" : run, object_dir_name(OBJ_CONTAINER), id);
	return unmount_below(path, e);
}

int remove_remains(const struct state *s, const char *id, struct err *e)
{
	if (unmount_all(s, id, e) < 0)
		return -1;
	return object_discard(s, OBJ_CONTAINER, id, e);
}

/* A damaged record says nothing; the monitor's lock still tells whether somebody lives. */
static int refuse_running(const struct state *s, const char *id, const struct ctr_record *r,
			  struct err *e)
{
	struct err ignored;
	AUTO_EXIT_RECORD struct exit_record x = {0};
	AUTO_CLOSE int run = object_open_run(s, OBJ_CONTAINER, id, false, &ignored);
	int locked = run < 0 ? 0 : fs_is_locked_at(run, "monitor.lock", e);
	if (locked < 0)
		return -1;
	enum ctr_state state = r->id ? ctr_effective(s, r, &x) : CTR_UNKNOWN;
	/* The monitor of an ended container may have a last line to write: it needs no mount. */
	if (state == CTR_EXITED)
		return 0;
	if (locked || (r->id && !*r->start_error && (state == CTR_RUNNING || state == CTR_CREATED)))
		return err_set(e, ERR_BAD_STATE, "container %s is %s: stop it first (ctrrun)", id,
			       r->id ? ctr_state_name(state) : "watched by a monitor");
	return 0;
}

static void read_record(const struct state *s, const char *id, struct ctr_record *r)
{
	struct err damaged;
	if (ctr_record_read(s, id, r, &damaged) == 0)
		return;
	ctr_record_release(r);
	*r = (struct ctr_record){0};
}

static int remove_locked(const struct state *s, const char *id, struct err *e)
{
	int64_t began = record_now_ns();
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_CLOSE int lock = object_lock(s, OBJ_CONTAINER, id, LOCK_MS, e);
	if (lock < 0)
		/* Gone, or going: but its run directory may be left. */
		return e->kind == ERR_NOT_FOUND && id_is_valid(id) ? remove_remains(s, id, e) : -1;
	read_record(s, id, &r);
	if (refuse_running(s, id, &r, e) < 0)
		return -1;
	int status = remove_remains(s, id, e);
	const char *words[] = {"rm", id, NULL};
	if (r.pod_id && id_is_valid(r.pod_id)) {
		journal_by_hand(s, r.pod_id, words, NULL, began, status < 0 ? e : NULL);
		if (status == 0)
			event_publish(s, "removed", "container", id, r.pod_id, false);
	}
	return status;
}

static int print_dry(const struct state *s, const char *id, struct err *e)
{
	const char *kind = object_dir_name(OBJ_CONTAINER);
	AUTO_CTR_RECORD struct ctr_record r = {0};
	read_record(s, id, &r);
	if (refuse_running(s, id, &r, e) < 0)
		return -1;
	printf("unmount what is below %s/%s/%s\nremove %s/%s/%s\nremove %s/%s/%s\n", s->run_path,
	       kind, id, s->run_path, kind, id, s->root_path, kind, id);
	return 0;
}

int remove_container(const struct state *s, const char *typed, bool dry_run, struct err *e)
{
	char id[ID_SIZE];
	if (object_resolve(s, OBJ_CONTAINER, typed, id, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	return dry_run ? print_dry(s, id, e) : remove_locked(s, id, e);
}
