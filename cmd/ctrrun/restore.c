/* SPDX-License-Identifier: Apache-2.0 */
/* A container from a checkpoint. CRIU runs us once more when all is in place and nothing runs yet:
 * then the new control group is frozen, and `start` is what lets it go. */
#include "auto.h"
#include "ckpt.h"
#include "freezer.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SCRIPT "crisp-freeze"
enum { IMAGES_MAX = 1000000 };

bool restore_is_script(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	return slash && strcmp(slash + 1, SCRIPT) == 0;
}

/* We are …/<id>/crisp-freeze. */
int restore_script(const char *argv0)
{
	struct err e;
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION"), *word = getenv("CRTOOLS_INIT_PID");
	AUTO_FREE char *path = xstrdup(argv0);
	long pid;
	if (!action || strcmp(action, "pre-resume") != 0)
		return 0;
	const char *id = basename(dirname(path));
	if (!word || tool_parse_long(word, &pid) < 0 || pid < 2 || !id_is_valid(id))
		return 1;
	/* CRIU is in the group as well, and has to end. */
	if (freezer_leave_traced((pid_t)pid, id, &e) < 0 ||
	    freezer_set((pid_t)pid, id, true, &e) < 0)
		return log_err(&e);
	return 0;
}

/* ---- what is to be restored */

static json_t *container_named(json_t *ckpt, const char *name, struct err *e)
{
	static const struct jsonx_key keys[] = {{"name", JSON_STRING, JSONX_REQUIRED},
						{"id", JSON_STRING, JSONX_REQUIRED},
						{"image_id", JSON_STRING, JSONX_REQUIRED},
						{0}};
	size_t i;
	json_t *v, *found = NULL;
	json_array_foreach (json_object_get(ckpt, "containers"), i, v) {
		if (!json_is_object(v) || jsonx_check_keys(v, CKPT_FILE, keys, e) < 0)
			return err_set_p(e, ERR_BAD_INPUT, CKPT_FILE ": containers[%zu]: malformed",
					 i);
		if (!id_is_valid(jsonx_opt_string(v, "id", "")))
			return err_set_p(e, ERR_BAD_INPUT, CKPT_FILE ": containers[%zu].id: no id",
					 i);
		if (strcmp(jsonx_opt_string(v, "name", ""), name) == 0)
			found = v;
	}
	return found ? found
		     : err_set_p(e, ERR_BAD_INPUT, "the checkpoint has no container '%.80s'", name);
}

static int check_runtime(const json_t *ckpt, const char *runtime, struct err *e)
{
	AUTO_FREE char *path = xstrdup(runtime);
	const char *was = jsonx_opt_string((json_t *)ckpt, "runtime", "");
	if (strcmp(basename(path), was) == 0)
		return 0;
	return err_set(e, ERR_BAD_INPUT, "the checkpoint is one of %.40s, which %s cannot restore",
		       was, runtime);
}

int verb_checkpoint_check(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CLOSE int dir = -1;
	AUTO_HANDLER struct handler h = {0};
	AUTO_JSON json_t *seen = json_object();
	struct ctr k = {.c = c};
	if (handler_find(&h, &c->cfg, argv[1], e) < 0)
		return -1;
	k.handler = h;
	k.rec.handler = h.name;
	k.rec.sandboxed = h.sandboxed;
	if (ckpt_can(&k, e) < 0)
		return -1;
	AUTO_JSON json_t *j = ckpt_open(argv[0], &dir, e);
	if (!j || check_runtime(j, h.path, e) < 0)
		return -1;
	for (int i = 2; i < argc; i++) {
		if (!*argv[i] || json_object_get(seen, argv[i]))
			return err_set(e, ERR_BAD_INPUT, "container '%.80s' is named %s", argv[i],
				       *argv[i] ? "twice" : "nothing");
		json_object_set_new(seen, argv[i], json_true());
		if (!container_named(j, argv[i], e))
			return -1;
	}
	if (json_array_size(json_object_get(j, "containers")) != json_object_size(seen))
		return err_set(e, ERR_BAD_INPUT,
			       "the checkpoint has %zu containers, and %zu are to be restored",
			       json_array_size(json_object_get(j, "containers")),
			       json_object_size(seen));
	return 0;
}

