/* SPDX-License-Identifier: Apache-2.0 */
#include "story.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { JOURNAL_MAX = 4 << 20, SPEC_MAX = 16 << 20 };

static void read_journals(struct story *s, int dir)
{
	static const char *const names[] = {"journal.1", "journal"};
	struct err ignored;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_BUF struct buf b = BUF_INIT(JOURNAL_MAX);
		if (fs_read_at(dir, names[i], &b, &ignored) == 0 && b.data)
			story_add_journal(s, b.data, b.len);
	}
}

static void read_pod(struct story *s, int dir)
{
	struct err ignored;
	s->config = object_config_read(dir, OBJ_POD, &ignored);
	s->has_rec = pod_record_read_at(dir, &s->rec, &ignored) == 0;
	read_journals(s, dir);
}

static struct story_ctr *add_ctr(struct story *s, const char *id)
{
	if ((s->n_ctrs & (s->n_ctrs - 1)) == 0)
		s->ctrs = xrealloc(s->ctrs, (s->n_ctrs ? 2 * s->n_ctrs : 1) * sizeof *s->ctrs);
	struct story_ctr *c = &s->ctrs[s->n_ctrs++];
	*c = (struct story_ctr){.state = CTR_UNKNOWN};
	memcpy(c->id, id, ID_LEN);
	return c;
}

/* One without a record has empty strings as well: nobody needs to ask twice. */
static void set_empty(struct ctr_record *r)
{
	char **const strings[] = {&r->id,         &r->pod_id,       &r->state,    &r->handler,
				  &r->runtime,    &r->runtime_root, &r->origin,   &r->boot_id,
				  &r->image,      &r->image_id,     &r->log_path, &r->cgroup_path,
				  &r->start_error};
	ctr_record_release(r);
	*r = (struct ctr_record){0};
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		record_set(strings[i], "");
}

static void read_ctr(struct story_ctr *c, int dir)
{
	struct err ignored;
	c->config = object_config_read(dir, OBJ_CONTAINER, &ignored);
	json_t *meta = json_object_get(c->config, "metadata");
	c->name = xstrdup(jsonx_opt_string(meta, "name", ""));
	c->attempt = jsonx_opt_int(meta, "attempt", 0);
	c->has_rec = ctr_record_read_at(dir, &c->rec, &ignored) == 0;
	if (!c->has_rec)
		set_empty(&c->rec);
}

/* The last lines of an open log, from the beginning of a line. */
static void read_log(struct story_ctr *c, int fd, long lines)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || lines <= 0)
		return;
	off_t from = st.st_size > STORY_LOG_MAX ? st.st_size - STORY_LOG_MAX : 0;
	char *text = xmalloc(STORY_LOG_MAX + 1);
	ssize_t n = pread(fd, text, STORY_LOG_MAX, from);
	size_t end = n > 0 ? (size_t)n : 0, at = end;
	/* What follows the lines-th newline from the end. */
	if (at && text[at - 1] == '\n')
		at--;
	while (at > 0 && (text[at - 1] != '\n' || --lines > 0))
		at--;
	c->log_len = end - at;
	memmove(text, text + at, c->log_len);
	text[c->log_len] = '\0';
	c->log = text;
}

/* ---- from this machine */

struct finding {
	struct story *s;
	const struct state *st;
	long lines;
};

/* What its groups say: peaks, and what they have held back. */
static void read_use(struct story_ctr *c)
{
	struct usage_dirs dirs = {0};
	if (c->state != CTR_RUNNING || c->rec.sandboxed)
		return;
	usage_dirs_of(&dirs, (pid_t)c->rec.pid, c->id);
	if (dirs.known)
		usage_read(&dirs, USAGE_ALL, &c->use);
	usage_dirs_release(&dirs);
	struct err ignored;
	struct cgroup_dirs held;
	if (cgroup_hold(&held, (pid_t)c->rec.pid, c->id, &ignored) == 0)
		cgroup_counts_read(&held, &c->so_far);
	cgroup_release(&held);
}

