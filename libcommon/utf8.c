/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include <stdio.h>
#include <string.h>

size_t utf8_sequence(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n;
	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	/* The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
	 */
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (len < n || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

bool utf8_valid(const char *s, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t n = utf8_sequence(s + at, len - at);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

void utf8_escape(const char *s, char *out, size_t size)
{
	const char *end = s + strlen(s);
	size_t n = 0;
	bool text = utf8_valid(s, (size_t)(end - s));
	while (s < end) {
		const unsigned char *p = (const unsigned char *)s;
		size_t len = text ? utf8_sequence(s, (size_t)(end - s)) : 1;
		/* U+0080 to U+009F, which terminals obey, too. */
		bool control = *p < 0x20 || *p == 0x7f || (len == 2 && *p == 0xc2 && p[1] < 0xa0);
		bool odd = control || *p == '\\' || (*p >= 0x80 && !text);
		if (n + (odd ? 4 * len : len) >= size)
			break;
		for (size_t i = 0; odd && i < len; i++)
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", p[i]);
		if (!odd) {
			memcpy(out + n, s, len);
			n += len;
		}
		s += len;
	}
	out[n] = '\0';
}
