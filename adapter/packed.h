/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PACKED_H
#define CRISP_PACKED_H
/* Elements of lists that are encoded once and sent many times. A list reply is a message whose
 * elements are carried as fields that protobuf-c does not know, that is as bytes: it copies them.
 */
#include "arena.h"

#include <stdint.h>

/* The message with its length before it, as it stands in a repeated field; free() it. */
uint8_t *packed_element(const ProtobufCMessage *m, size_t *len);
/* The same in the arena. */
uint8_t *packed_in(const ProtobufCMessage *m, struct arena *a, size_t *len);
/* Append such bytes to field 1 of `reply`, whose list of fields lives in the arena and has room
 * for `cap` (the same on every call). The bytes are borrowed. */
void packed_append(ProtobufCMessage *reply, struct arena *a, size_t cap, uint8_t *data, size_t len);
/* A deep copy in the arena, without fields that are not known. */
ProtobufCMessage *packed_copy(const ProtobufCMessage *m, struct arena *a);
#endif
