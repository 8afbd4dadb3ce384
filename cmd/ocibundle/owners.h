/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_OWNERS_H
#define CRISP_OWNERS_H
/* Whose files are whose when the pod has a user namespace: layers, volumes and other images are shown
 * with their owners mapped (userns.h), what is made for the container belongs to its root. Nothing is
 * ever copied to change its owner. Without a user namespace all of these do nothing. */
#include "bundle.h"

/* The mappings of the pod; NULL = it has no user namespace. */
const Runtime__V1__UserNamespace *owners_of_pod(const struct bundle *b);
/* What the container says of user namespaces against what its pod has. Absent says nothing. */
int owners_check(const struct bundle *b, struct err *e);
/* The mappings of one of its mounts, and what cannot be together with them. */
int owners_check_mount(const struct bundle *b, size_t i, struct err *e);
/* Open the pod's pin, b->userns. A pin that is gone never means the host's namespace. */
int owners_open(struct bundle *b, struct err *e);
/* ERR_BAD_INPUT when the container has no such user or group. */
int owners_check_ids(const struct bundle *b, uint32_t uid, const uint32_t *gids, size_t n,
		     struct err *e);
/* The ids outside of ids inside; of its root when it has none of that number. */
void owners_outside(const struct bundle *b, uint32_t *uid, uint32_t *gid);
/* Let the container's root through to what is in this directory below runroot. */
int owners_let_through(const struct bundle *b, int dirfd, const char *name, struct err *e);
/* overlay_mount, mapped. */
int owners_overlay(const struct bundle *b, const json_t *lower, const char *upper, const char *work,
		   const char *target, struct err *e);
/* The path to bind instead of `source` for a mount with mappings, a new string. */
char *owners_mount_make(struct bundle *b, size_t number, const char *source, struct err *e);
#endif
