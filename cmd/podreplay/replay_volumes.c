/* SPDX-License-Identifier: Apache-2.0 */
/* What stands for the host paths of the captured pod: the files of the archive, an empty directory or
 * file, or a path that --volume names. */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct filling {
	const struct replay *r;
	size_t n;
	int dir; /* volumes/<n> here */
};

static mode_t mode_of(json_t *en)
{
	const char *s = jsonx_opt_string(en, "mode", "");
	return (mode_t)(*s ? strtoul(s, NULL, 8) & 01777 : 0755);
}

/* Owner and mode as they were; a user that cannot exist here is left out. */
static int set_owner(int dir, const char *name, json_t *en, bool link, struct err *e)
{
	json_int_t uid = jsonx_opt_int(en, "uid", 0), gid = jsonx_opt_int(en, "gid", 0);
	if (uid < 0 || gid < 0 || uid >= 0xffffffffLL || gid >= 0xffffffffLL)
		return err_set(e, ERR_BAD_INPUT, "%.200s: no owner", name);
	if (fchownat(dir, name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "chown %.200s", name);
	if (!link && fchmodat(dir, name, mode_of(en), 0) < 0)
		return err_sys(e, "chmod %.200s", name);
	return 0;
}

/* The directory that has path, through no link, and its last part. */
static int open_parent(const struct filling *f, const char *path, const char **leaf, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *place = xasprintf("volumes/0/%s", path);
	/* The rule for names of the archive is the right one for these, too. */
	if (!arc_path_is_valid(place))
		return err_set(e, ERR_BAD_INPUT, "volume %zu: '%.200s' is no path", f->n, path);
	*leaf = slash ? slash + 1 : path;
	if (!slash)
		return fcntl(f->dir, F_DUPFD_CLOEXEC, 3);
	AUTO_FREE char *parent = xstrndup(path, (size_t)(slash - path));
	return fs_open_beneath(f->dir, parent, O_RDONLY | O_DIRECTORY, 0, e);
}

/* A file's bytes, with the values that were left out; nothing when the archive has not got it. */
static int copy_file(const struct filling *f, int dir, const char *name, const char *from,
		     struct err *e)
{
	size_t len;
	AUTO_BUF struct buf b = BUF_INIT(ARC_FILE_MAX);
	AUTO_CLOSE int fd =
		fs_open_beneath(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, e);
	if (fd < 0)
		return -1;
	if (faccessat(f->r->arc.st.root, from, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (fs_read_at(f->r->arc.st.root, from, &b, e) < 0)
		return -1;
	AUTO_FREE char *text = replay_fill_text(f->r, b.data ? b.data : "", b.len, &len);
	return fs_write_all(fd, text, len, e);
}

static int put_entry(const struct filling *f, json_t *en, const char *type, struct err *e)
{
	const char *path = jsonx_opt_string(en, "path", ""), *leaf = path;
	const char *target = jsonx_opt_string(en, "target", "");
	AUTO_CLOSE int dir = open_parent(f, path, &leaf, e);
	if (dir < 0)
		return -1;
	if (strcmp(type, "dir") == 0) {
		if (mkdirat(dir, leaf, 0700) < 0)
			return err_sys(e, "volume %zu: mkdir %.200s", f->n, path);
		return 0;
	}
	if (strcmp(type, "link") == 0) {
		if (*target && symlinkat(target, dir, leaf) < 0)
			return err_sys(e, "volume %zu: link %.200s", f->n, path);
		return *target ? set_owner(dir, leaf, en, true, e) : 0;
	}
	AUTO_FREE char *from = xasprintf("volumes/%zu/%s", f->n, path);
	return copy_file(f, dir, leaf, from, e) < 0 ? -1 : set_owner(dir, leaf, en, false, e);
}

/* Owners of directories last, and the deepest first: one may be closed even to us. */
static int set_dirs(const struct filling *f, json_t *entries, struct err *e)
{
	for (size_t i = json_array_size(entries); i-- > 0;) {
		json_t *en = json_array_get(entries, i);
		const char *leaf = "";
		if (strcmp(jsonx_opt_string(en, "type", ""), "dir") != 0)
			continue;
		AUTO_CLOSE int dir = open_parent(f, jsonx_opt_string(en, "path", ""), &leaf, e);
		if (dir < 0 || set_owner(dir, leaf, en, false, e) < 0)
			return -1;
	}
	return 0;
}

static int put_entries(const struct filling *f, json_t *entries, struct err *e)
{
	/* Links last, so that nothing is made through one. */
	static const char *const order[] = {"dir", "file", "link"};
	for (size_t k = 0; k < ARRAY_LEN(order); k++) {
		size_t i;
		json_t *en;
		json_array_foreach (entries, i, en)
			if (strcmp(jsonx_opt_string(en, "type", ""), order[k]) == 0 &&
			    put_entry(f, en, order[k], e) < 0)
				return -1;
	}
	return set_dirs(f, entries, e);
}

static int make_one(const struct replay *r, int volumes, size_t n, json_t *v, struct err *e)
{
	char name[24];
	AUTO_FREE char *from = xasprintf("volumes/%zu.file", n);
	struct filling f = {.r = r, .n = n, .dir = -1};
	json_t *entries = json_object_get(v, "entries");
	const char *type = jsonx_opt_string(v, "type", "dir");
	snprintf(name, sizeof name, "%zu", n);
	if (strcmp(type, "dir") != 0 && strcmp(type, "missing") != 0) {
		json_t *en = json_array_get(entries, 0);
		return copy_file(&f, volumes, name, from, e) < 0
			       ? -1
			       : set_owner(volumes, name, en ? en : v, false, e);
	}
	if (mkdirat(volumes, name, 0700) < 0)
		return err_sys(e, "mkdir volumes/%s", name);
	f.dir = fs_open_dir(volumes, name, e);
	int done = f.dir < 0 ? -1 : put_entries(&f, entries, e);
	auto_close(&f.dir);
	return done < 0 ? -1 : set_owner(volumes, name, v, false, e);
}

/* --volume RECORDED=HERE */
static int take_options(struct replay *r, struct err *e)
{
	const struct opt_strings *o = &r->opt->volumes;
	for (int i = 0; i < o->count; i++) {
		const char *eq = strchr(o->v[i], '=');
		if (!eq || o->v[i][0] != '/' || eq[1] != '/')
			return err_set(e, ERR_USAGE,
				       "--volume: '%.200s' is not like /RECORDED=/HERE", o->v[i]);
		if (access(eq + 1, F_OK) < 0)
			return err_sys(e, "--volume: %.200s", eq + 1);
		AUTO_FREE char *host = xstrndup(o->v[i], (size_t)(eq - o->v[i]));
		json_object_set_new(r->volumes, host, json_string(eq + 1));
	}
	return 0;
}

int replay_make_volumes(struct replay *r, struct err *e)
{
	size_t n;
	json_t *row;
	AUTO_FREE char *path = xasprintf("%s/volumes", r->base);
	AUTO_CLOSE int volumes = fs_open_dir(AT_FDCWD, path, e);
	r->volumes = json_object();
	if (volumes < 0 || take_options(r, e) < 0)
		return -1;
	json_array_foreach (json_object_get(r->arc.index, "volumes"), n, row) {
		const char *host = jsonx_opt_string(row, "host_path", "");
		if (json_object_get(r->volumes, host))
			continue;
		AUTO_JSON json_t *v = arc_json(&r->arc, e, "volumes/%zu.json", n);
		if (!v || make_one(r, volumes, n, v, e) < 0)
			return err_wrap(e, "volume %zu (%.200s)", n, host);
		if (!jsonx_opt_bool(row, "captured", false))
			log_info("%s is not in the archive: an empty %s stands for it", host,
				 jsonx_opt_string(v, "type", "dir"));
		json_object_set_new(r->volumes, host, json_sprintf("%s/%zu", path, n));
	}
	return 0;
}
