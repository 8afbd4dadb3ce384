/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_CAPTURE_H
#define PODREPLAY_CAPTURE_H
/* What capture and run share: a pod of some state directory becomes an archive. Nothing is locked and
 * nothing changed, so it works beside whoever works on the pod, and without a daemon. */
#include "archive.h"
#include "redact.h"
#include "tool.h"

struct capture_options {
	bool images, secrets;
	const char *volumes; /* kinds and paths, separated by commas; NULL = none */
	long log_lines;
};

struct capture_doc; /* of capture.c */

struct capture {
	struct tool_ctx *c;
	const struct capture_options *opt;
	char pod[ID_SIZE];
	struct arc_writer *out;
	struct redactor *redactor; /* NULL with secrets */
	struct capture_doc *docs;
	size_t n_docs, room;
	json_t *index;      /* podreplay.json */
	json_t *containers; /* of each captured container, oldest first: {"id", "config"} */
	json_t *images;     /* set of ids */
	json_t *runtimes;   /* name of a handler -> path of its runtime */
	char *tmp;          /* a private directory; NULL until it is needed */
};

/* The archive of a pod at `out`. given: name -> value of what is secret for sure, or NULL; replay: the
 * member of podreplay.json, or NULL for a capture. */
int capture_pod(struct tool_ctx *c, const char *pod, const struct capture_options *opt,
		json_t *given, json_t *replay, const char *out, struct err *e);

/* ---- between the files of capture */

/* A document or text for the archive, to be redacted. Both take what they get. */
void capture_json(struct capture *k, const char *path, json_t *j);
void capture_text(struct capture *k, const char *path, char *data, size_t len);
/* dir/name as JSON, or as text when it does not parse; nothing when it is not there. */
void capture_record(struct capture *k, int dir, const char *name, const char *path);
/* Whoever has the archive knows it: no value that is part of it is taken out of names. */
void capture_public(struct capture *k, const char *text);

int capture_volumes(struct capture *k, struct err *e);  /* volumes.c */
int capture_images(struct capture *k, struct err *e);   /* images.c */
int capture_versions(struct capture *k, struct err *e); /* versions.c */

/* What a mounted host path is, by where kubelet and podmanifest(1) put it: "configmap", "secret",
 * "emptydir", "projected", "downwardapi", "csi", "serviceaccount", "hosts", "termination", else
 * "hostpath". */
const char *volume_kind(const char *host_path, const char *container_path);
#endif