/* CRIU follows whatever it finds there. */
static int check_images(int dir, struct err *e)
{
	struct stat st;
	long n = 0;
	int fd = fs_open_dir(dir, CKPT_IMAGES, e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	if (!d)
		return err_wrap(e, "images of the checkpoint");
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(e, ERR_DENIED,
			       "others than root can write to the checkpoint's images");
	while ((de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "image %s", de->d_name);
		if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid() ||
		    (st.st_mode & 022) || ++n > IMAGES_MAX)
			return err_set(
				e, ERR_BAD_INPUT,
				"image %.200s of the checkpoint is not a plain file of root's "
				"alone",
				de->d_name);
	}
	return 0;
}

/* A set; without HOSTNAME, which is the pod's. */
static json_t *environment(json_t *process)
{
	json_t *out = json_object(), *v;
	size_t i;
	json_array_foreach (json_object_get(process, "env"), i, v)
		if (json_is_string(v) && strncmp(json_string_value(v), "HOSTNAME=", 9) != 0)
			json_object_set_new(out, json_string_value(v), json_true());
	return out;
}

/* The process is what was captured: a request for another one is refused. */
static int check_process(json_t *was, json_t *now, struct err *e)
{
	static const char *const words[] = {"args", "cwd", "user", "terminal"};
	json_t *a = json_object_get(was, "process"), *b = json_object_get(now, "process");
	AUTO_JSON json_t *env_a = environment(a);
	AUTO_JSON json_t *env_b = environment(b);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		json_t *x = json_object_get(a, words[i]), *y = json_object_get(b, words[i]);
		if ((x || y) && !json_equal(x, y) && !(json_is_false(x) && !y) &&
		    !(json_is_false(y) && !x))
			return err_set(e, ERR_BAD_INPUT,
				       "process.%s is not what it was in the checkpoint", words[i]);
	}
	if (!json_equal(env_a, env_b))
		return err_set(e, ERR_BAD_INPUT,
			       "process.env is not what it was in the checkpoint");
	return 0;
}

