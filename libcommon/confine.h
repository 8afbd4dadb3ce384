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

/* Run work(arg, e) in a child, which confines itself in it and dies with us, and wait for it. Its error
 * becomes ours after a look, as what it says is not trusted; `silent` is the one (ERR_BAD_INPUT) when it
 * ends without a word. */
int confine_child(int (*work)(void *arg, struct err *e), void *arg, const char *silent,
		  struct err *e);
#endif
