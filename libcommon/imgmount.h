/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMGMOUNT_H
#define CRISP_IMGMOUNT_H
/* Images that `ocistore mount` shows to people. A mount is recorded before it is made, below
 * runroot, so that a reboot takes both:
 *
 *	<runroot>/mounts/<key>.json  {"version":1,"image":"sha256:…","dir":"/…","boot_id":"…",
 *	                              "namespace":N,"own_dir":bool}; key = sha256 of dir
 *	<runroot>/mounts/<hex>/      where the image is mounted when nobody said where (own_dir)
 *
 * A record counts as a use of the image's layers while the mount may be there: of this boot, and
 * in our mount table, or in that of a process in the mount namespace where it was made.
 * Any other is stale and goes with the next `ocistore gc`. Records are made, judged for a removal and
 * dropped with the store's lock held (image.h). */
#include "digest.h"
#include "image.h"

#include <limits.h>

struct imgmount {
	char key[DIGEST_HEX_LEN + 1];
	char image[IMAGE_ID_SIZE]; /* "" when the record cannot be read */
	char dir[PATH_MAX];
	bool own_dir;
	bool live; /* counts */
	bool here; /* and is in our own mount table */
};

/* Call fn for each record; a nonzero return ends the walk and is returned. */
int imgmount_each(const struct state *s,
		  int (*fn)(void *arg, const struct imgmount *m, struct err *e), void *arg,
		  struct err *e);
void imgmount_key(const char *dir, char key[DIGEST_HEX_LEN + 1]);
/* Write the record of a mount that is about to be made here, at m->dir. */
int imgmount_record(const struct state *s, const struct imgmount *m, struct err *e);
/* Forget it, and remove the directory that was made for it. Not mounted any more. */
int imgmount_forget(const struct state *s, const struct imgmount *m, struct err *e);
/* Remove what a process that died while it wrote a record has left. */
void imgmount_sweep(const struct state *s);
#endif
