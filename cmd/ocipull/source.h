/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_SOURCE_H
#define OCIPULL_SOURCE_H
/* What an operand of ocipull names: an image of a registry, of an OCI layout (oci:DIR[:TAG]), or of
 * an archive (oci-archive:FILE[:TAG], docker-archive:FILE[:REF]). An archive is first unpacked, by
 * the same confined child as layers, into the pull's directory and then read as a directory. */
#include "auth.h"
#include "config.h"
#include "engine.h"
#include "fetch.h"
#include "imgstore.h"
#include "manifest.h"
#include "ref.h"
#include "registry.h"

enum source_kind { SOURCE_REGISTRY, SOURCE_OCI, SOURCE_DOCKER };

struct source {
	enum source_kind kind;
	struct engine *engine;
	struct fetch fetch; /* for what is fetched whole */
	/* registry */
	struct ref ref;
	struct registry reg;
	struct auth_store auth;
	/* directories */
	int dir;
	bool ours;             /* unpacked from an archive: nothing leads out of it */
	char base[256];        /* its name without suffixes, for naming images */
	struct descriptor top; /* what index.json's entry points at */
	json_t *layer_paths;   /* docker-archive: where each layer is */
	struct buf config_text, manifest_text; /* docker-archive; the latter made by us */
	json_t *names; /* strings, in normal form: what the source calls the image */
};

int source_open(struct source *s, struct engine *en, const struct config *cfg, int auth_fd,
		const struct imgstore_tmp *tmp, const char *typed, struct err *e);
void source_release(struct source *s);

/* The manifest or index with that digest, or the one that the operand named (digest NULL), into b;
 * verified, its digest in got. media_type: what the source says it is. */
int source_manifest(struct source *s, const char *digest, struct buf *b, char media_type[128],
		    char got[DIGEST_STR_LEN + 1], struct err *e);
int source_config(struct source *s, const struct descriptor *d, struct buf *b, struct err *e);
/* A layer's file; only for directories. *size gets its length. */
int source_open_layer(struct source *s, size_t index, const struct descriptor *d, long long *size,
		      struct err *e);

/* A regular file's whole content. */
int read_regular(int fd, const char *name, struct buf *b, struct err *e);
/* Verify bytes against a digest; `what` for the message. size < 0: not known. */
int check_digest(const char *what, const char *want, json_int_t size, const struct buf *b,
		 struct err *e);
/* layout.c */
int layout_open(struct source *s, const char *tag, struct err *e);
int docker_archive_open(struct source *s, const char *wanted, struct err *e);
/* Open a file of the directory. */
int source_file(const struct source *s, const char *path, struct err *e);
#endif
