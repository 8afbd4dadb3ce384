/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TELEMETRY_H
#define CRISP_TELEMETRY_H
/* What the daemon tells of itself, in Prometheus' text format: GET /metrics on metrics_host and
 * metrics_port of the configuration. (The pods' own metrics go by the CRI, svc_metrics.c.)
 *
 * Counting costs a few additions a call, and is done whether anybody asks or not. */
#include "buf.h"
#include "crispd.h"

#include <stdbool.h>

enum { TELEMETRY_MAX = 1 << 20 };

/* Never NULL: a daemon that cannot listen there serves everything else and says so in its log. */
struct telemetry *telemetry_new(struct crispd *d);
void telemetry_free(struct telemetry *t);
/* Where the configuration now says, and no longer where it said before. */
void telemetry_listen(struct telemetry *t);

/* The page as it is now. */
void telemetry_page(const struct telemetry *t, struct buf *b);

/* A call has been answered. rpc: a string that lives as long as the program; code: the gRPC status.
 */
void telemetry_call(struct telemetry *t, const char *rpc, int code, long long us);
/* A tool has ended; the same of `tool`. */
void telemetry_step(struct telemetry *t, const char *tool, bool failed, long long ms);
#endif
