/* SPDX-License-Identifier: Apache-2.0 */
#include "base64.h"

#include "auto.h"
#include "xalloc.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len)
{
	const unsigned char *p = data;
	char *out = xmalloc((len + 2) / 3 * 4 + 1), *o = out;
	for (; len >= 3; p += 3, len -= 3) {
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*o++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*o++ = alphabet[p[2] & 63];
	}
	if (len) {
		unsigned second = len == 2 ? p[1] : 0;
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		*o++ = len == 2 ? alphabet[(second & 15) << 2] : '=';
		*o++ = '=';
	}
	*o = '\0';
	return out;
}

static int value(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

/* One group of four characters, n of them not padding; the bits after the end must be zero. */
static int decode_group(const char *s, size_t n, unsigned char *out)
{
	unsigned bits = 0;
	for (size_t i = 0; i < 4; i++) {
		int v = i < n ? value(s[i]) : 0;
		if (v < 0)
			return -1;
		bits = bits << 6 | (unsigned)v;
	}
	for (size_t i = 0; i < 3; i++) {
		unsigned char byte = (unsigned char)(bits >> (16 - 8 * i));
		if (i < n - 1)
			out[i] = byte;
		else if (byte)
			return -1;
	}
	return 0;
}

int base64_decode(const char *s, size_t len, unsigned char **out, size_t *out_len)
{
	size_t pad = 0;
	if (len % 4)
		return -1;
	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	AUTO_FREE unsigned char *bytes = xmalloc(len / 4 * 3 + 1);
	for (size_t i = 0; i < len; i += 4)
		if (decode_group(s + i, i + 4 == len ? 4 - pad : 4, bytes + i / 4 * 3) < 0)
			return -1;
	*out_len = len / 4 * 3 - pad;
	*out = TAKE(bytes);
	return 0;
}
