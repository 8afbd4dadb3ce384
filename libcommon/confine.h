/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CONFINE_H
#define CRISP_CONFINE_H
/* Give up, for good, what a child that reads a hostile archive does not need: the network, new
 * privileges, memory beyond 1 GiB, and
 *
 *	CONFINE_FILES  the file system outside the working directory, all capabilities but those for
 *	               making files of any owner, kind and mode, and all system calls but those
 *	               that read, write and make files
 *	CONFINE_PIPES  all capabilities, and all system calls but those on descriptors that are open
 *	               and for memory
 *
 * descriptors: how many may be open at once. */
#include "err.h"

enum confine_kind { CONFINE_FILES, CONFINE_PIPES };

int confine(enum confine_kind kind, unsigned descriptors, struct err *e);
#endif
