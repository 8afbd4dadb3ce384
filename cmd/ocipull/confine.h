/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_CONFINE_H
#define OCIPULL_CONFINE_H
/* Give up, for good, what unpacking a hostile archive does not need: the file system outside the
 * working directory, the network, all capabilities but those for making files of any owner, kind
 * and mode, new privileges, and all system calls but those that read, write and make files. */
#include "err.h"

int confine(struct err *e);
#endif
