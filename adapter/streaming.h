/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STREAMING_H
#define CRISP_STREAMING_H
/* The streaming listener: Exec, Attach and PortForward answer with a URL that is good once, for a
 * minute. Whoever connects to it and shows the token gets a ctrstream process, which takes over the
 * socket together with the bytes read so far and outlives the daemon. Nothing but the request's
 * head is read here. */
#include "crispd.h"

enum stream_kind { STREAM_EXEC, STREAM_ATTACH, STREAM_PORTFORWARD };
enum { STREAM_URL_SIZE = 256 };

/* Never NULL: a daemon that cannot listen serves everything else, and streaming_mint says why. */
struct streaming *streaming_new(struct crispd *d);
/* Where the configuration now says, and no longer where it said before; sessions go on. */
void streaming_listen(struct streaming *s);
/* Sessions go on. */
void streaming_free(struct streaming *s);

/* A URL for `ctrstream KIND … words`; the words are copied. ERR_EXHAUSTED when too many are
 * waiting. */
int streaming_mint(struct streaming *s, enum stream_kind kind, const char *req,
		   const char *const *words, size_t n_words, char url[STREAM_URL_SIZE],
		   struct err *e);
#endif
