/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_PULL_H
#define OCIPULL_PULL_H
/* One pull: manifest, configuration, all layers at once, commit. */
#include "child.h"
#include "engine.h"
#include "imgstore.h"
#include "manifest.h"
#include "progress.h"
#include "source.h"
#include "space.h"
#include "tool.h"

struct pull {
	const struct tool_ctx *ctx;
	struct engine engine;
	struct platform platform;
	struct source src;
	struct imgstore_tmp tmp;
	struct progress progress;
	int max_parallel;
	/* Bytes of all layers' reports (unpack.h) together: a layer that waits for lower ones keeps its
	 * own, and there may be hundreds. */
	size_t reports;
	const char *name; /* --name, NULL = the source's */
	int auth_fd;
	/* Layers (of the store) to fetch though they are there, and to replace, and images (hex) whose
	 * records to write anew: ocistore repair. */
	struct opt_strings *again;

	struct buf manifest_text, config_text;
	struct manifest manifest;
	char manifest_digest[DIGEST_STR_LEN + 1]; /* of the image's own manifest */
	char served_digest[DIGEST_STR_LEN + 1];   /* of what the reference names */
	char (*diff)[DIGEST_HEX_LEN + 1];
	char (*chain)[DIGEST_HEX_LEN + 1];
	struct job *jobs;
	struct helper sync;
	struct space space;
};

/* Prints nothing; id is "sha256:<hex>". */
int pull_image(struct pull *p, const char *ref, char id[IMAGE_ID_SIZE], struct err *e);

/* How one layer gets into the store. */
enum job_state {
	JOB_NEW,     /* present? else waits for its turn; then: whose is it? */
	JOB_LOCKED,  /* another process works on it */
	JOB_LOADING, /* ours: bytes come and are unpacked */
	JOB_PLACING, /* waits for the layers below, whose directories it continues */
	JOB_FIXING,  /* a helper adds what the child could not */
	JOB_SYNCING,
	JOB_DONE
};

struct job {
	struct pull *p;
	size_t index;
	enum job_state state;
	struct imgstore_tmp tmp;
	struct helper helper;
	struct fetch fetch;
	int file; /* the layer's file in a directory, -1 = from a registry or at its end */
	struct digest hash;
	long long received;
	struct unpacker un;
	bool input_done;
	bool waiting;    /* an earlier layer brings the same */
	bool wants_slot; /* new, and nothing else is in the way */
	bool implied;    /* the archive left directories unnamed, or */
	bool links;      /* links to files of the layers below */
	bool sync_asked, synced;
	struct imgstore_layer layer; /* when done */
};

void job_init(struct job *j, struct pull *p, size_t index);
/* As far as it goes without waiting; tells the engine what it waits for. *slots: how many more may
 * load at once. */
int job_step(struct job *j, int *slots, struct err *e);
void job_stop(struct job *j); /* what runs */
void job_drop(struct job *j); /* what is unfinished */
/* layer_commit.c: the unpacked tree becomes a layer of the store. */
int job_read_report(struct job *j, struct err *e);
int job_place(struct job *j, struct err *e);
/* 1 done, 0: a helper is at it. */
int job_commit(struct job *j, struct err *e);
/* Does the image stand already as this pull would leave it, names and all? */
bool pull_changes_nothing(const struct pull *p, const char *config_hex, const json_t *names);
/* image_commit.c */
int pull_commit(struct pull *p, const char *config_hex, struct err *e);
#endif
