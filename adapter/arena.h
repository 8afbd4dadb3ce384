/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_ARENA_H
#define CRISP_ARENA_H
/* Memory that is given back all at once: the parts of one reply, or one object's decoded
 * configuration. Zeroed, aligned for any type; no memory aborts (xalloc.h). */
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct arena {
	struct arena_block *head;
	ProtobufCAllocator pb; /* arena_pb() */
};

void *arena_alloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, const char *s);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *a, const char *fmt, ...);
/* For the unpack functions of protobuf-c; the message lives as long as the arena. */
ProtobufCAllocator *arena_pb(struct arena *a);
void arena_release(struct arena *a);
#define AUTO_ARENA __attribute__((cleanup(arena_release)))

/* A message of the generated type T in the arena: NEW_MSG(&a, Runtime__V1__Container,
 * runtime__v1__container). */
#define NEW_MSG(arena, type, prefix) \
	({ \
		type *msg_ = arena_alloc((arena), sizeof *msg_); \
		prefix##__init(msg_); \
		msg_; \
	})
#endif
