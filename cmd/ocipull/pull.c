/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "record.h"
#include "verify.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INDEX_DEPTH_MAX = 4, CLEAN_UP_MS = 50 };

/* From what the reference names down to an image's manifest. */
static int get_manifest(struct pull *p, struct err *e)
{
	char type[128], wanted[DIGEST_STR_LEN + 1] = "";
	struct descriptor next = {.size = -1};
	for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
		buf_clear(&p->manifest_text);
		if (source_manifest(&p->src, *wanted ? wanted : NULL, &p->manifest_text, type,
				    p->manifest_digest, e) < 0)
			return -1;
		if (!*wanted)
			snprintf(p->served_digest, sizeof p->served_digest, "%s",
				 p->manifest_digest);
		else if (check_digest("manifest", wanted, next.size, &p->manifest_text, e) < 0)
			return -1;
		AUTO_JSON json_t *j =
			jsonx_parse(p->manifest_text.data, p->manifest_text.len, "manifest", e);
		if (!j)
			return -1;
		int index = manifest_is_index(j, *wanted ? next.media_type : type, e);
		if (index <= 0)
			return index < 0 ? -1 : manifest_parse(j, &p->manifest, e);
		if (depth + 1 == INDEX_DEPTH_MAX)
			break;
		if (index_choose(j, &p->platform, &next, e) < 0)
			return -1;
		snprintf(wanted, sizeof wanted, "%s", next.digest);
	}
	return err_set(e, ERR_BAD_INPUT, "index: nested more than %d deep", INDEX_DEPTH_MAX);
}

static void chain_ids(struct pull *p)
{
	char text[2 * (DIGEST_STR_LEN + 1)];
	for (size_t i = 0; i < p->manifest.count; i++) {
		if (i == 0) {
			memcpy(p->chain[0], p->diff[0], sizeof p->chain[0]);
			continue;
		}
		int n = snprintf(text, sizeof text, "sha256:%s sha256:%s", p->chain[i - 1],
				 p->diff[i]);
		digest_of(text, (size_t)n, p->chain[i]);
	}
}

static void warn_platform(const struct pull *p, json_t *config)
{
	const char *os = jsonx_opt_string(config, "os", p->platform.os);
	const char *arch = jsonx_opt_string(config, "architecture", p->platform.arch);
	if ((*os && strcmp(os, p->platform.os) != 0) ||
	    (*arch && strcmp(arch, p->platform.arch) != 0))
		log_warn("the image is for %s/%s, not for %s/%s", os, arch, p->platform.os,
			 p->platform.arch);
}

/* The configuration is here already when the image is. */
static bool stored_config(struct pull *p)
{
	char path[100];
	struct err ignored;
	const struct descriptor *d = &p->manifest.config;
	snprintf(path, sizeof path, "images/%.64s/config.json", d->digest + 7);
	if (fs_read_at(p->ctx->st.root, path, &p->config_text, &ignored) == 0 &&
	    check_digest("config", d->digest, d->size, &p->config_text, &ignored) == 0)
		return true;
	buf_clear(&p->config_text);
	return false;
}

static bool same_layers(const struct pull *p, json_t *record)
{
	json_t *list = json_object_get(record, "layers");
	if (json_array_size(list) != p->manifest.count)
		return false;
	for (size_t i = 0; i < p->manifest.count; i++)
		if (strcmp(jsonx_opt_string(json_array_get(list, i), "id", ""),
			   p->jobs[i].layer.id) != 0)
			return false;
	return true;
}

bool pull_changes_nothing(const struct pull *p, const char *config_hex, const json_t *names)
{
	char id[IMAGE_ID_SIZE];
	struct err ignored;
	size_t i;
	json_t *name;
	AUTO_IMAGE struct image img = {.meta = NULL};
	snprintf(id, sizeof id, "sha256:%.64s", config_hex);
	for (int k = 0; p->again && k < p->again->count; k++)
		if (strcmp(p->again->v[k], config_hex) == 0)
			return false;
	if (image_open(&p->ctx->st, id, false, &img, &ignored) < 0 || !same_layers(p, img.meta) ||
	    strcmp(jsonx_opt_string(img.meta, "manifest_digest", ""), p->manifest_digest) != 0)
		return false;
	AUTO_JSON json_t *all = image_names(&p->ctx->st, &ignored);
	json_array_foreach (names, i, name) {
		json_t *target = json_object_get(all, json_string_value(name));
		if (!target || strcmp(json_string_value(target), id) != 0)
			return false;
	}
	return all != NULL;
}

