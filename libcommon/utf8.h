/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_UTF8_H
#define CRISP_UTF8_H
/* UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, nothing above U+10FFFF. */
#include <stdbool.h>
#include <stddef.h>

/* The length (1..4) of the well-formed sequence that starts at s, or 0 if there is none in len
 * bytes. */
size_t utf8_sequence(const char *s, size_t len);
bool utf8_valid(const char *s, size_t len);
/* Names that come from archives and file systems, for people and for JSON: control characters and
 * backslashes become "\xHH", and so does every byte above ASCII unless the whole is UTF-8. Cut off
 * where out is full; always NUL-terminated. */
void utf8_escape(const char *s, char *out, size_t size);
#endif
