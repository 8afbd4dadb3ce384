/* SPDX-License-Identifier: Apache-2.0 */
/* podreplay run: the private place, who looks after it, and what happens in it. */
#include "capture.h"
#include "podreplay.h"
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BASE_HEAD "podreplay-run."

static struct replay_options options = {.seconds = -1};

static const char *parent_of_bases(void)
{
	const char *dir = getenv("TMPDIR");
	return dir && *dir == '/' ? dir : "/var/tmp";
}

/* ---- cleaning up behind one that could not */

static int remove_pod_of(const struct tool_ctx *c, const char *base, int dir, struct err *e)
{
	AUTO_FREE char *file = xasprintf("%s/etc/crisp.json", base);
	AUTO_CONFIG struct config cfg = {0};
	struct state st = STATE_NONE;
	AUTO_JSON json_t *run = jsonx_read_at(dir, "run.json", 1 << 16, e);
	/* Nothing was made before it was there. */
	if (!run)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	const char *pod = jsonx_opt_string(run, "pod", "");
	(void)c;
	if (!id_is_valid(pod))
		return err_set(e, ERR_BAD_STATE, "%s: run.json names no pod", base);
	if (config_load(&cfg, file, e) < 0 || state_open(&st, cfg.root, cfg.runroot, e) < 0)
		return -1;
	struct tools t = {.cfg = &cfg,
			  .config_file = file,
			  .root = cfg.root,
			  .runroot = cfg.runroot,
			  .cancel = -1,
			  .quiet = true};
	int r = replay_remove(&t, &st, pod, e);
	state_close(&st);
	return r;
}

/* With its lock held. */
static int remove_base(const struct tool_ctx *c, const char *base, struct err *e)
{
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, base, e);
	if (dir < 0 || remove_pod_of(c, base, dir, e) < 0)
		return -1;
	return fs_remove_tree(AT_FDCWD, base, e);
}

static void sweep_one(const struct tool_ctx *c, int parent, const char *name)
{
	struct err why;
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
	    st.st_uid != geteuid())
		return;
	AUTO_CLOSE int dir = fs_open_dir(parent, name, &why);
	AUTO_CLOSE int lock = dir < 0 ? -1 : fs_lock_at(dir, "lock", 0, &why);
	if (lock < 0)
		return;
	AUTO_FREE char *base = xasprintf("%s/%s", parent_of_bases(), name);
	if (remove_base(c, base, &why) < 0)
		log_warn("%s, which a run that was killed has left: %s", base, why.msg);
}

