/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_H
#define PODNET_H
/* What the verbs of podnet share. A pod holds, outside its two directories, a network attachment
 * (network.json says which, before it is made), a pinned network namespace, and below its run
 * directory pinned namespaces and /dev/shm. All of it follows from the id, so that teardown works
 * whatever a crash or a damaged record left. */
#include "record.h"
#include "tool.h"

#include <jansson.h>

#define NETNS_DIR "/run/netns"
#define NETNS_PREFIX "crisp-"
enum { NETWORKS_MAX = 8 };

struct pod {
	struct tool_ctx *c;
	char id[ID_SIZE];
	int dir;     /* <root>/pods/<id> */
	char *run;   /* path of <runroot>/pods/<id> */
	char *netns; /* /run/netns/crisp-<id>, whether it exists or not */
};
/* Paths only; dir stays -1. */
void pod_init(struct pod *p, struct tool_ctx *c, const char *id);
/* With the directory open. ERR_NOT_FOUND. */
int pod_open(struct pod *p, struct tool_ctx *c, const char *id, struct err *e);
void pod_release(struct pod *p);
#define AUTO_POD __attribute__((cleanup(pod_release)))

/* How long a verb waits for another one that works on the same pod. */
int pod_lock_ms(const struct tool_ctx *c);

/* network.c. One attachment record for each network of the pod, {"version","index","file","name",
 * "ifname","netns","args","runtime","config","stage","result","ips"}, in network.json, network.1.json
 * and so on; `stage` is "ADD <plugin>" while one runs, then "attached", "detached". The first one's
 * addresses are the pod's. */
struct network_plan {
	json_t *list;       /* the configuration (cniconf.h) */
	const char *file;   /* where it is from */
	const char *ifname; /* NULL = eth<index> */
	const char *args;   /* CNI_ARGS */
	json_t *runtime;    /* values for capabilities */
	json_t *networks;   /* names of all networks of the pod, in order; NULL = this one */
};
json_t *network_plan(const struct pod *p, size_t index, const struct network_plan *plan);
/* ADD to every network of the array of records, by every plugin; *ips gets the pod's addresses.
 * Saves each stage before it begins. Undoing is network_detach's. */
int network_add(const struct pod *p, json_t *nets, json_t **ips, struct err *e);
/* DEL with the saved configurations, the last network and the last plugin first; a plugin that is
 * missing or fails leaves a debt of that network. Fails only when the debt cannot be recorded
 * either. Nothing to do is success. */
int network_detach(const struct pod *p, struct err *e);
/* The records there are in a pod's directory, as they are: an array of objects, null for a damaged
 * one. */
json_t *network_records(int dir);
/* True if the record's network holds something of the pod's. */
bool network_is_attached(json_t *net);
/* DEL of one attachment record; every plugin gets its turn, the first error is returned. */
int network_del(const struct pod *p, json_t *net, const char *netns, int lock, struct err *e);

/* teardown.c. Gives back everything that the pod holds outside its directories. Resumable. */
int pod_teardown(const struct pod *p, struct err *e);
/* --dry-run: what teardown would give back, a line each on stdout. */
void pod_show_holdings(const struct pod *p);
/* Teardown, then "notready" in the record if there is one. The pod's lock is held. */
int pod_stop(const struct pod *p, struct err *e);
/* Teardown, then directories and claim. The pod's lock is held. */
int pod_remove(const struct pod *p, struct err *e);
/* ERR_BAD_STATE naming a container of the pod. */
int pod_has_no_containers(const struct pod *p, struct err *e);
/* pod_remove of what a dead creator left; 0 also when it is gone or somebody else was faster. */
int pod_clean_abandoned(struct tool_ctx *c, const char *id, struct err *e);

int cmd_create(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_status(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_stop(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_rm(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_update(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_ls(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt ls_opts[];
int cmd_gc(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_check(struct tool_ctx *c, int argc, char **argv, struct err *e);
int cmd_exec(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* gc.c. Before the first attachment after a boot: everything that gc does, so that what the pods of
 * the earlier boot held is free. Costs one look at a file otherwise. */
int boot_settle(struct tool_ctx *c, struct err *e);

struct create_opts {
	const char *id, *handler, *origin;
	struct opt_strings networks;
};
extern struct create_opts create_opts;
#endif
