/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_ERR_H
#define CRISP_ERR_H
/* One error value, filled in by the function that failed and read once: by a tool's main (message
 * and exit status) or by crispd (gRPC status). It owns no memory, so it never needs freeing and
 * works when memory is out.
 *
 * Convention: a function that can fail takes `struct err *e` last (never NULL), returns 0 (or a
 * descriptor, or a pointer) on success and -1 (or NULL) on failure, and writes *e only on failure.
 *
 * The table below is the contract between the tools and the adapter: a tool exits with the status
 * of its error's kind, crispd turns the status back into the kind and that into the gRPC code.
 * Statuses are frozen; new kinds are only appended. Every man page's EXIT STATUS is checked against
 * it.
 *
 * The four kinds with gRPC code 2 (Unknown) are those whose reason the kubelet reads from the text:
 * their token comes first in the message (cri-api, pkg/errors). */
#include <stdarg.h>
#include <stddef.h>

/*        name                  exit  grpc  token                        meaning */
#define ERR_KINDS(X) \
	X(OK, 0, 0, "", "success") \
	X(FAILED, 1, 13, "", "operation failed") \
	X(USAGE, 2, 13, "", "bad command line") \
	X(NOT_FOUND, 3, 5, "", "no such object") \
	X(EXISTS, 4, 6, "", "object already exists") \
	X(BAD_STATE, 5, 9, "", "object is in the wrong state") \
	X(BAD_INPUT, 6, 3, "", "malformed or untrusted input rejected") \
	X(DENIED, 7, 7, "", "permission or credentials refused") \
	X(UNAVAILABLE, 8, 14, "", "temporary, try again") \
	X(EXHAUSTED, 9, 8, "", "out of space, memory or another limit") \
	X(UNSUPPORTED, 10, 12, "", "not supported here") \
	X(CANCELLED, 11, 1, "", "cancelled by the caller") \
	X(REGISTRY, 12, 2, "RegistryUnavailable", "the registry cannot be reached") \
	X(SIGNATURE, 13, 2, "SignatureValidationFailed", "an image's signature does not hold") \
	X(RRO, 14, 2, "RROUnsupported", "recursive read-only mounts are not supported") \
	X(IMAGE_VOLUME, 15, 2, "ImageVolumeMountFailed", "an image volume cannot be mounted") \
	X(TIMEOUT, 124, 4, "", "deadline passed")

enum err_kind {
#define X(name, exit, grpc, token, text) ERR_##name,
	ERR_KINDS(X)
#undef X
		ERR_KIND_COUNT
};

struct err {
	enum err_kind kind;
	int errnum; /* errno at the point of failure, 0 if none */
	char msg[1024];
};

/* Fill *e and return -1, so that a failing function ends with `return err_set(...)`. err_set_p is
 * the same for functions that return a pointer. */
__attribute__((format(printf, 3, 4))) int err_set(struct err *e, enum err_kind kind,
						  const char *fmt, ...);
#define err_set_p(...) (err_set(__VA_ARGS__), NULL)

/* Kind and trailing text from errno: err_sys(e, "open %s", p) gives "open p: No such file or
 * directory". */
__attribute__((format(printf, 2, 3))) int err_sys(struct err *e, const char *fmt, ...);

/* Prefix what was being done: "container ab12: open config.json: ...". Keeps the kind. */
__attribute__((format(printf, 2, 3))) int err_wrap(struct err *e, const char *fmt, ...);

int err_exit_status(const struct err *e);
int err_grpc_status(const struct err *e);
const char *err_name(const struct err *e);
/* The text for a gRPC status: "TOKEN: msg" for kinds with a token, else msg. */
void err_grpc_message(const struct err *e, char *buf, size_t size);

/* Back from an exit status, a name ("NOT_FOUND") or a gRPC code; ERR_FAILED when nothing matches.
 */
enum err_kind err_kind_of_exit(int status);
enum err_kind err_kind_of_name(const char *name);
enum err_kind err_kind_of_grpc(int code);
#endif
