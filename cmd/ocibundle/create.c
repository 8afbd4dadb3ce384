/* SPDX-License-Identifier: Apache-2.0 */
#include "ocibundle.h"

#include "auto.h"
#include "bundle.h"
#include "digest.h"
#include "event.h"
#include "fs.h"
#include "handler.h"
#include "journal.h"
#include "jsonx.h"
#include "overlay.h"
#include "owners.h"
#include "pbjson.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOCK_MS = 10000, TRIES = 3, SOURCES_MAX = 4 << 20 };

/* All that one creation holds. */
struct creation {
	struct tool_ctx *c;
	const struct create_options *o;
	struct bundle b;
	struct object_new obj;
	struct ctr_record rec;
	struct handler handler;
	struct buf sources; /* what b.why points at */
};

static int read_pod(struct creation *k, const char *typed, Runtime__V1__PodSandboxConfig **pod,
		    struct err *e)
{
	char id[ID_SIZE];
	if (object_resolve(&k->c->st, OBJ_POD, typed, id, e) < 0 ||
	    pod_record_read(&k->c->st, id, &k->b.pod_rec, e) < 0)
		return -1;
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_POD, id, e);
	AUTO_JSON json_t *j = dir < 0 ? NULL : object_config_read(dir, OBJ_POD, e);
	if (j)
		*pod = (Runtime__V1__PodSandboxConfig *)pbjson_read(
			&runtime__v1__pod_sandbox_config__descriptor, j, "pod.json", e);
	return *pod ? 0 : err_wrap(e, "pod %s", id);
}

static int check_sandbox_runs(const struct bundle *b, struct err *e)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	if (!b->pod_rec.sandbox || (ctr_record_read(b->st, b->pod_rec.id, &r, &ignored) == 0 &&
				    ctr_effective(b->st, &r, &x) == CTR_RUNNING))
		return 0;
	return err_set(e, ERR_BAD_STATE, "pod %s is not ready: its sandbox container has ended",
		       b->pod_rec.id);
}

/* (pod, name, attempt) is a container's name for good: two equal requests make one. */
static char *claim_name(const struct bundle *b)
{
	return xasprintf("%s\n%s\n%u", b->pod_rec.id, b->ctr->metadata->name,
			 b->ctr->metadata->attempt);
}

static int claim(struct creation *k, struct err *e)
{
	AUTO_FREE char *name = claim_name(&k->b);
	for (int i = 0; i < TRIES; i++) {
		if (object_create(&k->c->st, OBJ_CONTAINER, name, strlen(name), k->o->id, &k->obj,
				  e) < 0)
			return -1;
		if (k->obj.claim == CLAIM_NEW)
			return 0;
		if (k->obj.claim == CLAIM_BUSY && i + 1 < TRIES &&
		    object_wait_unlocked(&k->c->st, OBJ_CONTAINER, k->obj.id, LOCK_MS, e) == 0)
			continue;
		if (k->obj.claim != CLAIM_ABANDONED)
			return err_set(e, ERR_EXISTS,
				       "container '%s' (attempt %u) of the pod exists%s: %s",
				       k->b.ctr->metadata->name, k->b.ctr->metadata->attempt,
				       k->obj.claim == CLAIM_BUSY ? " (being created)" : "",
				       k->obj.id);
		if (remove_remains(&k->c->st, k->obj.id, e) < 0)
			return err_wrap(e, "what a dead creation left");
	}
	return err_set(e, ERR_UNAVAILABLE, "container '%s': its name changes hands too fast",
		       k->b.ctr->metadata->name);
}

static int resolve_images(struct creation *k, struct err *e)
{
	struct bundle *b = &k->b;
	char id[IMAGE_ID_SIZE];
	if (image_resolve(b->st, b->ctr->image->image, id, e) < 0 ||
	    image_open(b->st, id, true, &b->img, e) < 0)
		return -1;
	b->mount_images = json_array();
	k->rec.mount_images = json_array();
	for (size_t i = 0; i < b->ctr->n_mounts; i++) {
		const Runtime__V1__ImageSpec *spec = b->ctr->mounts[i]->image;
		if (!spec || !*spec->image) {
			json_array_append_new(b->mount_images, json_null());
			continue;
		}
		if (image_resolve(b->st, spec->image, id, e) < 0) {
			e->kind = ERR_IMAGE_VOLUME;
			return err_wrap(e, "mounts[%zu].image", i);
		}
		json_array_append_new(b->mount_images, json_string(id));
		json_array_append_new(k->rec.mount_images, json_string(id));
	}
	return 0;
}

