/* SPDX-License-Identifier: Apache-2.0 */
#include "pull.h"

#include "auto.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 256 << 10, CHUNKS_AT_ONCE = 64, REPORTS_MAX = 64 << 20 };

static const struct descriptor *desc(const struct job *j)
{
	return &j->p->manifest.layers[j->index];
}

static const char *digest(const struct job *j)
{
	return desc(j)->digest;
}

void job_init(struct job *j, struct pull *p, size_t index)
{
	*j = (struct job){.p = p,
			  .index = index,
			  .tmp = IMGSTORE_TMP_NONE,
			  .helper = HELPER_NONE,
			  .un = UNPACKER_NONE,
			  .file = -1};
}

/* Where that layer stands among those to fetch again, -1 = it is none of them. */
static int again(const struct job *j)
{
	const struct opt_strings *a = j->p->again;
	for (int i = 0; a && i < a->count; i++)
		if (strcmp(a->v[i], j->layer.id) == 0)
			return i;
	return -1;
}

static bool present(struct job *j)
{
	return imgstore_layer_find(&j->p->ctx->st, j->p->diff[j->index], j->p->chain[j->index],
				   &j->layer) &&
	       again(j) < 0;
}

/* Does an earlier layer of this image bring the same? Its end is before us in the same round. */
static bool twin_works(struct job *j)
{
	const struct pull *p = j->p;
	for (size_t i = 0; i < j->index; i++)
		if (p->jobs[i].state != JOB_DONE && strcmp(p->diff[i], p->diff[j->index]) == 0) {
			if (!j->waiting)
				progress_state(&j->p->progress, j->index, LAYER_WAITING);
			j->waiting = true;
			return true;
		}
	return false;
}

static int step_locked(struct job *j, struct err *e)
{
	int done = helper_step(&j->helper, e);
	if (done <= 0) {
		helper_watch(&j->helper, &j->p->engine);
		return done;
	}
	/* Whoever had it has finished or died: look again. The directory of that lock is not ours.
	 */
	auto_close(&j->tmp.dir);
	auto_close(&j->tmp.lock);
	j->tmp = IMGSTORE_TMP_NONE;
	j->state = JOB_NEW;
	return 1;
}

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct job *j = arg;
	if (!unpacker_feed(&j->un, data, len))
		return HTTP_LATER;
	digest_update(&j->hash, data, len);
	j->received += (long long)len;
	progress_bytes(&j->p->progress, j->index, j->received);
	/* More than was promised: whatever comes, it cannot be the layer. */
	return j->received > desc(j)->size ? HTTP_FAIL : HTTP_TAKEN;
}

