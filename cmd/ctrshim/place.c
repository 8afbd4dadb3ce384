/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_FILE "shim.json"
struct shim_opts opts = {.root = "/run/ctrshim",
			 .log = "",
			 .log_format = "text",
			 .shim = "/usr/bin/containerd-shim-runc-v2",
			 .space = "crisp",
			 .options = "",
			 .binary = "",
			 .config = ""};

enum { RECORD_MAX = 1 << 16, ID_LEN_MAX = 128, LOCK_MS = 20000 };

int id_check(const char *id, struct err *e)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.+-";
	size_t n = strlen(id);
	if (n == 0 || n > ID_LEN_MAX || strchr("_.+-", *id) || strspn(id, letters) != n)
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not a container's id", id);
	return 0;
}

void record_string(char **field, const char *value)
{
	char *old = *field;
	*field = xstrdup(value ? value : "");
	free(old);
}

static void record_release(struct record *r)
{
	char *all[] = {r->bundle, r->shim, r->space, r->address, r->events};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		free(all[i]);
	*r = (struct record){0};
}

void place_close(struct place *p)
{
	free(p->id);
	free(p->path);
	auto_close(&p->dir);
	auto_close(&p->lock);
	record_release(&p->rec);
	*p = PLACE_NONE;
}

int place_save(struct place *p, struct err *e)
{
	const struct record *r = &p->rec;
	AUTO_JSON json_t *j = json_pack(
		"{s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:i, s:I, s:i, s:I, s:I}",
		"version", 1, "complete", r->complete, "bundle", r->bundle, "shim", r->shim,
		"namespace", r->space, "address", r->address, "events", r->events, "api", r->api,
		"keeper", (int)r->keeper, "keeper_start", (json_int_t)r->keeper_start, "pid",
		(int)r->pid, "pid_start", (json_int_t)r->pid_start, "shim_pid", (int)r->shim_pid,
		"shim_start", (json_int_t)r->shim_start, "created_at", (json_int_t)r->created_at);
	if (!j)
		return err_set(e, ERR_BAD_INPUT, "container %s: a path is not UTF-8", p->id);
	return jsonx_replace_at(p->dir, RECORD_FILE, 0600, j, 0, e);
}

static int load(struct place *p, struct err *e)
{
	struct record *r = &p->rec;
	AUTO_JSON json_t *j = jsonx_read_at(p->dir, RECORD_FILE, RECORD_MAX, e);
	if (!j)
		return err_wrap(e, "container %s", p->id);
	record_release(r);
	r->complete = jsonx_opt_bool(j, "complete", false);
	record_string(&r->bundle, jsonx_opt_string(j, "bundle", ""));
	record_string(&r->shim, jsonx_opt_string(j, "shim", ""));
	record_string(&r->space, jsonx_opt_string(j, "namespace", ""));
	record_string(&r->address, jsonx_opt_string(j, "address", ""));
	record_string(&r->events, jsonx_opt_string(j, "events", ""));
	r->api = (int)jsonx_opt_int(j, "api", 2);
	r->keeper = (pid_t)jsonx_opt_int(j, "keeper", 0);
	r->keeper_start = (unsigned long long)jsonx_opt_int(j, "keeper_start", 0);
	r->pid = (pid_t)jsonx_opt_int(j, "pid", 0);
	r->pid_start = (unsigned long long)jsonx_opt_int(j, "pid_start", 0);
	r->shim_pid = (pid_t)jsonx_opt_int(j, "shim_pid", 0);
	r->shim_start = (unsigned long long)jsonx_opt_int(j, "shim_start", 0);
	r->created_at = jsonx_opt_int(j, "created_at", 0);
	return 0;
}

static int name_place(struct place *p, const char *id, struct err *e)
{
	*p = PLACE_NONE;
	if (id_check(id, e) < 0)
		return -1;
	p->id = xstrdup(id);
	p->path = xasprintf("%s/%s", opts.root, id);
	return 0;
}

int place_make(struct place *p, const char *id, struct err *e)
{
	if (name_place(p, id, e) < 0 || fs_mkdirs(AT_FDCWD, opts.root, 0700, e) < 0)
		return -1;
	if (mkdir(p->path, 0700) < 0 && errno == EEXIST)
		return err_set(e, ERR_EXISTS, "container with id exists already: %s", id);
	p->dir = fs_open_dir(AT_FDCWD, p->path, e);
	if (p->dir < 0 || (p->lock = fs_lock_at(p->dir, "lock", LOCK_MS, e)) < 0)
		return -1;
	record_string(&p->rec.bundle, "");
	record_string(&p->rec.shim, opts.shim);
	record_string(&p->rec.space, opts.space);
	record_string(&p->rec.address, "");
	record_string(&p->rec.events, "");
	p->rec.api = 2;
	return 0;
}

/* Who waited for the lock may find that the container was removed meanwhile. */
static bool is_gone(const struct place *p)
{
	struct stat here, there;
	return fstat(p->dir, &here) < 0 || stat(p->path, &there) < 0 ||
	       here.st_ino != there.st_ino || here.st_dev != there.st_dev;
}

int place_open(struct place *p, const char *id, bool lock, struct err *e)
{
	if (name_place(p, id, e) < 0)
		return -1;
	p->dir = fs_open_dir(AT_FDCWD, p->path, e);
	if (p->dir < 0 && e->kind == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "container %s does not exist", id);
	if (p->dir < 0)
		return -1;
	if (lock && (p->lock = fs_lock_at(p->dir, "lock", LOCK_MS, e)) < 0)
		return err_wrap(e, "container %s", id);
	if (lock && is_gone(p))
		return err_set(e, ERR_NOT_FOUND, "container %s does not exist", id);
	return load(p, e);
}

void place_remove(struct place *p)
{
	struct err e;
	if (*p->rec.events)
		unlink(p->rec.events);
	(void)fs_remove_tree(AT_FDCWD, p->path, &e);
}

int place_sharing(const struct place *p)
{
	int count = 0;
	AUTO_CLOSEDIR DIR *d = opendir(opts.root);
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		struct err ignored;
		AUTO_PLACE struct place other = PLACE_NONE;
		if (de->d_name[0] != '.' && strcmp(de->d_name, p->id) != 0 &&
		    place_open(&other, de->d_name, false, &ignored) == 0 && other.rec.address)
			count += strcmp(other.rec.address, p->rec.address) == 0;
	}
	return count;
}
