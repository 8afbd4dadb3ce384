/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RTWORDS_H
#define CRISP_RTWORDS_H
/* What an OCI runtime said about its failure. Runtimes exit 1 and write prose, each with its own
 * decorations: JSON lines in --log (crun, runc), `time="…" level=error msg="…"` (runc),
 * "2026-08-22T10:00:00.123Z: …" or "[…]: …" (crun). Pure; input may be cut off at either end. */
#include <stddef.h>

/* The last error of the log, else the last line of stderr, without decorations, control characters
 * as spaces; "" when there is nothing. log or text may be NULL. */
void rtwords_pick(const char *log, size_t log_len, const char *text, size_t text_len, char *out,
		  size_t size);
#endif
