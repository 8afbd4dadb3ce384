/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_USERNS_H
#define CRISP_USERNS_H
/* User namespaces and idmapped mounts.
 *
 * A mapping is one or more lines of (inside, outside, length): the ids from `inside` on are those from
 * `outside` on in the parent namespace. As text it is what /proc/PID/uid_map takes.
 *
 * An idmapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP) shows files of owner `inside` on the disk as
 * those of `outside`, so that a user namespace with the same mapping sees the owner of the disk again.
 * Overlay takes such mounts as its layers since Linux 5.19, tmpfs can be one since 6.3. */
#include "cri.pb-c.h"
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Lines that the kernel takes; a pod has one. */
enum { USERNS_LINES_MAX = 340 };

/* The mapping as text, a new string; NULL with ERR_BAD_INPUT when there is no line, a line is empty
 * or leaves the 32 bits, or two lines overlap on either side. `what` names the field. */
char *userns_map(Runtime__V1__IDMapping *const *lines, size_t n, const char *what, struct err *e);
/* Whether the pod (its options; NULL = none) has a user namespace. */
bool userns_wanted(const Runtime__V1__UserNamespace *u);
/* What a client may ask for: mode NODE, or mode POD with one line of uids and one of gids, each from
 * id 0 on. Anything else is ERR_BAD_INPUT. */
int userns_check(const Runtime__V1__UserNamespace *u, const char *what, struct err *e);
/* The id in the parent namespace; false when the mapping has none. */
bool userns_outside(Runtime__V1__IDMapping *const *lines, size_t n, uint32_t inside,
		    uint32_t *outside);
bool userns_same_map(Runtime__V1__IDMapping *const *a, size_t n_a, Runtime__V1__IDMapping *const *b,
		     size_t n_b);
/* [{"containerID", "hostID", "size"}] of the OCI specification, a new array. */
json_t *userns_oci_map(Runtime__V1__IDMapping *const *lines, size_t n);

/* Give a process that has just made its user namespace the mappings. */
int userns_write_maps(pid_t pid, const char *uids, const char *gids, struct err *e);
/* A descriptor of a new user namespace that lives only by it. */
int userns_open(const char *uids, const char *gids, struct err *e);

/* A mount of what is at `path` that is nowhere yet, its owners mapped by the namespace `userns`; with
 * `recursive` all that is mounted below it, too. It still hears of what is mounted at `path` later, but
 * nothing goes the other way: unmounting it must not reach the original. ERR_UNSUPPORTED, naming the file system, when it or
 * this kernel cannot do that. */
int idmap_clone(const char *path, bool recursive, int userns, struct err *e);
/* Put it at `target`. */
int idmap_attach(int mount, const char *target, struct err *e);
/* Whether layers in this directory can be idmapped: asks the kernel, changes nothing. */
int idmap_probe(const char *dir, struct err *e);
/* overlay_mount (overlay.h) with every lower directory mapped by `userns`; upper and work are as they
 * are, so what is written there belongs to the ids outside. */
int idmap_overlay(const json_t *lower, const char *upper, const char *work, const char *target,
		  int userns, struct err *e);
#endif
