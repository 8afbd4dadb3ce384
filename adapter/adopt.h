/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISPD_ADOPT_H
#define CRISPD_ADOPT_H
/* Containers that have lost their monitors get new ones: `ctrrun adopt`, once for each monitor that
 * was lost. */
#include "crispd.h"
#include "record.h"

struct adopter;

struct adopter *adopter_new(struct crispd *d);
void adopter_free(struct adopter *a);
/* The container of this record lives and its monitor does not. Starts when the loop runs. */
void adopter_want(struct adopter *a, const struct ctr_record *r);
#endif
