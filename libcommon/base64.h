/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_BASE64_H
#define CRISP_BASE64_H
/* Base64 with the standard alphabet (RFC 4648, section 4), padded, without line breaks. Decoding is
 * strict: missing padding, foreign characters and set bits after the end are refused. */
#include <stddef.h>

/* A string to be freed. */
char *base64_encode(const void *data, size_t len);
/* 0 with *out (to be freed, never NULL) and *out_len, or -1. */
int base64_decode(const char *s, size_t len, unsigned char **out, size_t *out_len);
#endif