static void sweep(const struct tool_ctx *c)
{
	struct dirent **names = NULL;
	AUTO_CLOSE int parent = open(parent_of_bases(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n = parent < 0 ? 0 : scandirat(parent, ".", &names, NULL, fs_by_bytes);
	for (int i = 0; i < n; i++) {
		if (strncmp(names[i]->d_name, BASE_HEAD, strlen(BASE_HEAD)) == 0)
			sweep_one(c, parent, names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

/* ---- the private place */

/* Its lock is held before it has the name by which others find it. */
static int make_base(struct replay *r, struct err *e)
{
	AUTO_FREE char *fresh = xasprintf("%s/.podreplay-new.XXXXXX", parent_of_bases());
	if (!mkdtemp(fresh))
		return err_sys(e, "make a directory in %s", parent_of_bases());
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, fresh, e);
	AUTO_FREE char *base =
		xasprintf("%s/%s%s", parent_of_bases(), BASE_HEAD, strrchr(fresh, '.') + 1);
	struct err ignored;
	r->lock = dir < 0 ? -1 : fs_lock_at(dir, "lock", 0, e);
	if (r->lock >= 0 && rename(fresh, base) == 0) {
		r->base = TAKE(base);
		return 0;
	}
	if (r->lock >= 0)
		err_sys(e, "rename to %s", base);
	(void)fs_remove_tree(AT_FDCWD, fresh, &ignored);
	return -1;
}

/* ---- the keeper: a child of its own session, which cleans up when we are killed */

struct keeper {
	pid_t pid;
	int bell; /* its other end is the keeper's; a byte dismisses it */
};

static void keep(const struct replay *r, int bell)
{
	char done;
	struct err e;
	ssize_t n;
	(void)setsid();
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		(void)dup2(null, fd);
	do
		n = read(bell, &done, 1);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		(void)remove_base(r->c, r->base, &e);
	_exit(0);
}

static int start_keeper(const struct replay *r, struct keeper *k, struct err *e)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	k->pid = fork();
	if (k->pid == 0) {
		close(ends[1]);
		keep(r, ends[0]);
	}
	close(ends[0]);
	k->bell = ends[1];
	return k->pid < 0 ? err_sys(e, "fork") : 0;
}

static void dismiss(struct keeper *k)
{
	if (k->bell >= 0)
		(void)!write(k->bell, "", 1);
	auto_close(&k->bell);
	while (k->pid > 0 && waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- the run */

/* A pod with users of its own: its root must get to the directories that it is given. */
static int let_through(const struct replay *r, struct err *e)
{
	AUTO_JSON json_t *pod = arc_json(&r->arc, e, "pods/%s/pod.json", r->arc.pod);
	json_t *linux_ = json_object_get(pod, "linux");
	json_t *namespaces =
		json_object_get(json_object_get(linux_, "security_context"), "namespace_options");
	json_t *users = json_object_get(namespaces, "userns_options");
	AUTO_FREE char *volumes = xasprintf("%s/volumes", r->base);
	if (!pod)
		return -1;
	if (!users || strcmp(jsonx_opt_string(users, "mode", "POD"), "NODE") == 0)
		return 0;
	return chmod(r->base, 0711) < 0 || chmod(volumes, 0711) < 0
		       ? err_sys(e, "chmod %s", r->base)
		       : 0;
}

/* What diff needs to see that two paths are one. */
static json_t *replay_member(const struct replay *r)
{
	json_t *containers = json_object(), *paths = json_object(), *here;
	const char *host;
	for (size_t i = 0; i < r->n_ctrs; i++)
		if (*r->ctrs[i].id)
			json_object_set_new(containers, r->ctrs[i].id,
					    json_string(r->ctrs[i].recorded));
	json_object_foreach (r->volumes, host, here)
		if (json_is_string(here))
			json_object_set_new(paths, json_string_value(here), json_string(host));
	/* Such a path may be below the state directories there. */
	struct err ignored;
	AUTO_JSON json_t *crisp = arc_json(&r->arc, &ignored, "crisp.json");
	return json_pack("{s:s, s:o, s:o, s:s, s:s}", "archive", r->arc.digest, "containers",
			 containers, "paths", paths, "root", jsonx_opt_string(crisp, "root", ""),
			 "runroot", jsonx_opt_string(crisp, "runroot", ""));
}

static int write_archive(const struct replay *r, struct err *e)
{
	struct tool_ctx c = *r->c;
	const struct capture_options opt = {.secrets = r->opt->with_secrets, .log_lines = 1000};
	AUTO_JSON json_t *member = replay_member(r);
	if (!r->opt->output)
		return 0;
	c.cfg = r->cfg;
	c.st = r->st;
	c.config_file = r->config_file;
	return capture_pod(&c, r->pod, &opt, r->given, member, r->opt->output, e);
}

static int play(struct replay *r, const char *file, struct err *e)
{
	if (replay_read_env(r, e) < 0 || arc_open(&r->arc, file, r->base, 0, e) < 0)
		return -1;
	replay_resolve_values(r);
	if (replay_setup(r, e) < 0 || replay_make_volumes(r, e) < 0 || let_through(r, e) < 0 ||
	    replay_images(r, e) < 0 || replay_pod(r, e) < 0 || write_archive(r, e) < 0)
		return -1;
	return replay_result(r, e);
}

static void replay_release(struct replay *r)
{
	for (size_t i = 0; i < r->n_ctrs; i++) {
		ctr_record_release(&r->ctrs[i].rec);
		exit_record_release(&r->ctrs[i].exit);
	}
	free(r->ctrs);
	json_decref(r->values);
	json_decref(r->given);
	json_decref(r->volumes);
	arc_close(&r->arc);
	state_close(&r->st);
	config_release(&r->cfg);
	free(r->handler);
	free(r->config_file);
	free(r->base);
	auto_close(&r->lock);
	auto_close(&r->cancel);
}

static void clean_up(struct replay *r)
{
	struct err why;
	if (r->base && remove_base(r->c, r->base, &why) < 0)
		log_warn("%s stays: %s", r->base, why.msg);
}

int podreplay_run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	__attribute__((cleanup(replay_release))) struct replay r = {.c = c,
								    .opt = &options,
								    .lock = -1,
								    .cancel = -1,
								    .arc = ARC_NONE,
								    .st = STATE_NONE};
	struct keeper k = {.pid = -1, .bell = -1};
	(void)argc;
	if (options.output && strcmp(options.output, "-") == 0)
		return err_set(e, ERR_USAGE, "-o -: standard output is for the result");
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, "run: only root can make pods");
	sweep(c);
	id_new(r.pod);
	if (make_base(&r, e) < 0)
		return -1;
	int result = start_keeper(&r, &k, e);
	if (result == 0)
		result = r.cancel = proc_end_signals(e);
	if (result >= 0)
		result = play(&r, argv[0], e);
	clean_up(&r);
	dismiss(&k);
	return result;
}

const struct opt run_table[] = {
	{"output", 'o', OPT_STRING, &options.output, "FILE", "write the replay as an archive, too"},
	{"handler", 0, OPT_STRING, &options.handler, "NAME",
	 "the handler to use instead of the recorded one"},
	{"stub-network", 0, OPT_FLAG, &options.stub_network, NULL,
	 "the recorded addresses on a wire that leads nowhere"},
	{"volume", 0, OPT_STRINGS, &options.volumes, "/RECORDED=/HERE",
	 "use this for a recorded host path"},
	{"env-file", 0, OPT_STRING, &options.env_file, "FILE|-",
	 "values of what was left out: NAME=VALUE, CONTAINER/NAME=VALUE, redacted:N=VALUE, NAME"},
	{"for", 0, OPT_SECONDS, &options.seconds, "SECONDS", "how long it may run (300)"},
	{"with-secrets", 0, OPT_FLAG, &options.with_secrets, NULL,
	 "leave nothing out of the archive that is written"},
	{"allow-privileged", 0, OPT_FLAG, &options.allow_privileged, NULL,
	 "replay also what asks for devices, namespaces or privileges of this machine"},
	{"expect-exit", 0, OPT_STRINGS, &options.expect_exit, "[CTR=]N",
	 "fail unless the pod, or a container, exits with N"},
	{"expect-log", 0, OPT_STRINGS, &options.expect_log, "REGEX",
	 "fail unless a line of a log matches (extended)"},
	{"expect-same", 0, OPT_FLAG, &options.expect_same, NULL,
	 "fail unless every container ends as recorded"},
	{"junit", 0, OPT_STRING, &options.junit, "FILE", "write the expectations as JUnit XML"},
	{.name = NULL},
};
