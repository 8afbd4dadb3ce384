/* SPDX-License-Identifier: Apache-2.0 */
#include "sha1.h"

#include <string.h>

static uint32_t rotate(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static void store32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t mix(int round, const uint32_t s[5])
{
	if (round < 20)
		return (s[1] & s[2]) + (~s[1] & s[3]) + 0x5a827999;
	if (round < 40)
		return (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1;
	if (round < 60)
		return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdc;
	return (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6;
}

static void add_block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], s[5];
	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(s, h, sizeof s);
	for (int i = 0; i < 80; i++) {
		uint32_t t = rotate(s[0], 5) + mix(i, s) + s[4] + w[i];
		s[4] = s[3];
		s[3] = s[2];
		s[2] = rotate(s[1], 30);
		s[1] = s[0];
		s[0] = t;
	}
	for (int i = 0; i < 5; i++)
		h[i] += s[i];
}

void sha1(const void *data, size_t len, uint8_t out[SHA1_SIZE])
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t text[128] = {0};
	size_t size = len < 56 ? 64 : 128;
	memcpy(text, data, len);
	text[len] = 0x80;
	store32(text + size - 4, (uint32_t)len * 8);
	for (size_t at = 0; at < size; at += 64)
		add_block(h, text + at);
	for (int i = 0; i < 5; i++)
		store32(out + 4 * i, h[i]);
}
