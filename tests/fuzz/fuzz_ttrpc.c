/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte is the length of the pieces. The rest is a stream of ttrpc frames that is taken
 * apart, whole and in pieces, with the messages in them; and what a shim printed when it was started. */
#include "auto.h"
#include "cmd/ctrshim/shim.h"
#include "shim.pb-c.h"
#include "ttrpc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(const struct ttrpc_deframer *d)
{
	const uint8_t *p = (const uint8_t *)d->data.data;
	Shim__Response *r = shim__response__unpack(NULL, d->data.len, p);
	Shim__Request *q = shim__request__unpack(NULL, d->data.len, p);
	if (r) {
		Shim__StateResponse *s =
			shim__state_response__unpack(NULL, r->payload.len, r->payload.data);
		if (s)
			shim__state_response__free_unpacked(s, NULL);
		shim__response__free_unpacked(r, NULL);
	}
	if (q) {
		Shim__ForwardRequest *f =
			shim__forward_request__unpack(NULL, q->payload.len, q->payload.data);
		if (f)
			shim__forward_request__free_unpacked(f, NULL);
		shim__request__free_unpacked(q, NULL);
	}
}

/* Counts the frames and mixes their bytes into *sum; -1 - count when one is refused. */
static int deframe(const uint8_t *data, size_t size, size_t piece, unsigned *sum)
{
	struct ttrpc_deframer d;
	struct err e;
	int r = 0, count = 0;
	ttrpc_deframer_init(&d);
	for (size_t at = 0; at < size && r >= 0; at += piece) {
		const uint8_t *p = data + at;
		size_t n = size - at < piece ? size - at : piece;
		while (n && (r = ttrpc_deframe(&d, &p, &n, &e)) == 1) {
			count++;
			if (d.data.len > size)
				abort();
			*sum = *sum * 31 + d.stream + d.type;
			for (size_t i = 0; i < d.data.len; i++)
				*sum = *sum * 31 + (unsigned char)d.data.data[i];
			unpack(&d);
		}
		if (r == 0 && n)
			abort();
	}
	ttrpc_deframer_release(&d);
	return r < 0 ? -1 - count : count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned whole = 0, pieces = 0;
	struct boot_answer a;
	struct err e;
	if (size < 1)
		return 0;
	size_t piece = data[0] ? data[0] : 1;
	data++, size--;
	if (deframe(data, size, size ? size : 1, &whole) != deframe(data, size, piece, &pieces) ||
	    whole != pieces)
		abort();
	if (boot_parse((const char *)data, size, &a, &e) == 0 &&
	    (!*a.address || strchr(a.address, '\n') || a.version < 2 || a.version > 3))
		abort();
	return 0;
}
