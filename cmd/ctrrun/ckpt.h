/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_CKPT_H
#define CTRRUN_CKPT_H
/* Checkpoints. A captured container is a directory of the files that other programs of this kind
 * write (checkpointctl reads them):
 *
 *	checkpoint/      CRIU's images          config.dump      name, id, image, runtime, times
 *	dump.log         what CRIU did          spec.dump        the config.json it ran by
 *	rootfs-diff.tar  its writable layer     deleted.files    what is not there any more
 *	network.status   the pod's networks     status           times and pid, as containerd has it
 *	container.json   its ContainerConfig
 *
 * The archive of one container is a tar of that. A pod's checkpoint is a directory with one such
 * directory a container, named by the container's id, and checkpoint.json, written last:
 *
 *	{"version":1, "runtime":"runc", "handler":"runc", "pod":{PodSandboxConfig}, "created_at":N,
 *	 "containers":[{"name":"web","id":"…","image_id":"sha256:…"}]} */
#include "ctr.h"

enum { CKPT_JSON_MAX = 16 << 20, CKPT_CTRS_MAX = 256 };
#define CKPT_FILE "checkpoint.json"
#define CKPT_IMAGES "checkpoint"
#define CKPT_DIFF "rootfs-diff.tar"
#define CKPT_DELETED "deleted.files"

/* --option KEY=true|false; what the runtime is told. */
struct ckpt_options {
	bool tcp_established, file_locks, ext_unix_sk;
};
extern struct opt_strings ckpt_option_words;
int ckpt_options_parse(struct ckpt_options *o, bool restore, struct err *e);
/* As arguments of the runtime, at most CKPT_ARGS of them and NULL. */
enum { CKPT_ARGS = 4 };
void ckpt_options_args(const struct ckpt_options *o, const char *args[CKPT_ARGS]);

/* Can it be captured here at all? ERR_UNSUPPORTED with the reason. */
int ckpt_can(const struct ctr *k, struct err *e);

/* Everything of the directory but the images. dir: the container's, in the checkpoint. */
int ckpt_describe(const struct ctr *k, int dir, struct err *e);

/* ckpttar.c: all below src as a tar to fd. With deleted (an array) src is the upper directory of an
 * overlay: whiteouts and what is hidden by opaque directories are listed there. */
int ckpt_tar(int src, int fd, json_t *deleted, struct err *e);
/* Back: remove what is listed, unpack the tar (descriptor, -1 = none) into root, in a confined child
 * that sees nothing outside of it. */
int ckpt_untar(int root, int fd, const json_t *deleted, struct err *e);

/* checkpoint.json of a pod's checkpoint at this absolute path, which must be root's alone. */
json_t *ckpt_open(const char *path, int *dir, struct err *e);

/* ckptcut.c: the pause of all, the capture of each, the end of the pause on every way out. */
struct cut {
	struct tool_ctx *c;
	char pod[ID_SIZE];
	struct ckpt_options options;
	struct ctr *ctrs; /* open and locked */
	size_t n;
	int out;          /* gets a directory for each, named by its id; then removed on failure */
	const char *path; /* where that is */
	int signals;      /* somebody wants us to end */
	int run, lock;    /* the pod's directory with the note of what is under way, and its lock */
	long long deadline;
};
int cut_begin(struct cut *cut, struct tool_ctx *c, const char *pod, struct err *e);
/* 0 = captured and running again; -1 = running again, nothing left in `out`. */
int cut_run(struct cut *cut, struct err *e);
void cut_end(struct cut *cut);
/* ERR_CANCELLED or ERR_TIMEOUT when it is time to give up. */
int cut_go_on(const struct cut *cut, struct err *e);
/* Undo what a checkpoint of the pod that was killed has left. 0 also when there is nothing. */
int cut_recover(const struct tool_ctx *c, const char *pod, int timeout_ms, struct err *e);

int verb_checkpoint(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_checkpoint_pod(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_checkpoint_check(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_restore(struct tool_ctx *c, int argc, char **argv, struct err *e);
int verb_thaw(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* What we are when CRIU runs us as its action script (restore.c). */
bool restore_is_script(const char *argv0);
int restore_script(const char *argv0);
#endif
