/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines, flat JSON and the runtime's words from arbitrary bytes. The first two bytes steer: how
 * long a line may be, and how the rest is cut into reads. What the log says must be the input. */
#include "crilog.h"
#include "flatjson.h"
#include "rtwords.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	const uint8_t *expect;
	size_t left;
};

/* Each line's text must be what the stream had next; newlines that only end pieces are not its. */
static void check(void *arg, const struct iovec *iov, int count)
{
	struct seen *s = arg;
	for (int i = 0; i < count;) {
		const char *head = iov[i].iov_base;
		size_t n = iov[i].iov_len;
		bool partial = head[n - 2] == 'P', ended = false;
		if (n < 4 || (head[n - 2] != 'P' && head[n - 2] != 'F') || iov[i].iov_len > 64)
			abort();
		for (i++; !ended; i++) {
			if (i >= count)
				abort();
			const char *p = iov[i].iov_base;
			size_t len = iov[i].iov_len;
			ended = p[len - 1] == '\n';
			size_t text = ended ? len - 1 : len;
			if (text > s->left || memcmp(p, s->expect, text) != 0)
				abort();
			s->expect += text;
			s->left -= text;
		}
		/* A full line's newline was in the stream, unless the stream ended there. */
		if (!partial && s->left) {
			if (*s->expect != '\n')
				abort();
			s->expect++;
			s->left--;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[128];
	int64_t n;
	if (size < 2)
		return 0;
	size_t max = 1 + data[0], step = 1 + data[1];
	data += 2;
	size -= 2;
	struct crilog c = CRILOG_INIT("stdout", max);
	struct seen s = {data, size};
	struct crilog_sink sink = {check, &s};
	for (size_t at = 0; at < size; at += step)
		crilog_feed(&c, "2026-08-22T10:00:00.123456789Z", (const char *)data + at,
			    size - at < step ? size - at : step, &sink);
	crilog_end(&c, "2026-08-22T10:00:00.123456789Z", &sink);
	if (s.left)
		abort();
	crilog_release(&c);

	/* On the heap, so that a read beyond the end is seen. */
	char *copy = malloc(size ? size : 1);
	memcpy(copy, data, size);
	flatjson_string(copy, size, "a", out, sizeof out);
	flatjson_int(copy, size, "a", &n);
	rtwords_pick(copy, size, copy, size, out, sizeof out);
	free(copy);
	return 0;
}
