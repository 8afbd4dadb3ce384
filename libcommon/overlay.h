/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_OVERLAY_H
#define CRISP_OVERLAY_H
/* Overlay mounts. Writable ones are "volatile": the kernel never waits for their upper directory to
 * reach the disk, and would refuse to mount it again after a crash. Both are right here: what a
 * container wrote outside its volumes is gone with the container, no container outlives a reboot,
 * and an upper directory is mounted once in its life and only removed afterwards. */
#include "err.h"

#include <jansson.h>

/* On a host with SELinux: the label of every file in what is mounted as overlay from here on. NULL: the
 * files' own. Borrowed. */
extern const char *overlay_context;

/* lower: absolute paths, top first. upper and work are NULL for a read-only view. The result is a
 * descriptor of the mount's root. target NULL: the mount is nowhere, and gone when the descriptor
 * is closed (needs the mount API of Linux 5.2). */
int overlay_mount(const json_t *lower, const char *upper, const char *work, const char *target,
		  struct err *e);
/* Detach everything mounted at or below path (absolute, without symlinks in it), deepest first. */
int unmount_below(const char *path, struct err *e);
/* All mount points that a process sees ("self", "123") as the keys of an object (new reference); those
 * that are not UTF-8 are left out. */
json_t *mount_points(const char *process, struct err *e);
#endif
