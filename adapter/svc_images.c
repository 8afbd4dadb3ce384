/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "digest.h"
#include "handler.h"
#include "imgpin.h"
#include "jsonx.h"
#include "lister.h"
#include "packed.h"
#include "pbjson.h"
#include "ref.h"
#include "services.h"
#include "svc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

static const char *spec_image(const Runtime__V1__ImageSpec *s)
{
	return s ? s->image : "";
}

/* An image is the same for every handler; one that nobody knows is refused all the same. */
static int check_handler(const struct crispd *d, const Runtime__V1__ImageSpec *s, struct err *e)
{
	AUTO_HANDLER struct handler h = {.name = NULL};
	return s && *s->runtime_handler ? handler_find(&h, &d->cfg, s->runtime_handler, e) : 0;
}

static void reply_pull(struct call *c, const char *id)
{
	Runtime__V1__PullImageResponse r = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;
	r.image_ref = (char *)id;
	call_reply(c, &r.base);
}

static void answer_pull(struct call *c, const struct job *j)
{
	if (job_error(j))
		call_fail(c, job_error(j));
	else
		reply_pull(c, job_output(j));
}

static void done_image(struct job *j)
{
	index_refresh_images(job_daemon(j)->index);
}

/* Two pulls are the same when name and credentials are; the digest keeps the latter out of memory
 * that outlives the tool. The key gets into the log: without the salt it could be tried out there
 * against a list of passwords. */
static char *pull_key(const char *image, const char *secret, size_t len)
{
	static char salt[ID_SIZE];
	char hex[DIGEST_HEX_LEN + 1] = "";
	if (!*salt)
		id_new(salt);
	if (secret) {
		AUTO_DIGEST struct digest d;
		digest_init(&d);
		digest_update(&d, salt, ID_LEN);
		digest_update(&d, secret, len);
		digest_hex(&d, hex);
	}
	return xasprintf("pull %s %.16s", image, hex);
}

/* The kubelet says for which pod it wants the image. */
static void tell_pod(struct job *j, const struct crispd *d, const Runtime__V1__PodSandboxConfig *c)
{
	const Runtime__V1__PodSandboxMetadata *m = c ? c->metadata : NULL;
	const struct pod *p =
		m ? svc_namesake(d->index, m->name, m->namespace_, m->uid, m->attempt) : NULL;
	if (p)
		job_tell(j, p->o.id);
}

void svc_pull_image(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__PullImageRequest *r = (const void *)request;
	struct crispd *d = call_daemon(c);
	const char *image = spec_image(r->image);
	struct ref ref;
	struct err e;
	size_t len = 0;
	if (ref_parse(&ref, image, &e) < 0 || check_handler(d, r->image, &e) < 0) {
		call_fail(c, &e);
		return;
	}
	char *secret = r->auth ? pbjson_dump(&r->auth->base, 0, &len, &e) : NULL;
	if (r->auth && !secret) {
		call_fail(c, &e);
		return;
	}
	AUTO_FREE char *key = pull_key(image, secret, len);
	struct job *j = job_find(d->jobs, key);
	if (j) {
		job_wait(j, c, answer_pull);
	} else {
		j = job_new(d, call_rpc(c), call_id(c), JOB_PULL);
		job_identify(j, key, NULL);
		tell_pod(j, d, r->sandbox_config);
		int flags = STEP_OUTPUT | STEP_PROXY;
		/* Without the scheme an image called "oci" would be a directory's. */
		AUTO_FREE char *remote = xasprintf("docker://%s", image);
		if (secret)
			step_secret(job_step(j, flags, -1, "ocipull", "--progress", "none",
					     "--auth-fd", "@FD", remote),
				    secret, len);
		else
			job_step(j, flags, -1, "ocipull", "--progress", "none", remote);
		job_wait(j, c, answer_pull);
		job_submit(j, done_image);
	}
	if (secret)
		explicit_bzero(secret, len);
	free(secret);
}

