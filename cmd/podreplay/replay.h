/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_REPLAY_H
#define PODREPLAY_REPLAY_H
/* podreplay run: a captured pod, made again of the same tools.
 *
 * All of it is below one private directory (`base`), whose lock is held as long as somebody looks after
 * it; one whose lock is free was left by a run that was killed with its keeper, and the next run removes
 * it:
 *
 *	base/lock run.json          {"root", "runroot", "pod"}: for whoever cleans up
 *	base/archive.*              the archive, unpacked (arc_open)
 *	base/etc/                   crisp.json, handlers.d/, net.d/, plugins/
 *	base/root/ run/             state directories, unless others were named
 *	base/volumes/<n>            what stands for the recorded host paths
 *	base/logs/ pod.json <n>.json
 *
 * Nothing that an archive names is opened on this machine: host paths become volumes/<n>, the runtime is
 * this machine's, and what would let a container at the host needs --allow-privileged. */
#include "archive.h"
#include "record.h"
#include "tool.h"
#include "tools.h"

struct replay_options {
	const char *output, *handler, *env_file, *junit;
	struct opt_strings volumes, expect_exit, expect_log;
	double seconds; /* --for, < 0 = not given */
	bool stub_network, allow_privileged, expect_same, with_secrets;
};

/* How a container of the replay went. */
struct replay_ctr {
	char recorded[ID_SIZE]; /* its id in the archive */
	char id[ID_SIZE];       /* "" = could not be made */
	const char *name;       /* borrowed from the index */
	json_int_t attempt;
	struct ctr_record rec;   /* as captured */
	struct exit_record exit; /* as captured; all zero unless ended */
	bool ended;              /* as captured */
	int64_t stopped_at;      /* when somebody stopped it, as captured; 0 = nobody */
	char grace[24];          /* --timeout of that */
	char error[512];         /* the step that failed here */
};

struct replay {
	struct tool_ctx *c;
	const struct replay_options *opt;
	char *base;
	int lock, cancel; /* cancel: readable when all is to end */
	struct arc arc;
	struct config cfg; /* base/etc/crisp.json */
	char *config_file;
	struct state st; /* the replay's */
	struct tools tools;
	json_t *values;  /* "[redacted:N]" -> value */
	json_t *given;   /* --env-file: name -> value */
	json_t *volumes; /* recorded host path -> path here */
	char *handler;   /* of the pod, as it is called here */
	char pod[ID_SIZE];
	struct replay_ctr *ctrs;
	size_t n_ctrs;
	bool over_time; /* --for ended it */
};

/* setup.c: configuration, handler and network below base. */
int replay_setup(struct replay *r, struct err *e);
/* values.c */
int replay_read_env(struct replay *r, struct err *e);   /* --env-file */
void replay_resolve_values(struct replay *r);           /* names to tokens */
json_t *replay_fill(const struct replay *r, json_t *j); /* a new reference */
char *replay_fill_text(const struct replay *r, const char *s, size_t len, size_t *out_len);
/* replay_volumes.c: what stands for the recorded host paths. */
int replay_make_volumes(struct replay *r, struct err *e);
/* replay_images.c: every image of the archive is in the store. */
int replay_images(struct replay *r, struct err *e);
/* replay_pod.c: the requests, and what is done with them, in the recorded order. */
int replay_pod(struct replay *r, struct err *e);
/* replay_privilege.c: pure. Why a request (as pbjson writes it) is not for strangers; NULL = it is. usual:
 * the capabilities that any container has. */
const char *replay_privilege(json_t *config, const json_t *usual);
/* replay_result.c: the table or JSON, the expectations, JUnit. 0, 1 when one does not hold, or -1. */
int replay_result(struct replay *r, struct err *e);

/* Remove the pod, whatever of it there is. Also called by the keeper, with what run.json says. */
int replay_remove(const struct tools *t, const struct state *st, const char *pod, struct err *e);

/* stubnet.c: the CNI plugin that a stub network is made of; it is this program under that name. */
#define STUBNET_NAME "podreplay-stub"
int stubnet_main(void);
/* stubnet_link.c: in the present network namespace, an interface without a wire. `mac` may be "".
 * addresses: strings ADDRESS/BITS. */
int stubnet_link(const char *name, const char *mac, const json_t *addresses, struct err *e);
#endif