static int start_unpacker(struct job *j, int diff, struct err *e)
{
	const struct config *cfg = &j->p->ctx->cfg;
	const struct unpack_limits max = {(unsigned long long)cfg->unpack_max_bytes,
					  (unsigned long long)cfg->unpack_max_entries,
					  (unsigned long long)cfg->unpack_max_ratio};
	AUTO_CLOSE int recipe =
		openat(j->tmp.dir, "new/recipe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (recipe < 0)
		return err_sys(e, "create tmp/%s/new/recipe", j->tmp.name);
	return unpacker_start_layer(&j->un, diff, recipe, &max, e);
}

static int start_unpacking(struct job *j, struct err *e)
{
	if (mkdirat(j->tmp.dir, "new", 0700) < 0 || mkdirat(j->tmp.dir, "new/diff", 0755) < 0)
		return err_sys(e, "mkdir tmp/%s/new", j->tmp.name);
	AUTO_CLOSE int diff = fs_open_dir(j->tmp.dir, "new/diff", e);
	/* Whatever our umask is. */
	if (diff < 0 || fchmod(diff, 0755) < 0)
		return diff < 0 ? -1 : err_sys(e, "chmod");
	digest_init(&j->hash);
	return start_unpacker(j, diff, e);
}

static int start_loading(struct job *j, struct err *e)
{
	char path[100];
	long long size;
	struct source *src = &j->p->src;
	if (start_unpacking(j, e) < 0)
		return -1;
	j->state = JOB_LOADING;
	progress_state(&j->p->progress, j->index, LAYER_LOADING);
	if (src->kind == SOURCE_REGISTRY) {
		snprintf(path, sizeof path, "blobs/%s", digest(j));
		fetch_start(&j->fetch, &src->reg, path, NULL, on_bytes, j);
		fetch_expect(&j->fetch, desc(j)->size, j->p->manifest.urls[j->index]);
		return 1;
	}
	j->file = source_open_layer(src, j->index, desc(j), &size, e);
	if (j->file >= 0 && size != desc(j)->size)
		return err_set(e, ERR_BAD_INPUT, "size mismatch: expected %lld bytes, got %lld",
			       (long long)desc(j)->size, size);
	return j->file < 0 ? -1 : 1;
}

static int found(struct job *j)
{
	progress_state(&j->p->progress, j->index, LAYER_PRESENT);
	j->state = JOB_DONE;
	return 1;
}

/* Returns 1 when the state has changed. */
static int step_new(struct job *j, int *slots, struct err *e)
{
	const struct state *st = &j->p->ctx->st;
	if (j->wants_slot && *slots <= 0)
		return 0;
	j->wants_slot = false;
	if (present(j))
		return found(j);
	if (twin_works(j))
		return 0;
	/* No claim before its turn: another process may come to this layer sooner. */
	j->wants_slot = *slots <= 0;
	if (j->wants_slot)
		return 0;
	int ours = imgstore_layer_claim(st, j->p->diff[j->index], &j->tmp, e);
	if (ours < 0)
		return -1;
	if (!ours) {
		/* Before anything can fail: that directory is not ours to drop. */
		j->state = JOB_LOCKED;
		progress_state(&j->p->progress, j->index, LAYER_WAITING);
		return helper_start(&j->helper, helper_wait_lock, j->tmp.lock, e) < 0 ? -1 : 1;
	}
	/* Finished by another between our look and our claim. */
	if (present(j))
		return imgstore_tmp_drop(st, &j->tmp, e) < 0 ? -1 : found(j);
	--*slots;
	return start_loading(j, e);
}

/* All bytes have come: are they the right ones? */
static int check_input(struct job *j, struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1];
	if (j->received != desc(j)->size)
		return err_set(e, ERR_BAD_INPUT, "size mismatch: expected %lld bytes, got %s%lld",
			       (long long)desc(j)->size,
			       j->received > desc(j)->size ? "at least " : "", j->received);
	digest_hex(&j->hash, hex);
	/* A docker archive says only what its layers are when uncompressed. */
	if (j->p->src.kind != SOURCE_DOCKER && strcmp(hex, digest(j) + 7) != 0)
		return err_set(e, ERR_BAD_INPUT, "digest mismatch: expected %s, got sha256:%s",
			       digest(j), hex);
	j->input_done = true;
	return 0;
}

/* What came is wrong: another endpoint may have what is right, from its first byte on. */
static int start_again(struct job *j, struct err *e)
{
	struct err why = *e;
	err_wrap(&why, "%s", fetch_where(&j->fetch));
	if (!fetch_reject(&j->fetch, &why))
		return -1;
	unpacker_kill(&j->un);
	j->un = UNPACKER_NONE;
	digest_release(&j->hash);
	j->received = 0;
	engine_wake(&j->p->engine, 1);
	return fs_remove_tree(j->tmp.dir, "new", e) < 0 ? -1 : start_unpacking(j, e);
}

static int load_remote(struct job *j, struct err *e)
{
	if (j->un.pending.len == 0)
		http_resume(&j->fetch.http);
	if (fetch_step(&j->fetch, e) < 0)
		return -1;
	if (j->fetch.state == FETCH_DONE || j->received > desc(j)->size)
		return check_input(j, e) < 0 ? start_again(j, e) : 0;
	if (j->fetch.state == FETCH_FAILED) {
		*e = j->fetch.error;
		return err_wrap(e, "got %lld of %lld bytes", j->received, (long long)desc(j)->size);
	}
	return 0;
}