static void fill_config_part(struct creation *k)
{
	const struct bundle *b = &k->b;
	const Runtime__V1__ContainerConfig *c = b->ctr;
	struct ctr_record *r = &k->rec;
	record_set(&r->id, b->id);
	record_set(&r->pod_id, b->pod_rec.id);
	record_set(&r->origin, k->o->origin);
	record_set(&r->boot_id, state_boot_id());
	record_set(&r->image, *c->image->user_specified_image ? c->image->user_specified_image
							      : c->image->image);
	record_set(&r->image_id, b->img.id);
	record_set(&r->cgroup_path, b->cgroup_path);
	record_set(&r->start_error, "");
	record_set(&r->log_path, "");
	if (*c->log_path && *b->pod->log_directory) {
		free(r->log_path);
		r->log_path = xasprintf("%s/%s", b->pod->log_directory, c->log_path);
	}
	r->created_at = record_now_ns();
	r->tty = c->tty;
	r->stdin_open = c->stdin;
	r->stdin_once = c->stdin_once;
}

static int fill_record(struct creation *k, const struct handler *h, struct err *e)
{
	int stop;
	if (stop_signal_of(&k->b, &stop, e) < 0)
		return -1;
	fill_config_part(k);
	record_set(&k->rec.state, "prepared");
	record_set(&k->rec.handler, h->name);
	record_set(&k->rec.runtime, h->path);
	record_set(&k->rec.runtime_root, h->root);
	k->rec.sandboxed = h->sandboxed;
	k->rec.stop_signal = stop;
	return 0;
}

/* From here on the container's record keeps the pod from being removed and the image's layers from
 * being collected; so both locks are held until it is there, and not longer. */
static int register_container(struct creation *k, const struct handler *h, struct err *e)
{
	struct bundle *b = &k->b;
	AUTO_CLOSE int pod_lock = object_lock(b->st, OBJ_POD, b->pod_rec.id, LOCK_MS, e);
	AUTO_POD_RECORD struct pod_record now = {0};
	if (pod_lock < 0 || pod_record_read(b->st, b->pod_rec.id, &now, e) < 0 ||
	    pod_check_ready(&now, e) < 0 || claim(k, e) < 0)
		return -1;
	memcpy(b->id, k->obj.id, ID_SIZE);
	bundle_derive(b);
	AUTO_CLOSE int store = image_store_lock(b->st, LOCK_MS, e);
	if (store < 0 || resolve_images(k, e) < 0 || fill_record(k, h, e) < 0)
		return -1;
	return ctr_record_write(b->st, &k->rec, e);
}

static int write_config(struct creation *k, struct err *e)
{
	AUTO_JSON json_t *j = pbjson_write(&k->b.ctr->base, 0, e);
	if (!j)
		return -1;
	return object_config_write(k->obj.dir, OBJ_CONTAINER, j, e);
}

static int mount_rootfs(struct creation *k, const char *target, struct err *e)
{
	struct bundle *b = &k->b;
	AUTO_FREE char *upper = xasprintf("%s/upper", b->dir);
	AUTO_FREE char *work = xasprintf("%s/work", b->dir);
	AUTO_JSON json_t *lower = image_lowerdirs(b->st, &b->img, e);
	if (!lower)
		return -1;
	if (mkdirat(k->obj.dir, "upper", 0700) < 0 || mkdirat(k->obj.dir, "work", 0700) < 0)
		return err_sys(e, "make %s", upper);
	/* The upper directory's owner and mode are those of the container's "/". */
	const char *top = json_string_value(json_array_get(lower, 0));
	struct stat st = {.st_mode = 0755};
	if (top && stat(top, &st) < 0)
		return err_sys(e, "layer %s", top);
	owners_outside(b, &st.st_uid, &st.st_gid);
	if (fchownat(k->obj.dir, "upper", st.st_uid, st.st_gid, 0) < 0 ||
	    fchmodat(k->obj.dir, "upper", st.st_mode & 07777, 0) < 0)
		return err_sys(e, "owner and mode of %s", upper);
	if (selinux_root(b, e) < 0)
		return -1;
	b->rootfs = owners_overlay(b, lower, upper, work, target, e);
	return b->rootfs < 0 ? -1 : 0;
}

static int make_bundle(struct creation *k, struct err *e)
{
	struct bundle *b = &k->b;
	AUTO_FREE char *rootfs = xasprintf("%s/bundle/rootfs", b->run);
	AUTO_CLOSE int run = object_open_run(b->st, OBJ_CONTAINER, b->id, true, e);
	if (run < 0)
		return -1;
	if (mkdirat(run, "bundle", 0700) < 0 || mkdirat(run, "bundle/rootfs", 0755) < 0)
		return err_sys(e, "make %s", rootfs);
	if (owners_let_through(b, run, ".", e) < 0 || owners_let_through(b, run, "bundle", e) < 0)
		return -1;
	if (owners_open(b, e) < 0 || mount_rootfs(k, rootfs, e) < 0)
		return -1;
	AUTO_JSON json_t *spec = spec_build(b, e);
	AUTO_CLOSE int bundle = spec ? fs_open_dir(run, "bundle", e) : -1;
	if (bundle < 0 ||
	    fs_replace_file_at(bundle, "sources", 0600, b->why->data ? b->why->data : "",
			       b->why->len, FS_NEW, e) < 0)
		return -1;
	return jsonx_replace_at(bundle, "config.json", 0600, spec, FS_NEW, e);
}