static int take_ctr(void *arg, const char *id, struct err *e)
{
	struct finding *f = arg;
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	(void)e;
	if (ctr_record_read(f->st, id, &r, &ignored) < 0 || strcmp(r.pod_id, f->s->pod) != 0 ||
	    ctr_is_sandbox(&r))
		return 0;
	AUTO_CLOSE int dir = object_open(f->st, OBJ_CONTAINER, id, &ignored);
	if (dir < 0) /* removed meanwhile */
		return 0;
	struct story_ctr *c = add_ctr(f->s, id);
	read_ctr(c, dir);
	if (c->has_rec)
		c->state = ctr_effective(f->st, &c->rec, &c->exit);
	read_use(c);
	AUTO_CLOSE int run = object_open_run(f->st, OBJ_CONTAINER, id, false, &ignored);
	c->spec = run < 0 ? NULL : jsonx_read_at(run, "bundle/config.json", SPEC_MAX, &ignored);
	AUTO_CLOSE int log = !c->has_rec || !*c->rec.log_path
				     ? -1
				     : open(c->rec.log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log >= 0)
		read_log(c, log, f->lines);
	return 0;
}

static int by_age(const void *a, const void *b)
{
	const struct story_ctr *x = a, *y = b;
	if (x->rec.created_at != y->rec.created_at)
		return x->rec.created_at < y->rec.created_at ? -1 : 1;
	return strcmp(x->id, y->id);
}

int story_read(struct story *s, const struct state *st, const struct config *cfg, const char *pod,
	       long log_lines, struct err *e)
{
	struct finding f = {s, st, log_lines};
	*s = (struct story){.crisp = config_dump(cfg)};
	memcpy(s->pod, pod, ID_LEN);
	AUTO_CLOSE int dir = object_open(st, OBJ_POD, pod, e);
	if (dir < 0)
		return -1;
	read_pod(s, dir);
	if (object_each(st, OBJ_CONTAINER, take_ctr, &f, e) < 0)
		return -1;
	if (s->n_ctrs)
		qsort(s->ctrs, s->n_ctrs, sizeof *s->ctrs, by_age);
	return 0;
}

/* ---- from an archive */

static enum ctr_state state_of(const char *name)
{
	for (int i = CTR_PREPARED; i < CTR_UNKNOWN; i++)
		if (strcmp(name, ctr_state_name((enum ctr_state)i)) == 0)
			return (enum ctr_state)i;
	return CTR_UNKNOWN;
}

static void take_captured(struct story *s, const struct arc *a, json_t *row)
{
	struct err ignored;
	const char *id = jsonx_opt_string(row, "id", "");
	AUTO_FREE char *path = xasprintf("containers/%s", id);
	AUTO_CLOSE int dir = fs_open_beneath(a->st.root, path, O_RDONLY | O_DIRECTORY, 0, &ignored);
	struct story_ctr *c = add_ctr(s, id);
	read_ctr(c, dir);
	c->state = state_of(jsonx_opt_string(row, "state", ""));
	/* One that has no end on record is none that ended. */
	if (c->state == CTR_EXITED && exit_record_read_at(dir, &c->exit, &ignored) < 0)
		c->state = CTR_UNKNOWN;
	c->spec = arc_json(a, &ignored, "containers/%s/config.json", id);
	AUTO_CLOSE int log = arc_file(a, &ignored, "containers/%s/log", id);
	if (log >= 0)
		read_log(c, log, STORY_LOG_MAX);
}

int story_read_archive(struct story *s, const struct arc *a, struct err *e)
{
	size_t i;
	json_t *row;
	struct err ignored;
	*s = (struct story){.index = a->index, .crisp = arc_json(a, &ignored, "crisp.json")};
	memcpy(s->pod, a->pod, ID_LEN);
	AUTO_FREE char *path = xasprintf("pods/%s", a->pod);
	AUTO_CLOSE int dir = fs_open_beneath(a->st.root, path, O_RDONLY | O_DIRECTORY, 0, e);
	if (dir < 0)
		return -1;
	read_pod(s, dir);
	json_array_foreach (json_object_get(a->index, "containers"), i, row)
		take_captured(s, a, row);
	return 0;
}

static void ctr_release(struct story_ctr *c)
{
	free(c->name);
	free(c->log);
	json_decref(c->config);
	json_decref(c->spec);
	ctr_record_release(&c->rec);
	exit_record_release(&c->exit);
}

void story_release(struct story *s)
{
	for (size_t i = 0; i < s->n_steps; i++) {
		free(s->steps[i].command);
		free(s->steps[i].rpc);
		free(s->steps[i].req);
		free(s->steps[i].error);
	}
	for (size_t i = 0; i < s->n_ctrs; i++)
		ctr_release(&s->ctrs[i]);
	free(s->steps);
	free(s->ctrs);
	json_decref(s->config);
	json_decref(s->crisp);
	pod_record_release(&s->rec);
}