static void answer_remove(struct call *c, const struct job *j)
{
	Runtime__V1__RemoveImageResponse r = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

void svc_remove_image(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__RemoveImageRequest *r = (const void *)request;
	Runtime__V1__RemoveImageResponse nothing = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	const char *typed = spec_image(r->image);
	if (!*typed) {
		svc_fail(c, ERR_BAD_INPUT, "image: no reference given");
		return;
	}
	index_follow_images(d->index);
	const struct image_entry *im = index_image(d->index, typed);
	if (!im) {
		call_reply(c, &nothing.base);
		return;
	}
	AUTO_FREE char *key = xasprintf("remove image %s", im->id);
	struct job *j = job_find(d->jobs, key);
	if (j) {
		job_wait(j, c, answer_remove);
		return;
	}
	j = job_new(d, call_rpc(c), call_id(c), JOB_REMOVE);
	job_identify(j, key, NULL);
	/* By id: all names go. Containers that use it go on. */
	job_step(j, STEP_PLAIN, SVC_BUNDLE_MS, "ocistore", "rm", "--in-use", im->id);
	job_wait(j, c, answer_remove);
	job_submit(j, done_image);
}

void svc_list_images(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ListImagesRequest *r = (const void *)request;
	Runtime__V1__ListImagesResponse reply = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
	const struct index *ix = call_daemon(c)->index;
	const char *want = r->filter ? spec_image(r->filter->image) : "";
	index_follow_images(ix);
	const struct image_entry *only = *want ? index_image(ix, want) : NULL;
	AUTO_ARENA struct arena a = {0};
	size_t n;
	struct image_entry *const *all = index_images(ix, &n);
	for (size_t i = 0; i < n; i++)
		if (!*want || all[i] == only)
			packed_append(&reply.base, &a, n, all[i]->packed, all[i]->packed_len);
	call_reply(c, &reply.base);
}

static uint8_t *image_element(struct crispd *d, const char *id, struct arena *a, size_t *len)
{
	struct image_entry *im = index_image(d->index, id);
	(void)a;
	*len = im ? im->packed_len : 0;
	return im ? im->packed : NULL;
}

void svc_stream_images(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StreamImagesRequest *r = (const void *)request;
	const struct index *ix = call_daemon(c)->index;
	const char *want = r->filter ? spec_image(r->filter->image) : "";
	index_follow_images(ix);
	const struct image_entry *only = *want ? index_image(ix, want) : NULL;
	size_t n;
	struct image_entry *const *all = index_images(ix, &n);
	struct lister *l = lister_new(c, image_element, n);
	for (size_t i = 0; i < n; i++)
		if (!*want || all[i] == only)
			lister_add(l, all[i]->id);
	lister_send(l);
}

static bool uses(const struct ctr *c, const char *id)
{
	size_t i;
	const json_t *other;
	json_array_foreach (c->rec.mount_images, i, other)
		if (json_is_string(other) && strcmp(json_string_value(other), id) == 0)
			return true;
	return strcmp(c->rec.image_id, id) == 0;
}

static json_t *users(const struct index *ix, const char *id)
{
	json_t *list = json_array();
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		const struct ctr *c = index_ctr_at(ix, i);
		if (uses(c, id))
			json_array_append_new(list, json_string(c->o.id));
	}
	return list;
}

/* The configuration as it stands in the store (Entrypoint, Env and the rest), and what is known
 * beside it. */
static char *image_info(const struct crispd *d, const struct image_entry *im)
{
	struct err e;
	AUTO_IMAGE struct image img = {.meta = NULL};
	if (image_open(&d->st, im->id, true, &img, &e) < 0)
		return xstrdup("{}");
	AUTO_JSON json_t *names = image_names(&d->st, &e);
	AUTO_JSON json_t *pins = imgpin_read(&d->st, &e);
	json_t *why = imgpin_reasons(d->cfg.pinned_images, pins, names, im->id);
	AUTO_JSON json_t *j =
		json_pack("{s:O, s:O, s:o, s:o}", "imageSpec", img.config, "store", img.meta,
			  "containers", users(d->index, im->id), "pinnedBy", why);
	char *text = json_dumps(j, JSON_COMPACT);
	return text ? text : xstrdup("{}");
}

