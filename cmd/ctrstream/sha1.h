/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_SHA1_H
#define CTRSTREAM_SHA1_H
/* SHA-1 (FIPS 180-4) of a short message, for the WebSocket handshake, where it protects nothing.
 * Loading libcrypto for it would cost every exec more than its own start. */
#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20, SHA1_MESSAGE_MAX = 119 };

/* At most SHA1_MESSAGE_MAX bytes. */
void sha1(const void *data, size_t len, uint8_t out[SHA1_SIZE]);
#endif
