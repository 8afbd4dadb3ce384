/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRTLS_RIGHTS_H
#define CTRTLS_RIGHTS_H
#include "err.h"

/* For good: no identity, no capability, no further descriptor, no further process. What is open
 * stays so. */
int rights_give_up(struct err *e);
#endif
