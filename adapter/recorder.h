/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_RECORDER_H
#define CRISP_RECORDER_H
/* The record of all calls (crispd --record FILE): what was asked, what was answered, when, and with
 * which code, one JSON object a line. `cricall --replay FILE` sends it again. crispd(8) describes
 * the lines. Secrets are taken out by the rules of redact.h.
 *
 * A record is bounded: when FILE has grown to half of record_max_bytes it becomes FILE.1, in place of the one before, and a new one
 * begins; a message of more than RECORDER_MESSAGE_MAX bytes is told by its size only. Each line is one write to a
 * regular file, so nothing waits but for the kernel; lines that could not be written are counted and
 * told in the next.
 *
 * Without --record there is no recorder, and each function costs a comparison. */
#include "crispd.h"

#include <protobuf-c/protobuf-c.h>

struct recorder;

enum { RECORDER_MESSAGE_MAX = 256 << 10 };

/* d->cfg.record names the file. NULL with an error. */
struct recorder *recorder_new(const struct crispd *d, struct err *e);
void recorder_free(struct recorder *r);

/* Each does nothing when r is NULL. req: the call's id; us: what it took. */
void recorder_request(struct recorder *r, const char *req, const char *rpc,
		      const ProtobufCMessage *request);
/* One message of a stream. */
void recorder_message(struct recorder *r, const char *req, const char *rpc,
		      const ProtobufCMessage *msg);
/* The end: the answer of a unary call that succeeded, else NULL; text: of a failure, else NULL. */
void recorder_end(struct recorder *r, const char *req, const char *rpc, int code, const char *text,
		  const ProtobufCMessage *answer, long long us);
#endif
