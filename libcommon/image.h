/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMAGE_H
#define CRISP_IMAGE_H
/* Reading the image store. Layout below <root>:
 *
 *	images/<hex>/        manifest.json config.json image.json; hex = sha256 of config.json, the
 *	                     image id
 *	images/.<hex>/       the same, removed: not an image any more, only the list of the layers
 *	                     that its users may still need, until imgstore_gc has looked
 *	names/<escaped ref>  symlink to ../images/<hex>: the only truth about tags and repo digests.
 *	                     Escaped: '/' as "%2f", '%' as "%25"; a name is host/path:tag or
 *	                     host/path@sha256:…, in ref.h's normal form
 *	layers/<hex>/        diff/ layer.json; hex = the diff ID, or the chain ID for a layer with
 *	                     implied directories
 *
 * image.json: {"version":1,"id":"sha256:…","manifest_digest":"sha256:…","size":N,"created_at":ns,
 *              "layers":[{"id":"<hex>","diff_id":"sha256:…","digest":"sha256:…","size":N,
 *                         "opaque":bool}, …], "root":bool}
 * A layer with "opaque":true hides all layers below it: overlay does not look for the mark of that
 * on a layer's root, so image_lowerdirs leaves them out. Overlay takes the owner and mode of "/"
 * from the topmost layer; what the topmost one that names "/" says of it counts. Where this is not
 * the same, images/<hex>/root is an empty directory that comes on top ("root":true). size is the sum of the layers' uncompressed
 * tar bytes and the config; layers are bottom first.
 *
 * Writers hold <root>/images/.lock; readers hold nothing. An image is there whole or not at all. A
 * container uses an image's layers from the moment its state.json names the image (record.h) until
 * that is gone: layers stay that long, the names may go at once. Whoever makes such a record holds
 * the lock from resolving the image until state.json is written, so that no removal comes between:
 *
 *	AUTO_CLOSE int lock = image_store_lock(s, 10000, e);
 *	... image_resolve, image_open, ctr_record_write ...
 *
 * imgstore.h has what changes the store. */
#include "err.h"
#include "state.h"

#include <jansson.h>
#include <stdbool.h>

enum { IMAGE_ID_SIZE = 7 + 64 + 1, IMAGE_LAYERS_MAX = 500 };

struct image {
	char id[IMAGE_ID_SIZE]; /* sha256:<hex> */
	json_t *meta;           /* image.json */
	json_t *config;         /* config.json, NULL unless asked for */
};

/* The image that `typed` means: sha256:<hex>, <hex>, a reference by tag or digest (name:tag@digest:
 * the digest decides), or a unique prefix of the hex (4 or more digits). Writes "sha256:<hex>".
 * ERR_NOT_FOUND "no such image: …"; ERR_BAD_INPUT when it cannot be a reference at all or a prefix
 * is not unique. */
int image_resolve(const struct state *s, const char *typed, char id[IMAGE_ID_SIZE], struct err *e);
/* ERR_NOT_FOUND when the image is not there, ERR_BAD_STATE when its record does not parse. */
int image_open(const struct state *s, const char *id, bool with_config, struct image *img,
	       struct err *e);
void image_release(struct image *img);
#define AUTO_IMAGE __attribute__((cleanup(image_release)))

/* All names that point at images: object name -> "sha256:…" (new reference). One directory read. */
json_t *image_names(const struct state *s, struct err *e);
/* Call fn for each image id ("sha256:…"); a nonzero return ends the walk and is returned. */
int image_each(const struct state *s, int (*fn)(void *arg, const char *id, struct err *e),
	       void *arg, struct err *e);
/* Absolute paths of the layers' diff directories, top first as overlay's lowerdir wants them; a new
 * array of strings. A layer that an image has twice is listed once, at its top place: overlay
 * refuses a directory given twice, and the lower one can show nothing that the upper one does not
 * decide. */
json_t *image_lowerdirs(const struct state *s, const struct image *img, struct err *e);

/* The lock of all that changes images/, names/ and layers/, or that makes a container use them.
 * Held for moments only. The descriptor is the lock; timeout_ms as in fs_lock_at. */
int image_store_lock(const struct state *s, int timeout_ms, struct err *e);

/* Does one of the patterns (pinned_images: references in any spelling, or globs over the normal
 * form) cover this name? */
bool image_name_is_pinned(const json_t *patterns, const char *name);
/* Which one (borrowed), or NULL. What is pinned by hand: imgpin.h. */
const char *image_name_pinned_by(const json_t *patterns, const char *name);

/* names/ spelling of a reference and back. 0 or -1 (too long, or not such a spelling). */
int image_name_escape(const char *name, char *out, size_t size);
int image_name_unescape(const char *file, char *out, size_t size);
#endif
