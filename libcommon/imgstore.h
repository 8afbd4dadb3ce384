/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMGSTORE_H
#define CRISP_IMGSTORE_H
/* Changing the image store (image.h has the layout and the reading side).
 *
 * Unfinished work is a directory in tmp/ with a `lock` file that its maker holds; one whose lock is
 * free is garbage:
 *
 *	tmp/pull-<n>/        a pull: wants.json (the layers it counts on), image/
 *	tmp/layer-<diff>/    a layer being unpacked: new/{diff,layer.json}; its lock keeps two
 *	                     processes from fetching the same one
 *	tmp/load-<n>/        an archive that is being loaded
 *	tmp/read-<n>/        somebody reads layers for long (verify, save): wants.json
 *	tmp/trash-<n>/       being removed
 *
 * tmp/.lock guards making and judging these directories; it comes after images/.lock.
 *
 * layer.json: {"version":1,"diff_id":"sha256:…","size":N,"implied":bool,"opaque":bool,"root":bool,
 * "inodes":N,"usage":N,"recipe":bool}; size counts the bytes of the uncompressed tar, inodes and usage
 * (bytes on disk, as far as the file system could tell when it was made) what stands in diff/.
 * `recipe`: there is one beside it (recipe.h). `implied` says that the tar did not name all directories it
 * touches, whose metadata then came from the layers below: such a layer stands under its chain ID,
 * or, having nothing below it, under its diff ID, but then serves only as a bottom layer. */
/* What a power cut leaves is whole because of this order, each step on disk before the next:
 *
 *	1. a layer's files and layer.json in tmp/ (syncfs)
 *	2. rename to layers/<hex>: after the cut it is there with all it holds, or not at all
 *	3. fsync of layers/, and of image/{manifest,config,image}.json and of image/ in tmp/
 *	4. rename to images/<hex>; fsync of images/
 *	5. the names, each by a rename; fsync of names/
 *
 * Step 2 is not made durable for its own sake: a layer that is lost with its rename is fetched
 * again. tests/bats/pull_crash.bats replays the system calls of a pull against this list. */
#include "digest.h"
#include "err.h"
#include "image.h"
#include "state.h"

#include <jansson.h>
#include <stdbool.h>

struct imgstore_tmp {
	char name[96]; /* below tmp/ */
	int dir, lock;
};
#define IMGSTORE_TMP_NONE ((struct imgstore_tmp){.dir = -1, .lock = -1})

/* A new directory tmp/<kind>-<random>, its lock held. */
int imgstore_tmp_new(const struct state *s, const char *kind, struct imgstore_tmp *t,
		     struct err *e);
/* tmp/layer-<diff>: 1 when it is ours now (empty or with a dead maker's leftovers removed), 0 when
 * another works on it: t->lock is then an open descriptor of its lock file, to wait on
 * (F_OFD_SETLKW), close and try again. */
int imgstore_layer_claim(const struct state *s, const char *diff_hex, struct imgstore_tmp *t,
			 struct err *e);
/* Remove the directory and let its lock go. Harmless on IMGSTORE_TMP_NONE. */
int imgstore_tmp_drop(const struct state *s, struct imgstore_tmp *t, struct err *e);
/* How a collection tells what it does, and whether it does it. */
struct imgstore_report {
	bool dry_run;
	/* what: "layer <hex>", "tmp/<name>", "image <id>", "name <file>"; NULL = silent */
	void (*say)(void *arg, const char *what, const char *why, bool removed);
	void *arg;
};
/* Remove from tmp/ all that a dead process left. r NULL: silent. */
int imgstore_clean_tmp(const struct state *s, const struct imgstore_report *r, struct err *e);

struct imgstore_layer {
	char id[DIGEST_HEX_LEN + 1]; /* its directory's name */
	json_int_t size;
	bool opaque; /* its root hides all layers below (image.h) */
	bool root; /* the archive names the root: its owner and mode are the image's from here on */
};
/* Is the layer there, for a place in an image whose chain ID (hex) is given? */
bool imgstore_layer_find(const struct state *s, const char *diff_hex, const char *chain_hex,
			 struct imgstore_layer *out);
/* Give a finished tree (t->dir/new, synced) its place in layers/. One that is there already stays
 * and ours is left for imgstore_tmp_drop. */
int imgstore_layer_commit(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			  struct err *e);
/* The same, but what has the place already gives it up and stays under another name until nobody
 * uses it (imgstore_gc): a layer that was found damaged, and may be mounted. */
int imgstore_layer_replace(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			   struct err *e);
/* Record in the pull's directory which layers it counts on, so that no removal takes them. After
 * this, what imgstore_layer_find finds stays. */
int imgstore_want_layers(const struct state *s, const struct imgstore_tmp *t, const json_t *ids,
			 struct err *e);

/* Make t->dir/image (manifest.json, config.json, image.json, all synced) the image <hex>, then
 * point the names (array of strings) at it. All of its layers must be in layers/. */
int imgstore_image_commit(const struct state *s, const struct imgstore_tmp *t, const char *hex,
			  const json_t *names, struct err *e);

/* Who uses images now: containers (record.h) and what `ocistore mount` shows (imgmount.h). */
struct imgstore_users {
	json_t *by_image; /* "sha256:…" -> ["container <id>", "mount <dir>", …] */
	char all[256];    /* why any image may be in use; "" = all records could be read */
};
int imgstore_users_read(const struct state *s, struct imgstore_users *u, struct err *e);
/* One of the image's users, borrowed; NULL = none. */
const char *imgstore_user(const struct imgstore_users *u, const char *id);
void imgstore_users_release(struct imgstore_users *u);
#define AUTO_IMGSTORE_USERS __attribute__((cleanup(imgstore_users_release)))
/* Is layers/<entry> one that was replaced, and of which layer? Who may still use it, or NULL. */
bool imgstore_is_replaced(const char *entry, char hex[DIGEST_HEX_LEN + 1]);
const char *imgstore_replaced_user(const struct state *s, const struct imgstore_users *u,
				   const char *hex);

/* The following are called with the store's lock held (image_store_lock). */

/* Point a name at the image, or take it away: one rename or unlink each. Success when it is not
 * there. */
int imgstore_name_set(const struct state *s, const char *name, const char *hex, struct err *e);
int imgstore_name_drop(const struct state *s, const char *name, struct err *e);
/* Make names/ durable. */
int imgstore_names_sync(const struct state *s, struct err *e);
/* Remove the image and all of its names and pins: one rename, after which it is images/.<hex>, then the
 * names. Its layers go with the collection that must follow, imgstore_gc or imgstore_gc_later, once
 * no image, container or mount needs them. Success when it is not there. names: what image_names says
 * now, for who knows it already, or NULL. */
int imgstore_image_remove(const struct state *s, const char *id, json_t *names, struct err *e);

/* Without the lock: */

/* Remove the layers that nothing needs and what dead processes left in tmp/, and tell of each thing
 * why it goes or stays. r NULL: silent. */
int imgstore_gc(const struct state *s, const struct imgstore_report *r, struct err *e);
/* The same in a child process that outlives the caller: in a session of its own, at low priority,
 * with no descriptor but the store's. It may be killed at any time: what it has moved into tmp/ goes
 * with the next collection, what it has not is found again. */
int imgstore_gc_later(const struct state *s, struct err *e);

/* What a layer takes on disk, as its record says: nothing is walked. False when it has no record. */
bool imgstore_layer_usage(const struct state *s, const char *hex, json_int_t *bytes,
			  json_int_t *inodes);
#endif
