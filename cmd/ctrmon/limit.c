/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.h"

#include "proc.h"

#include <string.h>

enum { SAMPLE_EVERY = 100, BURST_MIN = 65536 };

int limit_policy(const char *name)
{
	static const char *const names[] = {"block", "drop", "sample"};
	for (int i = 0; i < 3; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static int64_t burst(const struct limit *l)
{
	return l->rate > BURST_MIN ? l->rate : BURST_MIN;
}

void limit_init(struct limit *l, long rate, enum limit_policy policy)
{
	*l = (struct limit){.rate = rate, .policy = policy, .filled_ms = proc_now_ms()};
	l->tokens = burst(l);
}

static void refill(struct limit *l)
{
	long long now = proc_now_ms(), passed = now - l->filled_ms;
	/* Longer ones fill it anyhow; and the product stays small. */
	if (passed > 100000)
		passed = 100000;
	if (passed <= 0)
		return;
	l->filled_ms = now;
	l->tokens += l->rate * passed / 1000;
	if (l->tokens > burst(l))
		l->tokens = burst(l);
}

int limit_block_ms(struct limit *l, size_t len)
{
	if (!l->rate || l->policy != LIMIT_BLOCK)
		return 0;
	refill(l);
	l->tokens -= (int64_t)len;
	return l->tokens < 0 ? (int)(-l->tokens * 1000 / l->rate) + 1 : 0;
}

static bool admit(struct limit *l, size_t len)
{
	if (l->over)
		return l->policy == LIMIT_SAMPLE && ++l->beyond % SAMPLE_EVERY == 0;
	l->tokens -= (int64_t)len;
	l->over = l->tokens < 0;
	return true;
}

/* One line or piece of a line. A line is kept or dropped as a whole: a reader would join its head
 * to the next line. */
static bool keep(struct limit *l, int which, const struct iovec *iov, int count)
{
	size_t len = 0;
	bool partial = ((const char *)iov->iov_base)[iov->iov_len - 2] == 'P';
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (!l->mid_line[which])
		l->dropping[which] = !admit(l, len);
	else if (!l->dropping[which])
		l->tokens -= (int64_t)len;
	l->mid_line[which] = partial;
	if (l->dropping[which] && !partial) {
		l->dropped++;
		l->dropped_total++;
	}
	return !l->dropping[which];
}

int limit_filter(struct limit *l, int which, const struct iovec *iov, int count, struct iovec *out)
{
	int kept = 0, first = 0;
	refill(l);
	/* Half full again, so that a flood is not one note a line. */
	if (l->over && l->tokens >= burst(l) / 2)
		l->over = false;
	for (int i = 0; i < count; i++) {
		if (((const char *)iov[i].iov_base)[iov[i].iov_len - 1] != '\n')
			continue;
		int n = i + 1 - first;
		if (keep(l, which, iov + first, n)) {
			memcpy(out + kept, iov + first, (size_t)n * sizeof *iov);
			kept += n;
		}
		first = i + 1;
	}
	return kept;
}

bool limit_may_tell(struct limit *l)
{
	refill(l);
	return l->dropped && (!l->over || l->tokens >= burst(l) / 2);
}