void svc_image_status(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ImageStatusRequest *r = (const void *)request;
	Runtime__V1__ImageStatusResponse reply = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
	Runtime__V1__ImageStatusResponse__InfoEntry info =
		RUNTIME__V1__IMAGE_STATUS_RESPONSE__INFO_ENTRY__INIT;
	Runtime__V1__ImageStatusResponse__InfoEntry *infos[] = {&info};
	struct crispd *d = call_daemon(c);
	Runtime__V1__Image m;
	Runtime__V1__Int64Value uid;
	char name[256];
	AUTO_FREE char *text = NULL;
	if (!*spec_image(r->image)) {
		svc_fail(c, ERR_BAD_INPUT, "image: no reference given");
		return;
	}
	index_follow_images(d->index);
	const struct image_entry *im = index_image(d->index, spec_image(r->image));
	if (im) {
		image_message(im, &m, &uid, name);
		reply.image = &m;
	}
	if (im && r->verbose) {
		text = image_info(d, im);
		info.key = (char *)"info";
		info.value = text;
		reply.n_info = 1;
		reply.info = infos;
	}
	call_reply(c, &reply.base);
}

static int by_id(const void *a, const void *b)
{
	const struct layer_use *const *x = a, *const *y = b;
	return strcmp((*x)->id, (*y)->id);
}

/* Each layer once, however many images share it; from the store's records, nothing is walked. */
static void sum_layers(const struct index *ix, uint64_t *bytes, uint64_t *inodes)
{
	size_t n_images, n = 0, k = 0;
	struct image_entry *const *all = index_images(ix, &n_images);
	for (size_t i = 0; i < n_images; i++)
		n += all[i]->n_layers;
	AUTO_FREE struct layer_use **layers = xcalloc(n + 1, sizeof(struct layer_use *));
	for (size_t i = 0; i < n_images; i++)
		for (size_t l = 0; l < all[i]->n_layers; l++)
			layers[k++] = &all[i]->layers[l];
	if (k)
		qsort(layers, k, sizeof(struct layer_use *), by_id);
	for (size_t i = 0; i < k; i++) {
		if (i && strcmp(layers[i]->id, layers[i - 1]->id) == 0)
			continue;
		*bytes += layers[i]->size;
		*inodes += layers[i]->inodes;
	}
}

void svc_image_fs_info(struct call *c, const ProtobufCMessage *request)
{
	Runtime__V1__ImageFsInfoResponse reply = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
	Runtime__V1__FilesystemUsage use = RUNTIME__V1__FILESYSTEM_USAGE__INIT, ctr_use;
	Runtime__V1__FilesystemIdentifier fs = RUNTIME__V1__FILESYSTEM_IDENTIFIER__INIT, ctr_fs;
	Runtime__V1__UInt64Value bytes = RUNTIME__V1__UINT64_VALUE__INIT;
	Runtime__V1__UInt64Value inodes = RUNTIME__V1__UINT64_VALUE__INIT;
	Runtime__V1__FilesystemUsage *list[] = {&use}, *ctr_list[] = {&ctr_use};
	struct crispd *d = call_daemon(c);
	AUTO_FREE char *layers = xasprintf("%s/layers", d->cfg.root);
	AUTO_FREE char *ctrs = xasprintf("%s/containers", d->cfg.root);
	(void)request;
	index_follow_images(d->index);
	sum_layers(d->index, &bytes.value, &inodes.value);
	fs.mountpoint = layers;
	use.timestamp = record_now_ns();
	use.fs_id = &fs;
	use.used_bytes = &bytes;
	use.inodes_used = &inodes;
	/* One file system. The kubelet takes them for two when the inodes differ, and then collects
	 * by other thresholds; the writable layers' own sizes are in the containers' statistics. */
	ctr_fs = fs;
	ctr_fs.mountpoint = ctrs;
	ctr_use = use;
	ctr_use.fs_id = &ctr_fs;
	reply.n_image_filesystems = reply.n_container_filesystems = 1;
	reply.image_filesystems = list;
	reply.container_filesystems = ctr_list;
	call_reply(c, &reply.base);
}
