/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "auto.h"
#include "fixup.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beyond these bytes of a report a helper does what it asks for. */
enum { SMALL_REPORT = 64 << 10 };

static int note_implied(void *arg, const char *path, struct err *e)
{
	struct job *j = arg;
	(void)path;
	(void)e;
	j->implied = true;
	return 0;
}

static int note_link(void *arg, const char *path, struct err *e)
{
	struct job *j = arg;
	j->links = true;
	return note_implied(j, path, e);
}

static int note_opaque(void *arg, const char *path, struct err *e)
{
	struct job *j = arg;
	(void)e;
	j->layer.opaque = j->layer.opaque || !*path;
	return 0;
}

static int note_root(void *arg, const char *path, struct err *e)
{
	struct job *j = arg;
	(void)path;
	(void)e;
	j->layer.root = true;
	return 0;
}

int job_read_report(struct job *j, struct err *e)
{
	const struct unpacker *u = &j->un;
	return unpacker_each(u, 'i', note_implied, j, e) < 0 ||
			       unpacker_each(u, 'l', note_link, j, e) < 0 ||
			       unpacker_each(u, 'o', note_opaque, j, e) < 0 ||
			       unpacker_each(u, 'r', note_root, j, e) < 0
		       ? -1
		       : 0;
}

/* Move the finished tree into the pull's own directory and give the claim back. */
int job_place(struct job *j, struct err *e)
{
	char name[32], to[40];
	if (j->tmp.lock < 0)
		return 0; /* moved already */
	snprintf(name, sizeof name, "layer%zu", j->index);
	snprintf(to, sizeof to, "%s/new", name);
	if (mkdirat(j->p->tmp.dir, name, 0700) < 0 ||
	    renameat(j->tmp.dir, "new", j->p->tmp.dir, to) < 0)
		return err_sys(e, "move unpacked layer");
	int dir = fs_open_dir(j->p->tmp.dir, name, e);
	if (dir < 0 || imgstore_tmp_drop(&j->p->ctx->st, &j->tmp, e) < 0) {
		auto_close(&dir);
		return -1;
	}
	j->tmp.dir = dir;
	return 0;
}

struct placing {
	struct job *job;
	int diff;
	int lower[IMAGE_LAYERS_MAX]; /* nearest first */
	int count;
};

static int on_opaque(void *arg, const char *path, struct err *e)
{
	const struct placing *p = arg;
	return fixup_opaque(p->diff, path, e);
}

static int on_hiding(void *arg, const char *path, struct err *e)
{
	const struct placing *p = arg;
	return fixup_hiding(p->diff, path, e);
}

static int on_implied(void *arg, const char *path, struct err *e)
{
	const struct placing *p = arg;
	return fixup_implied(p->diff, path, p->lower, p->count, e);
}

/* The record behind this one says which file is meant; there is one, as the last is no 'l'. */
static int on_link(void *arg, const char *path, struct err *e)
{
	const struct placing *p = arg;
	const char *target = path + strlen(path) + 1;
	if (target[0] != 'm' || target[1] != ' ')
		return err_set(e, ERR_FAILED, "the unpacking child's report is damaged");
	return fixup_link(p->diff, path, target + 2, p->lower, p->count, &p->job->un.usage, e);
}

static int open_lower(struct job *j, struct placing *p, struct err *e)
{
	char path[100];
	for (size_t i = j->index; i-- > 0;) {
		snprintf(path, sizeof path, "layers/%.64s/diff", j->p->jobs[i].layer.id);
		p->lower[p->count] = fs_open_dir(j->p->ctx->st.root, path, e);
		if (p->lower[p->count] < 0)
			return -1;
		p->count++;
	}
	return 0;
}

static int fix(struct job *j, struct err *e)
{
	struct placing p = {.job = j, .diff = fs_open_dir(j->tmp.dir, "new/diff", e)};
	int rc = p.diff < 0 ? -1 : unpacker_each(&j->un, 'o', on_opaque, &p, e);
	if (rc == 0)
		rc = unpacker_each(&j->un, 'w', on_hiding, &p, e);
	if (rc == 0 && j->implied)
		rc = open_lower(j, &p, e);
	if (rc == 0 && j->implied)
		rc = unpacker_each(&j->un, 'i', on_implied, &p, e);
	if (rc == 0 && j->implied)
		rc = unpacker_each(&j->un, 'l', on_link, &p, e);
	for (int i = 0; i < p.count; i++)
		close(p.lower[i]);
	auto_close(&p.diff);
	return rc;
}

static int finish(void *arg, struct err *e)
{
	struct job *j = arg;
	if (fix(j, e) < 0)
		return -1;
	AUTO_JSON json_t *record = json_pack(
		"{s:i,s:s+,s:I,s:b,s:b,s:b,s:I,s:I}", "version", 1, "diff_id",
		"sha256:", j->p->diff[j->index], "size", (json_int_t)j->layer.size, "implied",
		(int)j->implied, "opaque", (int)j->layer.opaque, "root", (int)j->layer.root,
		"inodes", (json_int_t)j->un.inodes, "usage", (json_int_t)j->un.usage);
	AUTO_CLOSE int dir = fs_open_dir(j->tmp.dir, "new", e);
	struct stat st;
	if (dir < 0)
		return -1;
	bool kept = fstatat(dir, "recipe", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0;
	/* Empty: it could not be completed. */
	if (!kept)
		(void)unlinkat(dir, "recipe", 0);
	json_object_set_new(record, "recipe", json_boolean(kept));
	return jsonx_replace_at(dir, "layer.json", 0600, record, 0, e);
}

/* Files of gigabytes to copy and a million marks to set must not keep the other layers, or who wants
 * to cancel, waiting. */
int job_commit(struct job *j, struct err *e)
{
	const int keep[] = {j->p->ctx->st.root, j->tmp.dir, -1};
	const char *hex = j->implied ? j->p->chain[j->index] : j->p->diff[j->index];
	snprintf(j->layer.id, sizeof j->layer.id, "%s", hex);
	if (!j->links && j->un.report.len <= SMALL_REPORT)
		return finish(j, e) < 0 ? -1 : 1;
	return helper_call(&j->helper, finish, j, keep, e);
}
