/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SECCOMP_H
#define CRISP_SECCOMP_H
/* The linux.seccomp section of a config.json. */
#include "err.h"

#include <jansson.h>
#include <stdint.h>

/* One row of the built-in profile (seccomp_default.c): system calls by name, separated by blanks,
 * that may be made (err 0) or fail with that errno, when the conditions hold. */
enum seccomp_op { SECCOMP_ALWAYS, SECCOMP_EQ, SECCOMP_MASKED };
struct seccomp_rule {
	const char *names;
	uint64_t caps;   /* the row counts when the container has one of these; 0 = always */
	uint64_t unless; /* the row does not count when it has one of these */
	int err;
	enum seccomp_op op; /* on argument arg: equal to value, or (argument & mask) == value */
	unsigned arg;
	uint64_t mask, value;
};
extern const struct seccomp_rule seccomp_default_rules[];
extern const size_t seccomp_default_count;
/* Names that fail with EPERM whatever the capabilities. */
extern const char seccomp_default_refused[];

/* Architectures: the name that images and profiles use, and libseccomp's words for it and for those whose programs it runs too; NULL ends. */
struct seccomp_arch {
	const char *name, *words[3];
};
extern const struct seccomp_arch seccomp_arches[];
extern const size_t seccomp_arch_count;

/* The built-in profile for a container with these capabilities on this machine, as an OCI seccomp
 * object. */
json_t *seccomp_default(uint64_t caps);

/* A profile from a file (absolute path): an OCI seccomp object, or the form that Docker and CRI-O
 * read (archMap, "name", includes and excludes by capability, architecture and kernel). The result
 * is plain OCI. `what` names it in messages. */
json_t *seccomp_load(const char *path, uint64_t caps, const char *what, struct err *e);
/* The same from a document that was read already. */
json_t *seccomp_convert(json_t *profile, uint64_t caps, const char *what, struct err *e);
#endif
