/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ckpt.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PART ".crisp-checkpoint-part"
enum { THAW_WAIT_MS = 60000 };

static int check_running(const struct ctr *k, struct err *e)
{
	if (k->state != CTR_RUNNING)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", k->id,
			       ctr_state_name(k->state));
	if (ctr_is_paused(k))
		return err_set(e, ERR_BAD_STATE, "container %s is paused", k->id);
	return ckpt_can(k, e);
}

/* ---- one container, as an archive */

/* The directory of the container into a tar beside the file, which is then renamed over it. */
static int pack(const struct cut *cut, const char *file, struct err *e)
{
	char self[32];
	AUTO_FREE char *part = xasprintf("%s" PART, file);
	AUTO_CLOSE int dir = fs_open_dir(cut->out, cut->ctrs[0].id, e);
	if (dir < 0)
		return -1;
	AUTO_FREE char *copy = xstrdup(file);
	/* Without a name until it is whole, so that nothing is left if we are killed. */
	AUTO_CLOSE int fd = open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "create %s", file);
	if (ckpt_tar(dir, fd, NULL, e) < 0 || cut_go_on(cut, e) < 0)
		return -1;
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	unlink(part);
	if (linkat(AT_FDCWD, self, AT_FDCWD, part, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(e, "create %s", part);
	if (rename(part, file) == 0)
		return 0;
	err_sys(e, "create %s", file);
	unlink(part);
	return -1;
}

static int save(struct cut *cut, const struct ctr *k, const char *file, struct err *e)
{
	struct err late;
	AUTO_FREE char *path = xasprintf("%s/containers/%s/captured", k->c->st.root_path, k->id);
	AUTO_CLOSE int own = object_open(&k->c->st, OBJ_CONTAINER, k->id, e);
	/* What a killed one has left goes first. */
	if (own < 0 || fs_remove_tree(own, "captured", e) < 0)
		return -1;
	if (mkdirat(own, "captured", 0700) < 0)
		return err_sys(e, "create %s", path);
	cut->path = path;
	cut->out = fs_open_dir(own, "captured", e);
	int r = cut->out < 0 ? -1 : cut_run(cut, e);
	if (r == 0)
		r = pack(cut, file, e);
	if (fs_remove_tree(own, "captured", &late) < 0)
		log_warn("%s", late.msg);
	return r;
}

int verb_checkpoint(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr look = CTR_NONE;
	struct cut cut = {.out = -1, .signals = -1, .run = -1, .lock = -1};
	const char *file = argv[1];
	(void)argc;
	if (*file != '/' || file[strlen(file) - 1] == '/')
		return err_set(e, ERR_BAD_INPUT,
			       "location '%.200s': not the absolute path of a file", file);
	if (ckpt_options_parse(&cut.options, false, e) < 0 ||
	    ctr_open(&look, c, argv[0], 0, e) < 0 || check_running(&look, e) < 0)
		return -1;
	int r = cut_begin(&cut, c, look.rec.pod_id, e);
	if (r == 0) {
		cut.ctrs = xcalloc(1, sizeof *cut.ctrs);
		cut.ctrs[0] = CTR_NONE;
		cut.n = 1;
		r = ctr_open(&cut.ctrs[0], c, look.id, CTR_LOCKED, e);
	}
	if (r == 0)
		r = check_running(&cut.ctrs[0], e);
	if (r == 0)
		r = save(&cut, &cut.ctrs[0], file, e);
	cut_end(&cut);
	return r;
}

/* ---- all of a pod, as a directory */

static int open_empty(const char *path, struct err *e)
{
	if (*path != '/')
		return err_set(e, ERR_BAD_INPUT, "output path '%.200s': not absolute", path);
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, path, e);
	int copy = dir < 0 ? -1 : fs_open_dir(dir, ".", e);
	AUTO_CLOSEDIR DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;
	while (d && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			return err_set(e, ERR_BAD_INPUT, "output path %s is not empty: %s", path,
				       de->d_name);
	return d ? TAKE_FD(dir) : -1;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct ctr *)a)->id, ((const struct ctr *)b)->id);
}

/* All, locked in one order whoever names them how. */
static int open_all(struct cut *cut, int n, char **typed, struct err *e)
{
	cut->ctrs = xcalloc((size_t)n, sizeof *cut->ctrs);
	for (; cut->n < (size_t)n; cut->n++) {
		cut->ctrs[cut->n] = CTR_NONE;
		if (object_resolve(&cut->c->st, OBJ_CONTAINER, typed[cut->n], cut->ctrs[cut->n].id,
				   e) < 0)
			return -1;
	}
	qsort(cut->ctrs, cut->n, sizeof *cut->ctrs, by_id);
	for (size_t i = 1; i < cut->n; i++)
		if (strcmp(cut->ctrs[i].id, cut->ctrs[i - 1].id) == 0)
			return err_set(e, ERR_BAD_INPUT, "container %s is named twice",
				       cut->ctrs[i].id);
	for (size_t i = 0; i < cut->n; i++) {
		struct ctr *k = &cut->ctrs[i];
		char id[ID_SIZE];
		memcpy(id, k->id, sizeof id);
		if (cut_go_on(cut, e) < 0 || ctr_open(k, cut->c, id, CTR_LOCKED, e) < 0)
			return -1;
		if (strcmp(k->rec.pod_id, cut->pod) != 0)
			return err_set(e, ERR_BAD_INPUT, "container %s is not of pod %s", k->id,
				       cut->pod);
		if (check_running(k, e) < 0)
			return -1;
		if (strcmp(k->rec.runtime, cut->ctrs[0].rec.runtime) != 0)
			return err_set(e, ERR_BAD_STATE, "the containers have several runtimes");
	}
	return 0;
}

