/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_FAILED_H
#define CRISP_FAILED_H
/* Pods that could not be made. Their creation was undone, so there is no directory with a journal in it:
 * what was asked and why it failed is a line of <root>/failed (mode 0600), one JSON object each:
 *
 *	{ "time": ns, "ms": N, "id", "name", "namespace", "uid", "attempt", "handler", "origin",
 *	  "req": the request of crispd or "", "code": name of err.h, "error": text }
 *
 * Beyond 256 KiB the file becomes failed.1 and a new one begins. */
#include "err.h"
#include "state.h"

#include <jansson.h>

/* Adds code, error, time, ms and req to `pod` (stolen), and writes it. A failure to write is a warning
 * in the log. */
void failed_append(const struct state *s, json_t *pod, int64_t began_ns, const struct err *why);
/* The last failure of that id, unique prefix of one (4 digits or more) or name: a new reference, or NULL
 * with ERR_NOT_FOUND. Lines that do not parse are passed over. */
json_t *failed_find(const struct state *s, const char *typed, struct err *e);
#endif
