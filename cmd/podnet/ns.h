/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_NS_H
#define PODNET_NS_H
/* Namespaces that live without a process: made and set up from inside, then bound to files. Where no
 * process of another namespace is to be started and no user namespace is wanted, the caller makes them itself and steps out again:
 * that is faster by a fork. Else a child does it, which ends when they are bound.
 *
 *	ns_start(&child, &plan, e);          they are made, lo is up, sysctls set
 *	ns_pin(&child, "net", path, e); …
 *	(CNI ADD)
 *	ns_finish(&child, e);                the sysctls of interfaces that have come only now
 *	ns_end(&child);                      always
 *
 * The child dies with its parent. The caller must be single-threaded. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct ns_plan {
	bool net, ipc, uts;
	/* The mappings (userns.h) of a new user namespace, which owns the others; NULL = none. The
	 * child is its root before it makes them. */
	const char *uid_map, *gid_map;
	const char *hostname; /* with uts */
	json_t *sysctls;      /* {"net/ipv4/ip_forward": "1"}: paths below /proc/sys */
	/* The first process of a new PID namespace; NULL = no such namespace. It gets the other end
	 * of init_sock as its standard input. */
	const char *const *init_argv;
};

enum { NS_NET, NS_IPC, NS_UTS, NS_KINDS };
struct ns_child {
	pid_t pid; /* -1 = there is none */
	int sock;
	int fd[NS_KINDS]; /* without a child: the namespaces, -1 = not made */
	json_t *later;    /* and the sysctls that are still to be set */
	pid_t init;       /* started by init_argv; not our child */
	int init_sock;
};
#define NS_CHILD_NONE \
	((struct ns_child){.pid = -1, .sock = -1, .fd = {-1, -1, -1}, .init = -1, .init_sock = -1})

int ns_start(struct ns_child *c, const struct ns_plan *plan, struct err *e);
/* Bind the namespace of `type` (user, net, ipc, uts, pid_for_children) to the new file `path`. */
int ns_pin(const struct ns_child *c, const char *type, const char *path, struct err *e);
int ns_finish(struct ns_child *c, struct err *e);
void ns_end(struct ns_child *c);
#define AUTO_NS_CHILD __attribute__((cleanup(ns_end)))

/* Make /run/netns the way `ip netns` does: a shared mount, so that a namespace pinned or removed
 * here is so in every mount namespace. */
int ns_prepare_dir(const char *dir, struct err *e);
/* Unmount whatever is mounted on path, however often, and remove the file. Gone is success. */
int ns_unpin(const char *path, struct err *e);
/* The same without removing anything: for directories. */
int ns_unmount(const char *path, struct err *e);
/* True if path is a pinned namespace. */
bool ns_is_pinned(const char *path);
#endif
