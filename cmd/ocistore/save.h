/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCISTORE_SAVE_H
#define OCISTORE_SAVE_H
/* Writing images out. Equal inputs give equal bytes: no time, owner or order of a directory is in
 * what is written. */
#include "buf.h"
#include "digest.h"
#include "err.h"
#include "image.h"
#include "imgstore.h"
#include "tool.h"

#include <jansson.h>
#include <stdbool.h>

/* Where it goes: a tar stream, or the files of a directory. */
struct save_out {
	bool is_dir;
	int fd;           /* the stream, or the directory */
	int parent;       /* of the target, -1 = standard output */
	char tmp[64];     /* its name until it is whole, "" = none; flock(2) says that we live */
	const char *name; /* its name then, in parent */
	int member;       /* the file that is being written; the stream again in an archive */
	unsigned long long size, left; /* of the member */
};
#define SAVE_OUT_NONE ((struct save_out){.fd = -1, .parent = -1, .member = -1})

/* target "-": standard output, which must not be a terminal and cannot be a directory. Beside any other
 * target what a killed process has left there (our user's, not locked) is removed. */
int save_out_open(struct save_out *o, const char *target, bool is_dir, struct err *e);
int save_out_mkdir(struct save_out *o, const char *name, struct err *e);
/* A member of exactly `size` bytes: begin, write, end. */
int save_out_begin(struct save_out *o, const char *name, unsigned long long size, struct err *e);
int save_out_write(struct save_out *o, const void *data, size_t len, struct err *e);
int save_out_end(struct save_out *o, struct err *e);
int save_out_member(struct save_out *o, const char *name, const void *data, size_t len,
		    struct err *e);
/* Give it its name. */
int save_out_commit(struct save_out *o, struct err *e);
/* Whatever has not been committed is gone. */
void save_out_close(struct save_out *o);

struct save_layer {
	char id[DIGEST_HEX_LEN + 1]; /* its directory's name */
	char diff[DIGEST_HEX_LEN + 1];
	/* How it stands in a layout: set when it is written. */
	char blob[DIGEST_HEX_LEN + 1];
	json_int_t blob_size;
};

struct save_image {
	char id[IMAGE_ID_SIZE];
	json_t *names; /* strings */
	struct buf config;
	char last_layer[DIGEST_HEX_LEN + 1]; /* diff ID, "" = no layer */
	size_t count;
	size_t *layers; /* indexes into save.layers, bottom first */
};

enum save_compress { SAVE_PLAIN, SAVE_GZIP, SAVE_ZSTD };

struct save {
	const struct tool_ctx *ctx;
	struct save_out out;
	enum save_compress compress;
	int level;
	size_t image_count, layer_count;
	struct save_image *images;
	struct save_layer *layers; /* each once */
	struct imgstore_tmp hold;  /* hold_layers */
};

/* save_layer.c: `name` in the output becomes the layer's tar stream (docker), or
 * blobs/sha256/<digest> the stream as s->compress wants it. A layer that is not what it was is
 * refused. */
int save_layer_plain(struct save *s, const struct save_layer *l, const char *name, struct err *e);
int save_layer_blob(struct save *s, struct save_layer *l, struct err *e);
/* save_docker.c, save_oci.c: all of the images */
int save_docker(struct save *s, struct err *e);
int save_oci(struct save *s, struct err *e);
#endif
