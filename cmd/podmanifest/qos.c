/* SPDX-License-Identifier: Apache-2.0 */
/* The kubelet's arithmetic: pkg/apis/core/v1/helper/qos, pkg/kubelet/qos/policy.go,
 * pkg/kubelet/cm/helpers_linux.go. */
#include "podmanifest.h"

#include <sys/param.h>

enum {
	SHARES_MIN = 2,
	SHARES_MAX = 262144,
	SHARES_PER_CPU = 1024,
	PERIOD_US = 100000,
	QUOTA_MIN_US = 1000,
	ADJ_GUARANTEED = -997,
	ADJ_BEST_EFFORT = 1000
};

static const int64_t MILLI_MAX = INT64_MAX / PERIOD_US;

int64_t cpu_shares(int64_t milli)
{
	if (milli > (int64_t)SHARES_MAX * 1000)
		return SHARES_MAX;
	return milli <= 0 ? SHARES_MIN
			  : MIN(MAX(milli * SHARES_PER_CPU / 1000, SHARES_MIN), SHARES_MAX);
}

int64_t cpu_quota(int64_t milli)
{
	return milli <= 0 ? 0 : MAX(MIN(milli, MILLI_MAX) * PERIOD_US / 1000, QUOTA_MIN_US);
}

/* Of a pod's containers, init containers among them, processors and memory alone count. Guaranteed:
 * each has both limits, and the requests of all are the limits of all. */
enum qos qos_of(const struct amounts *all, size_t n)
{
	bool any = false, limited = true;
	struct amounts sum = {0, 0, 0, 0};
	for (size_t i = 0; i < n; i++) {
		const struct amounts *a = &all[i];
		any = any || a->cpu_request > 0 || a->memory_request > 0 || a->cpu_limit > 0 ||
		      a->memory_limit > 0;
		limited = limited && a->cpu_limit > 0 && a->memory_limit > 0;
		sum.cpu_request += MAX(a->cpu_request, 0);
		sum.cpu_limit += MAX(a->cpu_limit, 0);
		sum.memory_request += MAX(a->memory_request, 0);
		sum.memory_limit += MAX(a->memory_limit, 0);
	}
	if (!any)
		return QOS_BEST_EFFORT;
	return limited && sum.cpu_request == sum.cpu_limit && sum.memory_request == sum.memory_limit
		       ? QOS_GUARANTEED
		       : QOS_BURSTABLE;
}

const char *qos_name(enum qos q)
{
	return q == QOS_GUARANTEED ? "Guaranteed" : q == QOS_BURSTABLE ? "Burstable" : "BestEffort";
}

static int64_t adj_of(int64_t request, int64_t capacity)
{
	return capacity > 0 ? 1000 - (int64_t)((__int128)1000 * request / capacity) : 1000;
}

/* smallest_of_main: for a sidecar, which must not be killed before those that need it; else -1. */
int64_t oom_score_adj(enum qos q, bool node_critical, int64_t memory_request, int64_t capacity,
		      int64_t smallest_of_main)
{
	if (q == QOS_GUARANTEED || node_critical)
		return ADJ_GUARANTEED;
	if (q == QOS_BEST_EFFORT)
		return ADJ_BEST_EFFORT;
	int64_t adj = adj_of(MAX(memory_request, 0), capacity);
	if (smallest_of_main >= 0)
		adj = MIN(adj, adj_of(smallest_of_main, capacity));
	return MIN(MAX(adj, 1000 + ADJ_GUARANTEED), ADJ_BEST_EFFORT - 1);
}

/* calculateLinuxResources of kuberuntime_container_linux.go. A limit without a request is the
 * request. */
json_t *linux_resources(const struct amounts *a)
{
	int64_t request = a->cpu_request < 0 ? a->cpu_limit : a->cpu_request;
	json_t *out = json_pack("{s:I, s:I, s:I}", "cpu_period", (json_int_t)PERIOD_US, "cpu_quota",
				(json_int_t)cpu_quota(a->cpu_limit), "cpu_shares",
				(json_int_t)cpu_shares(request));
	if (a->memory_limit > 0)
		json_object_set_new(out, "memory_limit_in_bytes", json_integer(a->memory_limit));
	return out;
}
