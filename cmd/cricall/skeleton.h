/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRICALL_SKELETON_H
#define CRICALL_SKELETON_H
/* What a request may contain, as JSON that can be edited and sent: every field with its default,
 * lists of messages with one, other lists and maps empty. Deprecated fields and those of Windows
 * are left out. A new reference. */
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

json_t *skeleton(const ProtobufCMessageDescriptor *d);
#endif