/* The request must never become weaker silently. */
static int check_handler(const struct bundle *b, const struct handler *h, struct err *e)
{
	size_t i = 0;
	while (i < b->ctr->n_mounts && !b->ctr->mounts[i]->recursive_read_only)
		i++;
	if (i == b->ctr->n_mounts || handler_rro(b->cfg, h))
		return 0;
	return err_set(
		e, ERR_RRO,
		"mounts[%zu].recursive_read_only: runtime handler '%s' or this kernel is not known "
		"to honour it",
		i, h->name);
}

/* After the claim: everything that is made is undone when a step fails. */
static int make_container(struct creation *k, struct err *e)
{
	struct bundle *b = &k->b;
	int r = register_container(k, b->handler, e);
	if (r == 0)
		r = write_config(k, e);
	if (r == 0)
		r = make_bundle(k, e);
	if (r == 0) {
		k->rec.complete = true;
		r = ctr_record_write(b->st, &k->rec, e);
	}
	if (r < 0 && k->obj.dir >= 0) {
		struct err undo;
		auto_close(&b->rootfs);
		b->rootfs = -1;
		if (remove_remains(b->st, k->obj.id, &undo) < 0)
			err_wrap(e, "(not undone: %.200s)", undo.msg);
	}
	return r;
}

/* The same config.json without making anything: the id is made from the name, so that equal
 * requests print equal bytes, and the root file system is mounted where nobody sees it. */
static int print_dry(struct creation *k, struct err *e)
{
	struct bundle *b = &k->b;
	AUTO_FREE char *name = claim_name(b);
	if (k->o->id && !id_is_valid(k->o->id))
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not an id (64 hex digits)", k->o->id);
	if (k->o->id)
		memcpy(b->id, k->o->id, ID_SIZE);
	else
		digest_of(name, strlen(name), b->id);
	bundle_derive(b);
	if (pod_check_ready(&b->pod_rec, e) < 0 || resolve_images(k, e) < 0)
		return -1;
	AUTO_JSON json_t *lower = image_lowerdirs(b->st, &b->img, e);
	b->rootfs = lower ? overlay_mount(lower, NULL, NULL, NULL, e) : -1;
	AUTO_JSON json_t *spec = b->rootfs < 0 ? NULL : spec_build(b, e);
	if (!spec)
		return -1;
	if (show_explain) {
		print_explained(spec, b->why->data ? b->why->data : "", b->why->len);
		return 0;
	}
	json_dumpf(spec, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static void tell(struct creation *k, int64_t began, const struct err *error)
{
	const struct bundle *b = &k->b;
	const char *words[] = {"create",     "--id",        b->id, "--origin",
			       k->o->origin, b->pod_rec.id, "-",   NULL};
	AUTO_FREE char *input = xasprintf("%s/container.json", b->dir ? b->dir : "");
	journal_by_hand(b->st, b->pod_rec.id, words, input, began, error);
	if (!error)
		event_publish(b->st, "created", "container", b->id, b->pod_rec.id, false);
}

static void creation_release(struct creation *k)
{
	auto_close(&k->obj.dir);
	auto_close(&k->obj.lock);
	ctr_record_release(&k->rec);
	bundle_release(&k->b);
	handler_release(&k->handler);
	buf_release(&k->sources);
}

static int run_creation(struct creation *k, int64_t began, struct err *e)
{
	struct bundle *b = &k->b;
	/* The parts that the checks look at; the id, and what depends on it, comes with the claim.
	 */
	bundle_derive(b);
	b->why = &k->sources;
	b->handler = &k->handler;
	if (check_request(b, e) < 0 ||
	    handler_find(&k->handler, b->cfg, b->pod_rec.handler, e) < 0 ||
	    check_handler(b, &k->handler, e) < 0 || check_sandbox_runs(b, e) < 0)
		return -1;
	if (k->c->dry_run)
		return print_dry(k, e);
	if (make_container(k, e) < 0) {
		if (id_is_valid(b->id))
			tell(k, began, e);
		return -1;
	}
	tell(k, began, NULL);
	printf("%s\n", b->id);
	return 0;
}

int create_container(struct tool_ctx *c, const struct create_options *o, const char *pod,
		     const char *file, struct err *e)
{
	int64_t began = record_now_ns();
	struct creation k = {
		.c = c, .o = o, .obj = {.dir = -1, .lock = -1}, .sources = BUF_INIT(SOURCES_MAX)};
	AUTO_PB Runtime__V1__PodSandboxConfig *pod_config = NULL;
	AUTO_PB Runtime__V1__ContainerConfig *ctr = (Runtime__V1__ContainerConfig *)pbjson_load(
		&runtime__v1__container_config__descriptor, file, e);
	if (!ctr)
		return -1;
	k.b = (struct bundle){.cfg = &c->cfg,
			      .st = &c->st,
			      .ctr = ctr,
			      .rootfs = -1,
			      .userns = -1,
			      .dry_run = c->dry_run};
	int r = read_pod(&k, pod, &pod_config, e);
	k.b.pod = pod_config;
	if (r == 0)
		r = run_creation(&k, began, e);
	creation_release(&k);
	return r;
}
