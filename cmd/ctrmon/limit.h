/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRMON_LIMIT_H
#define CTRMON_LIMIT_H
/* How fast a container may log: a bucket of one second's bytes (64 KiB at least). When it is empty
 * the policy decides: `block` lets the container wait, `drop` leaves lines out until the bucket is
 * half full again, `sample` does the same but keeps every 100th line. What is left out is counted. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum limit_policy { LIMIT_BLOCK, LIMIT_DROP, LIMIT_SAMPLE };

struct limit {
	long rate; /* bytes a second, 0 = no limit */
	enum limit_policy policy;
	int64_t tokens;
	long long filled_ms;
	bool over;
	bool mid_line[2], dropping[2]; /* by stream */
	uint64_t beyond, dropped, dropped_total;
};

/* The policy's number, or -1. */
int limit_policy(const char *name);
void limit_init(struct limit *l, long rate, enum limit_policy policy);
/* block: len bytes were read; how long nothing more may be. 0 = go on. */
int limit_block_ms(struct limit *l, size_t len);
/* drop, sample: of lines as crilog emits them those that may be written; their number of iovecs. */
int limit_filter(struct limit *l, int which, const struct iovec *iov, int count, struct iovec *out);
/* Lines were dropped, and it is time to say so. */
bool limit_may_tell(struct limit *l);
#endif
