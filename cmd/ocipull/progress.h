/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_PROGRESS_H
#define OCIPULL_PROGRESS_H
/* Tells on stderr how a pull goes: one line that is written over and over on a terminal, or a JSON
 * object a line:
 *
 *	{"event":"progress","layer":"sha256:…","state":"loading","bytes":N,"size":N}
 *
 * states: waiting (another process fetches it), loading, done, present. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>

enum progress_mode { PROGRESS_NONE, PROGRESS_PLAIN, PROGRESS_JSON };

struct progress {
	enum progress_mode mode;
	long long last_ms;
	size_t layers, done;
	long long bytes, total;
	bool drawn;
};

/* how: "plain", "json", "none", or NULL: plain on a terminal. */
int progress_init(struct progress *p, const char *how, struct err *e);
void progress_state(struct progress *p, const char *digest, const char *state, long long bytes,
		    long long size);
/* Bytes of a layer have come. */
void progress_bytes(struct progress *p, const char *digest, long long n, long long bytes,
		    long long size);
void progress_end(struct progress *p);
#endif
