/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PBJSON_H
#define CRISP_PBJSON_H
/* Protocol buffer messages as JSON, for any message that protobuf-c has a descriptor of: the CRI
 * files of a pod and a container, the records on disk, cricall.
 *
 * It is the JSON mapping of proto3, with these choices where the mapping leaves one or where people
 * write the files by hand:
 *
 * - Keys are written as in cri.proto (snake_case). They are read without regard to case and
 *   underscores, so lowerCamelCase works too, as do the files that crictl users have. A key that
 *   comes twice, in whatever spelling, is refused.
 * - An enum is written by name and read by name or number; names of Signal also without their
 *   SIGNAL_ prefix, as they were through Kubernetes 1.36. A number without a name is kept: the
 *   other side may be newer.
 * - 64-bit integers are written as numbers up to 2^53 and as decimal strings beyond, which no JSON
 *   parser rounds; integers are read as numbers or decimal strings.
 * - Bytes (environment values, output of ExecSync) are text nearly always: they are written as a
 *   plain string when they are valid UTF-8 without NUL, else as {"base64": "..."}. A string that is
 *   read is literal text. Nothing is lost either way.
 * - What has its default value is not written (unless PBJSON_ALL); a message that is present is,
 *   even if empty. null is read as "not set".
 * - Fields are written in the order of their numbers, map keys sorted: equal messages give equal
 *   bytes.
 *
 * Input is hostile: an unknown key, a mistyped or out-of-range value is ERR_BAD_INPUT and names the
 * document and the path ("pod.json: linux.security_context.run_as_user.value: expected integer,
 * found string"); nesting and size are bounded. Fields that protobuf-c did not know when it decoded
 * a message are not written. */
#include "err.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

enum pbjson_flags {
	PBJSON_ALL = 1,    /* default values too, empty lists and maps; absent messages still not */
	PBJSON_PRETTY = 2, /* pbjson_dump: indented, for people */
};

enum {
	PBJSON_MAX_DEPTH = 32,       /* messages within messages */
	PBJSON_TEXT_MAX = 128 << 20, /* bytes of a document: 16 MiB of message, all escaped */
};

/* A message of its own, to be freed with pbjson_free (AUTO_PB), or NULL. `what` names the document.
 */
ProtobufCMessage *pbjson_read(const ProtobufCMessageDescriptor *d, json_t *j, const char *what,
			      struct err *e);
/* The same from text, in which duplicate keys are refused. */
ProtobufCMessage *pbjson_parse(const ProtobufCMessageDescriptor *d, const char *text, size_t len,
			       const char *what, struct err *e);
/* The same from a tool's operand: a file of any kind, "-" is standard input. */
ProtobufCMessage *pbjson_load(const ProtobufCMessageDescriptor *d, const char *operand,
			      struct err *e);

/* A new reference, or NULL: a string that is not UTF-8 (protobuf-c does not check) is
 * ERR_BAD_INPUT.
 */
json_t *pbjson_write(const ProtobufCMessage *m, int flags, struct err *e);
/* Text to be freed, without a newline at the end; *len may be NULL. */
char *pbjson_dump(const ProtobufCMessage *m, int flags, size_t *len, struct err *e);

/* The field of that name, in any of the spellings that are read; NULL if there is none. */
const ProtobufCFieldDescriptor *pbjson_field(const ProtobufCMessageDescriptor *d, const char *key);
/* The entry message (field 0 the key, field 1 the value) if f, a field of d, is a map; else NULL.
 */
const ProtobufCMessageDescriptor *pbjson_map_entry(const ProtobufCMessageDescriptor *d,
						   const ProtobufCFieldDescriptor *f);

void pbjson_free(ProtobufCMessage *m); /* NULL is fine */
static inline void auto_pb(void *pp)
{
	pbjson_free(*(ProtobufCMessage **)pp);
}
/* Owns a pointer to any generated message: AUTO_PB Runtime__V1__PodSandboxConfig *c = NULL; */
#define AUTO_PB __attribute__((cleanup(auto_pb)))
#endif
