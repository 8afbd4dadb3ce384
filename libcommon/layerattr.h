/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_LAYERATTR_H
#define CRISP_LAYERATTR_H
/* Which extended attributes an image's layer may set: capabilities and ACLs of files, and what users
 * keep. Overlay's own would let a layer show files that are not in it. Who unpacks a layer leaves the
 * others out; who verifies one does not expect them. */
#include <stdbool.h>

bool layer_xattr_allowed(const char *name);
#endif