static json_t *describe(const struct cut *cut, struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	AUTO_CLOSE int dir = object_open(&cut->c->st, OBJ_POD, cut->pod, e);
	json_t *pod = dir < 0 ? NULL : object_config_read(dir, OBJ_POD, e);
	if (!pod)
		return NULL;
	for (size_t i = 0; i < cut->n; i++) {
		const struct ctr *k = &cut->ctrs[i];
		AUTO_CLOSE int own = object_open(&cut->c->st, OBJ_CONTAINER, k->id, e);
		AUTO_JSON json_t *conf = own < 0 ? NULL : object_config_read(own, OBJ_CONTAINER, e);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s}", "name",
				  jsonx_opt_string(json_object_get(conf, "metadata"), "name", ""),
				  "id", k->id, "image_id", k->rec.image_id));
	}
	AUTO_FREE char *path = xstrdup(cut->ctrs[0].rec.runtime);
	return json_pack("{s:i, s:s, s:s, s:o, s:I, s:O}", "version", 1, "runtime", basename(path),
			 "handler", cut->ctrs[0].rec.handler, "pod", pod, "created_at",
			 (json_int_t)record_now_ns(), "containers", list);
}

static int capture_pod(struct cut *cut, const char *path, int n, char **typed, struct err *e)
{
	struct err late;
	AUTO_POD_RECORD struct pod_record pod = {0};
	cut->path = path;
	cut->out = open_empty(path, e);
	if (cut->out < 0 || pod_record_read(&cut->c->st, cut->pod, &pod, e) < 0)
		return -1;
	if (strcmp(pod.state, "ready") != 0)
		return err_set(e, ERR_BAD_STATE, "pod %s is %s, not ready", cut->pod, pod.state);
	if (open_all(cut, n, typed, e) < 0 || cut_run(cut, e) < 0)
		return -1;
	AUTO_JSON json_t *j = describe(cut, e);
	if (j && cut_go_on(cut, e) == 0 &&
	    jsonx_replace_bounded_at(cut->out, CKPT_FILE, 0600, j, CKPT_JSON_MAX, e) == 0)
		return 0;
	for (size_t i = 0; i < cut->n; i++)
		if (fs_remove_tree(cut->out, cut->ctrs[i].id, &late) < 0)
			log_warn("%s", late.msg);
	return -1;
}

int verb_checkpoint_pod(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char pod[ID_SIZE];
	struct cut cut = {.out = -1, .signals = -1, .run = -1, .lock = -1};
	if (argc - 2 > CKPT_CTRS_MAX)
		return err_set(e, ERR_BAD_INPUT, "more than %d containers", CKPT_CTRS_MAX);
	if (ckpt_options_parse(&cut.options, false, e) < 0 ||
	    object_resolve(&c->st, OBJ_POD, argv[0], pod, e) < 0)
		return -1;
	int r = cut_begin(&cut, c, pod, e);
	if (r == 0)
		r = capture_pod(&cut, argv[1], argc - 2, argv + 2, e);
	cut_end(&cut);
	return r;
}

/* ---- after one that was killed */

struct thaw {
	const struct tool_ctx *c;
	struct err why;
	bool failed;
};

static int thaw_one(void *arg, const char *id, struct err *e)
{
	struct thaw *t = arg;
	/* One that is at work needs no help. */
	if (cut_recover(t->c, id, 0, e) < 0 && e->kind != ERR_UNAVAILABLE) {
		log_error("pod %s: %s", id, e->msg);
		t->why = *e;
		t->failed = true;
	}
	return 0;
}

int verb_thaw(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct thaw t = {.c = c};
	char pod[ID_SIZE];
	if (argc == 0) {
		if (object_each(&c->st, OBJ_POD, thaw_one, &t, e) < 0)
			return -1;
		if (t.failed)
			*e = t.why;
		return t.failed ? -1 : 0;
	}
	int wait_ms = c->timeout >= 0 ? (int)(c->timeout * 1000) : THAW_WAIT_MS;
	if (object_resolve(&c->st, OBJ_POD, argv[0], pod, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	return cut_recover(c, pod, wait_ms, e);
}