static int fill_rootfs(int from, int run, struct err *e)
{
	AUTO_JSON json_t *deleted = jsonx_read_at(from, CKPT_DELETED, CKPT_JSON_MAX, e);
	if (!deleted)
		return -1;
	if (!json_is_array(deleted))
		return err_set(e, ERR_BAD_INPUT, CKPT_DELETED ": expected array");
	AUTO_CLOSE int tar = fs_open_beneath(from, CKPT_DIFF, O_RDONLY | O_NONBLOCK, 0, e);
	AUTO_CLOSE int root = tar < 0 ? -1 : fs_open_dir(run, "bundle/rootfs", e);
	struct stat st;
	if (root < 0)
		return -1;
	if (fstat(tar, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, CKPT_DIFF ": not a plain file");
	return ckpt_untar(root, tar, deleted, e);
}

/* CRIU's own options, by the file that the runtime tells it of. */
static int write_criu_conf(const struct ctr *k, int run, json_t *spec, const struct ckpt_options *o,
			   struct err *e)
{
	char self[4096];
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	json_t *notes = json_object_get(spec, "annotations");
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *base = k->c->st.run_path;
	if (n < 0)
		return err_sys(e, "read /proc/self/exe");
	self[n] = '\0';
	if (strpbrk(base, " \t\n\"#"))
		return err_set(e, ERR_UNSUPPORTED, "runroot %s: CRIU's files cannot name it", base);
	unlinkat(run, SCRIPT, 0);
	if (symlinkat(self, run, SCRIPT) < 0)
		return err_sys(e, "create " SCRIPT);
	if (buf_addf(&b, e, "action-script %s/containers/%s/" SCRIPT "\n%s", base, k->id,
		     o->tcp_established ? "" : "tcp-close\n") < 0)
		return -1;
	if (!notes) {
		notes = json_object();
		json_object_set_new(spec, "annotations", notes);
	}
	AUTO_FREE char *conf = xasprintf("%s/containers/%s/criu.conf", base, k->id);
	json_object_set_new(notes, "org.criu.config", json_string(conf));
	AUTO_CLOSE int bundle = fs_open_dir(run, "bundle", e);
	if (bundle < 0 || fs_replace_file_at(run, "criu.conf", 0600, b.data, b.len, 0, e) < 0)
		return -1;
	return jsonx_replace_at(bundle, "config.json", 0600, spec, 0, e);
}

static int prepare(const struct ctr *k, json_t *entry, int from, const struct ckpt_options *o,
		   struct err *e)
{
	AUTO_CLOSE int run = ctr_run_dir(k, e);
	AUTO_JSON json_t *spec =
		run < 0 ? NULL : jsonx_read_at(run, "bundle/config.json", CKPT_JSON_MAX, e);
	AUTO_JSON json_t *was = spec ? jsonx_read_at(from, "spec.dump", CKPT_JSON_MAX, e) : NULL;
	if (!was || check_process(was, spec, e) < 0)
		return -1;
	if (strcmp(jsonx_opt_string(entry, "image_id", ""), k->rec.image_id) != 0)
		return err_set(e, ERR_BAD_INPUT, "image %s is not the one of the checkpoint (%s)",
			       k->rec.image_id, jsonx_opt_string(entry, "image_id", ""));
	if (check_images(from, e) < 0 || fill_rootfs(from, run, e) < 0)
		return -1;
	return write_criu_conf(k, run, spec, o, e);
}

/* CRIU has set that of the captured pod in the namespace that all of this pod share. */
static int set_hostname(const struct ctr *k, struct err *e)
{
	AUTO_BUF struct buf name = BUF_INIT(256);
	AUTO_CLOSE int pod = object_open_run(&k->c->st, OBJ_POD, k->rec.pod_id, false, e);
	AUTO_CLOSE int ns = pod < 0 ? -1 : openat(pod, "ns/uts", O_RDONLY | O_CLOEXEC);
	/* A pod with the host's name has no such namespace. */
	if (ns < 0 || faccessat(pod, "hostname", F_OK, 0) < 0)
		return 0;
	if (fs_read_at(pod, "hostname", &name, e) < 0)
		return -1;
	size_t len = name.data ? strcspn(name.data, "\n") : 0;
	/* Only for this process, which has nothing to do but to end. */
	if (setns(ns, CLONE_NEWUTS) < 0 || (len && sethostname(name.data, len) < 0))
		return err_sys(e, "hostname of pod %s", k->rec.pod_id);
	return 0;
}

static int make(struct ctr *k, const char *images, const struct ckpt_options *o, struct err *e)
{
	struct err late;
	const char *args[CKPT_ARGS];
	ckpt_options_args(o, args);
	k->restore = images;
	k->restore_args = args;
	if (ctr_make(k, e) < 0)
		return -1;
	if (ctr_is_paused(k) && set_hostname(k, e) == 0)
		return 0;
	if (!ctr_is_paused(k))
		err_set(e, ERR_FAILED, "restore %s: the runtime let the process run at once",
			k->id);
	ctr_kill_all(k, false);
	if (ctr_cleanup(k, &late) < 0)
		log_warn("%s", late.msg);
	return -1;
}

int verb_restore(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	AUTO_CLOSE int dir = -1;
	struct ckpt_options o;
	(void)argc;
	if (ckpt_options_parse(&o, true, e) < 0 || ctr_open(&k, c, argv[0], CTR_LOCKED, e) < 0 ||
	    ctr_check_prepared(&k, e) < 0 || ckpt_can(&k, e) < 0)
		return -1;
	AUTO_CLOSE int own = object_open(&c->st, OBJ_CONTAINER, k.id, e);
	AUTO_JSON json_t *config = own < 0 ? NULL : object_config_read(own, OBJ_CONTAINER, e);
	AUTO_JSON json_t *ckpt = config ? ckpt_open(argv[1], &dir, e) : NULL;
	if (!ckpt || check_runtime(ckpt, k.rec.runtime, e) < 0)
		return -1;
	json_t *entry = container_named(
		ckpt, jsonx_opt_string(json_object_get(config, "metadata"), "name", ""), e);
	if (!entry)
		return -1;
	const char *id = jsonx_opt_string(entry, "id", "");
	AUTO_CLOSE int from = fs_open_beneath(dir, id, O_RDONLY | O_DIRECTORY, 0, e);
	AUTO_FREE char *images = xasprintf("%s/%s/" CKPT_IMAGES, argv[1], id);
	if (from < 0 || prepare(&k, entry, from, &o, e) < 0)
		return err_wrap(e, "restore %s", k.id);
	return make(&k, images, &o, e);
}
