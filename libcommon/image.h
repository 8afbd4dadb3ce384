/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMAGE_H
#define CRISP_IMAGE_H
/* Reading the image store. Layout below <root>:
 *
 *	images/<hex>/manifest.json config.json image.json    hex = sha256 of config.json, the image
 *id names/<escaped reference>      symlink to ../images/<hex>: the only truth about tags and repo
 *digests. Escaped: '/' as "%2f", '%' as "%25"; a name is host/path:tag or host/path@sha256:…, in
 *ref.h's normal form layers/<hex>/diff/ layer.json  hex = the diff ID, or the chain ID for a layer
 *with implied directories
 *
 * image.json: {"version":1,"id":"sha256:…","manifest_digest":"sha256:…","size":N,"created_at":ns,
 *              "layers":[{"id":"<hex>","diff_id":"sha256:…","digest":"sha256:…","size":N}, …]}
 * size is the sum of the layers' uncompressed tar bytes and the config; layers are bottom first.
 *
 * Writers hold <root>/images/.lock; readers hold nothing. Removal renames images/<hex> to tmp/
 *first, so an image is there whole or not at all. A container uses an image's layers while a
 *state.json of a container names the image (record.h): their layers stay until it is gone, the
 *names may go at once. */
#include "err.h"
#include "state.h"

#include <jansson.h>

struct image {
	char id[7 + 64 + 1]; /* sha256:<hex> */
	json_t *meta;        /* image.json */
	json_t *config;      /* config.json, NULL unless asked for */
};

/* The image that `typed` means: sha256:<hex>, <hex>, a unique prefix of the hex (4 or more digits),
 * or a reference by tag or digest (name:tag@digest: the digest decides). Writes "sha256:<hex>".
 * ERR_NOT_FOUND "no such image: …". */
int image_resolve(const struct state *s, const char *typed, char id[72], struct err *e);
int image_open(const struct state *s, const char *id, bool with_config, struct image *img,
	       struct err *e);
void image_release(struct image *img);
#define AUTO_IMAGE __attribute__((cleanup(image_release)))

/* All names that point at images: object name -> "sha256:…" (new reference). One directory read. */
json_t *image_names(const struct state *s, struct err *e);
/* Call fn for each image id ("sha256:…"). */
int image_each(const struct state *s, int (*fn)(void *arg, const char *id, struct err *e),
	       void *arg, struct err *e);
/* Absolute paths of the layers' diff directories, top first as overlay's lowerdir wants them; a new
 * array of strings. */
json_t *image_lowerdirs(const struct state *s, const struct image *img, struct err *e);

/* names/ spelling of a reference and back. 0 or -1 (too long). */
int image_name_escape(const char *name, char *out, size_t size);
int image_name_unescape(const char *file, char *out, size_t size);
#endif