static int load_file(struct job *j, struct err *e)
{
	static char chunk[CHUNK];
	/* Not for as long as the child keeps up: signals and other layers want their turn. */
	for (int i = 0; i < CHUNKS_AT_ONCE && !j->un.pending.len; i++) {
		ssize_t n = read(j->file, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read layer");
		if (n == 0)
			return check_input(j, e);
		if (on_bytes(j, chunk, (size_t)n) == HTTP_FAIL)
			return check_input(j, e);
	}
	if (!j->un.pending.len)
		engine_wake(&j->p->engine, 1);
	return 0;
}

static int finish_loading(struct job *j, int *slots, struct err *e)
{
	const char *want = j->p->diff[j->index];
	if (j->un.failed) {
		*e = j->un.error;
		return -1;
	}
	if (strcmp(j->un.hex, want) != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "digest mismatch of the uncompressed layer: expected sha256:%s, got "
			       "sha256:%s",
			       want, j->un.hex);
	j->p->reports += j->un.report.len;
	if (j->p->reports > REPORTS_MAX)
		return err_set(e, ERR_BAD_INPUT,
			       "the image's layers leave more than %d MiB of directories unnamed",
			       REPORTS_MAX >> 20);
	if (job_read_report(j, e) < 0)
		return -1;
	++*slots;
	j->layer.size = j->un.bytes;
	j->state = JOB_PLACING;
	return 1;
}

static int step_loading(struct job *j, int *slots, struct err *e)
{
	struct unpacker *u = &j->un;
	if (unpacker_step(u, e) < 0)
		return -1;
	/* A full disk ends it at once. Bad data may be the transfer's fault: its digest, once all
	 * is there, is the better message. */
	if (u->ended && u->failed && u->error.kind != ERR_BAD_INPUT) {
		*e = u->error;
		return -1;
	}
	if (!j->input_done && (j->file >= 0 ? load_file(j, e) : load_remote(j, e)) < 0)
		return -1;
	if (j->input_done && u->pending.len == 0)
		unpacker_finish_input(u);
	if (j->input_done && u->ended)
		return finish_loading(j, slots, e);
	unpacker_watch(u, &j->p->engine);
	return 0;
}

static bool lower_done(const struct job *j)
{
	for (size_t i = 0; i < j->index; i++)
		if (j->p->jobs[i].state != JOB_DONE)
			return false;
	return true;
}

static int step_placing(struct job *j, struct err *e)
{
	if (j->implied && !lower_done(j)) {
		/* Others may want this layer for another image while we wait: waiting for layers
		 * with a claim in hand could make two processes wait for each other. */
		return job_place(j, e);
	}
	int done = job_commit(j, e);
	/* What is not finished must not look so: what does is kept when the pull fails. */
	if (done < 0)
		return -1;
	j->synced = false;
	j->sync_asked = false;
	j->state = done ? JOB_SYNCING : JOB_FIXING;
	return 1;
}

static int step_fixing(struct job *j, struct err *e)
{
	int done = helper_step(&j->helper, e);
	if (done == 0)
		helper_watch(&j->helper, &j->p->engine);
	if (done != 0)
		j->state = done < 0 ? JOB_PLACING : JOB_SYNCING;
	return done;
}

static int step_syncing(struct job *j, struct err *e)
{
	const struct state *st = &j->p->ctx->st;
	if (!j->synced)
		return 0; /* pull.c sees to it */
	int nth = again(j);
	if ((nth < 0 ? imgstore_layer_commit(st, &j->tmp, j->layer.id, e)
		     : imgstore_layer_replace(st, &j->tmp, j->layer.id, e)) < 0)
		return -1;
	if (nth >= 0)
		j->p->again->v[nth] = "";
	unpacker_kill(&j->un);
	if (imgstore_tmp_drop(st, &j->tmp, e) < 0)
		return -1;
	progress_state(&j->p->progress, j->index, LAYER_DONE);
	j->state = JOB_DONE;
	return 1;
}

int job_step(struct job *j, int *slots, struct err *e)
{
	int rc = 1;
	while (rc == 1) {
		switch (j->state) {
		case JOB_NEW:
			rc = step_new(j, slots, e);
			break;
		case JOB_LOCKED:
			rc = step_locked(j, e);
			break;
		case JOB_LOADING:
			rc = step_loading(j, slots, e);
			break;
		case JOB_PLACING:
			rc = step_placing(j, e);
			break;
		case JOB_FIXING:
			rc = step_fixing(j, e);
			break;
		case JOB_SYNCING:
			rc = step_syncing(j, e);
			break;
		case JOB_DONE:
			rc = 0;
			break;
		}
	}
	return rc < 0 && e->kind != ERR_CANCELLED ? err_wrap(e, "layer %s", digest(j)) : rc;
}

void job_stop(struct job *j)
{
	fetch_release(&j->fetch);
	unpacker_kill(&j->un);
	helper_kill(&j->helper);
	digest_release(&j->hash);
	auto_close(&j->file);
	/* While another has the lock, the directory is not ours. */
	if (j->state == JOB_LOCKED || j->tmp.lock < 0) {
		auto_close(&j->tmp.dir);
		auto_close(&j->tmp.lock);
		j->tmp = IMGSTORE_TMP_NONE;
	}
}

void job_drop(struct job *j)
{
	struct err e;
	if (imgstore_tmp_drop(&j->p->ctx->st, &j->tmp, &e) < 0)
		log_warn("cannot clean up: %s", e.msg);
}
