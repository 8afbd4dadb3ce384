/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte is the length of the pieces. The rest is a body that is taken apart, whole and in
 * pieces, and the text of the timeout and message headers. */
#include "auto.h"
#include "grpc.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 300 };

/* Counts the messages and mixes their bytes into *sum; -1 when one is refused. */
static int deframe(const uint8_t *data, size_t size, size_t piece, unsigned *sum)
{
	struct grpc_deframer d;
	struct err e;
	int r = 0, count = 0;
	grpc_deframer_init(&d, LIMIT);
	for (size_t at = 0; at < size && r >= 0; at += piece) {
		const uint8_t *p = data + at;
		size_t n = size - at < piece ? size - at : piece;
		while (n && (r = grpc_deframe(&d, &p, &n, &e)) == 1) {
			count++;
			if (d.msg.len > LIMIT)
				abort();
			for (size_t i = 0; i < d.msg.len; i++)
				*sum = *sum * 31 + (unsigned char)d.msg.data[i];
		}
		if (r == 0 && n)
			abort();
	}
	grpc_deframer_release(&d);
	return r < 0 ? -1 - count : count;
}

static void headers(const char *text, size_t size)
{
	char out[GRPC_TIMEOUT_SIZE];
	long long ms, again;
	if (grpc_timeout_parse(text, &ms)) {
		grpc_timeout_format(ms, out);
		if (!grpc_timeout_parse(out, &again) || again < ms || again - ms >= 3600000)
			abort();
	}
	AUTO_FREE char *coded = xmalloc(3 * size + 1);
	AUTO_FREE char *copy = xstrdup(text);
	grpc_message_encode(text, coded, 3 * size + 1);
	for (const char *s = coded; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			abort();
	char cut[16];
	grpc_message_encode(text, cut, sizeof cut);
	if (strncmp(cut, coded, strlen(cut)) != 0)
		abort();
	grpc_message_decode(coded);
	if (strcmp(coded, text) != 0)
		abort();
	grpc_message_decode(copy);
	if (strlen(copy) > size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned whole = 0, pieces = 0;
	if (size < 1)
		return 0;
	size_t piece = data[0] ? data[0] : 1;
	data++, size--;
	if (deframe(data, size, size ? size : 1, &whole) != deframe(data, size, piece, &pieces) ||
	    whole != pieces)
		abort();
	AUTO_FREE char *text = xstrndup((const char *)data, size);
	headers(text, strlen(text));
	return 0;
}