static int get_config(struct pull *p, struct err *e)
{
	size_t n = p->manifest.count;
	if (!stored_config(p) &&
	    source_config(&p->src, &p->manifest.config, &p->config_text, e) < 0)
		return -1;
	AUTO_JSON json_t *config =
		jsonx_parse(p->config_text.data, p->config_text.len, "config", e);
	if (!config)
		return -1;
	p->diff = xcalloc(n + 1, sizeof *p->diff);
	p->chain = xcalloc(n + 1, sizeof *p->chain);
	if (config_diff_ids(config, n, p->diff, e) < 0)
		return -1;
	warn_platform(p, config);
	chain_ids(p);
	return 0;
}

static int want_layers(struct pull *p, struct err *e)
{
	AUTO_JSON json_t *ids = json_array();
	for (size_t i = 0; i < p->manifest.count; i++) {
		json_array_append_new(ids, json_string(p->diff[i]));
		json_array_append_new(ids, json_string(p->chain[i]));
	}
	return imgstore_want_layers(&p->ctx->st, &p->tmp, ids, e);
}

/* One syncfs at a time, for all layers that have come to that point: it writes out the whole file
 * system, whoever's data it is. */
static int step_sync(struct pull *p, struct err *e)
{
	int dir = -1;
	bool running = p->sync.proc.pid > 0;
	int done = running ? helper_step(&p->sync, e) : 0;
	if (done < 0)
		return err_wrap(e, "syncfs");
	for (size_t i = 0; i < p->manifest.count; i++) {
		struct job *j = &p->jobs[i];
		if (j->state != JOB_SYNCING || j->synced)
			continue;
		j->synced = done == 1 && j->sync_asked;
		if (running || j->synced)
			continue;
		j->sync_asked = true;
		dir = j->tmp.dir;
	}
	if (done == 1) {
		/* Whoever came meanwhile gets the next one. */
		engine_wake(&p->engine, 1);
		return 0;
	}
	if (!running && dir >= 0 && helper_start(&p->sync, helper_sync, dir, e) < 0)
		return -1;
	helper_watch(&p->sync, &p->engine);
	return 0;
}

/* One layer has failed, and with it the pull: what is unpacked already stays for the next try. */
static void keep_finished(struct pull *p)
{
	struct err ignored;
	int slots = 0;
	bool left = true;
	while (left) {
		left = false;
		for (size_t i = 0; i < p->manifest.count; i++) {
			struct job *j = &p->jobs[i];
			if ((j->state == JOB_SYNCING || j->state == JOB_FIXING) &&
			    job_step(j, &slots, &ignored) < 0)
				return;
			left = left || j->state == JOB_SYNCING || j->state == JOB_FIXING;
		}
		if (left && (step_sync(p, &ignored) < 0 || engine_wait(&p->engine, &ignored) < 0))
			return;
	}
}

static int prepare_jobs(struct pull *p, struct err *e)
{
	long long need = 0;
	struct imgstore_layer l;
	size_t n = p->manifest.count;
	p->jobs = xcalloc(n + 1, sizeof *p->jobs);
	progress_layers(&p->progress, &p->manifest);
	for (size_t i = 0; i < n; i++) {
		job_init(&p->jobs[i], p, i);
		if (!imgstore_layer_find(&p->ctx->st, p->diff[i], p->chain[i], &l))
			need += space_estimate(&p->manifest.layers[i]);
	}
	return space_begin(&p->space, p->ctx->st.root, &p->ctx->cfg, need, e);
}

