/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_VERIFY_H
#define OCIPULL_VERIFY_H
/* Whether an image may enter the store, asked when its manifest and configuration are known and
 * before any layer is fetched: first the policy for its name (policy.h), with its signatures
 * (signature.h) where it wants them, then each program in verify_dir. Whatever cannot be found out
 * is an error: nothing passes because a registry, a file or a program did not answer. */
#include "err.h"

struct pull;
struct policy;

/* `typed` is the operand. ERR_SIGNATURE: refused, and by what. */
int verify_image(struct pull *p, const char *typed, struct err *e);

/* verify_fetch.c: do enough of the policy's keys vouch for the image? */
int verify_signatures(struct pull *p, const struct policy *policy, struct err *e);
/* verify_run.c: run the programs; `name` is what they are told. */
int verify_run(struct pull *p, const char *name, struct err *e);
#endif