static int get_layers(struct pull *p, struct err *e)
{
	size_t n = p->manifest.count, done = 0;
	int slots = p->max_parallel;
	if (prepare_jobs(p, e) < 0)
		return -1;
	for (;;) {
		done = 0;
		for (size_t i = 0; i < n; i++) {
			if (job_step(&p->jobs[i], &slots, e) < 0)
				return -1;
			done += p->jobs[i].state == JOB_DONE;
		}
		if (done == n)
			return 0;
		if (step_sync(p, e) < 0 || space_check(&p->space, e) < 0)
			return -1;
		/* What one job gave free, a job before it may have waited for. */
		for (size_t i = 0; i < n; i++)
			if (p->jobs[i].wants_slot && slots > 0)
				engine_wake(&p->engine, 1);
		long long next = progress_tick(&p->progress);
		if (next)
			engine_wake(&p->engine, next);
		if (engine_wait(&p->engine, e) < 0)
			return -1;
	}
}

static void drop_unfinished(struct pull *p)
{
	struct err e;
	for (size_t i = 0; p->jobs && i < p->manifest.count; i++)
		job_drop(&p->jobs[i]);
	if (imgstore_tmp_drop(&p->ctx->st, &p->tmp, &e) < 0)
		log_warn("cannot clean up: %s", e.msg);
}

/* Whoever waits for the end of our output does not wait for this process. */
static void no_std_streams(void)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd);
}

/* To remove what was unpacked may take longer than whoever cancelled wants to wait: a child does
 * it, with the locks, and we stay only for as long as that is not noticed. */
static void drop_in_background(struct pull *p)
{
	struct pollfd end = {.fd = -1, .events = POLLIN};
	pid_t pid = fork();
	if (pid < 0) {
		drop_unfinished(p);
		return;
	}
	if (pid == 0) {
		setsid();
		no_std_streams();
		drop_unfinished(p);
		_exit(0);
	}
	end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (end.fd >= 0 && poll(&end, 1, CLEAN_UP_MS) > 0)
		(void)waitpid(pid, NULL, 0);
	auto_close(&end.fd);
}

static void release(struct pull *p, bool cancelled)
{
	size_t n = p->jobs ? p->manifest.count : 0;
	helper_kill(&p->sync);
	for (size_t i = 0; i < n; i++)
		unpacker_signal(&p->jobs[i].un);
	for (size_t i = 0; i < n; i++)
		job_stop(&p->jobs[i]);
	fs_lock_heeds_signals = false;
	progress_end(&p->progress);
	if (cancelled && p->tmp.dir >= 0)
		drop_in_background(p);
	else
		drop_unfinished(p);
	source_release(&p->src);
	engine_release(&p->engine);
	buf_release(&p->manifest_text);
	buf_release(&p->config_text);
	manifest_release(&p->manifest);
	free(p->diff);
	free(p->chain);
	free(p->jobs);
}

static int run(struct pull *p, const char *ref, char id[IMAGE_ID_SIZE], struct err *e)
{
	const struct state *st = &p->ctx->st;
	if (imgstore_clean_tmp(st, NULL, e) < 0 || imgstore_tmp_new(st, "pull", &p->tmp, e) < 0)
		return -1;
	progress_begin(&p->progress, p->tmp.dir, ref);
	if (source_open(&p->src, &p->engine, &p->ctx->cfg, p->auth_fd, &p->tmp, ref, e) < 0)
		return -1;
	if (get_manifest(p, e) < 0 || get_config(p, e) < 0 || verify_image(p, ref, e) < 0 ||
	    want_layers(p, e) < 0)
		return -1;
	if (get_layers(p, e) < 0) {
		if (p->jobs && e->kind != ERR_CANCELLED)
			keep_finished(p);
		return -1;
	}
	snprintf(id, IMAGE_ID_SIZE, "%.71s", p->manifest.config.digest);
	return pull_commit(p, id + 7, e);
}

int pull_image(struct pull *p, const char *ref, char id[IMAGE_ID_SIZE], struct err *e)
{
	p->tmp = IMGSTORE_TMP_NONE;
	p->src.dir = -1;
	p->sync = HELPER_NONE;
	p->manifest_text = BUF_INIT(MANIFEST_MAX);
	p->config_text = BUF_INIT(IMAGE_CONFIG_MAX);
	int rc = engine_init(&p->engine, e);
	if (rc == 0)
		rc = run(p, ref, id, e);
	release(p, rc < 0 && e->kind == ERR_CANCELLED);
	return rc;
}
