/* SPDX-License-Identifier: Apache-2.0 */
/* podmanifest's pure parts: quantities, expansion, the kubelet's arithmetic. */
#include "cmd/podmanifest/expand.c"
#include "cmd/podmanifest/qos.c"
#include "cmd/podmanifest/quantity.c"
#include "tap.h"

static const struct {
	const char *text;
	int64_t milli; /* -1: refused */
} quantities[] = {
	{"1", 1000},
	{"0", 0},
	{"100m", 100},
	{"0.5", 500},
	{".5", 500},
	{"5.", 5000},
	{"1.5Gi", 1610612736000},
	{"128974848", 128974848000},
	{"129M", 129000000000},
	{"123Mi", 128974848000},
	{"1k", 1000000},
	{"1e3", 1000000},
	{"1E3", 1000000},
	{"1e-3", 1},
	{"1.5e3", 1500000},
	{"1n", 1},   /* a billionth of a processor is rounded up */
	{"999u", 1}, /* 0.999 of a thousandth */
	{"1001u", 2},
	{"+2", 2000},
	{"00000000000000000000002", 2000},
	{"0.0000000001", 1},
	{"9P", 9000000000000000000},
	{"1E", -1}, /* does not fit in thousandths */
	{"8Ei", -1},
	{"", -1},
	{".", -1},
	{"m", -1},
	{"-1", -1},
	{"1 Gi", -1},
	{"1gi", -1},
	{"1K", -1},
	{"1.2.3", -1},
	{"0x10", -1},
	{"1e", -1},
	{"1e3m", -1},
	{"1e99", -1},
	{"123456789012345678", -1},
	{"Inf", -1},
};

static void test_quantities(void)
{
	for (size_t i = 0; i < ARRAY_LEN(quantities); i++) {
		int64_t milli = -1;
		int n = quantity_parse(quantities[i].text, &milli);
		if (!ok(quantities[i].milli < 0 ? n < 0 : n == 0 && milli == quantities[i].milli,
			"quantity '%s'", quantities[i].text))
			printf("# %d %lld\n", n, (long long)milli);
	}
	ok(quantity_whole(1) == 1 && quantity_whole(1000) == 1 && quantity_whole(1001) == 2 &&
		   quantity_whole(0) == 0,
	   "whole numbers are rounded up");
}

/* The cases of Kubernetes' own test of its expansion (third_party/forked/golang/expansion), by their kinds. */
static const struct {
	const char *in, *out;
} expansions[] = {
	{"$(VAR_A)", "A"},
	{"___$(VAR_B)___", "___B___"},
	{"___$(VAR_C)", "___C"},
	{"$(VAR_A)-$(VAR_A)", "A-A"},
	{"$(VAR_EMPTY)", ""},
	{"foo$(VAR_EMPTY)bar", "foobar"},
	{"$(VAR_REF)", "$(VAR_A)"}, /* once, not again */
	{"$$(VAR_A)", "$(VAR_A)"},
	{"$$$(VAR_A)", "$A"},
	{"$$$$(VAR_A)", "$$(VAR_A)"},
	{"f000-$$VAR_A", "f000-$VAR_A"},
	{"foo\\$(VAR_C)bar", "foo\\Cbar"},
	{"foo$VAR_A", "foo$VAR_A"},
	{"$(VAR_A", "$(VAR_A"},
	{"$(", "$("},
	{"$", "$"},
	{"a$", "a$"},
	{"$$", "$"},
	{"$)", "$)"},
	{"$()", "$()"},
	{"$(NONE)", "$(NONE)"},
	{"$($(VAR_A))", "$($(VAR_A))"}, /* a variable of the name "$(VAR_A" */
	{"$(VAR_A)$", "A$"},
	{"$?_boo_$!", "$?_boo_$!"},
	{"", ""},
};

static void test_expansion(void)
{
	json_t *vars = json_pack("{s:s, s:s, s:s, s:s, s:s}", "VAR_A", "A", "VAR_B", "B", "VAR_C",
				 "C", "VAR_REF", "$(VAR_A)", "VAR_EMPTY", "");
	for (size_t i = 0; i < ARRAY_LEN(expansions); i++) {
		char *out = expand(expansions[i].in, vars);
		if (!ok(strcmp(out, expansions[i].out) == 0, "expand '%s'", expansions[i].in))
			printf("# %s\n", out);
		free(out);
	}
	json_decref(vars);
}

static void test_shares(void)
{
	/* pkg/kubelet/cm/helpers_linux_test.go has these numbers. */
	static const struct {
		int64_t milli, shares, quota;
	} t[] = {{0, 2, 0},
		 {1, 2, 1000},
		 {5, 5, 1000},
		 {9, 9, 1000},
		 {10, 10, 1000},
		 {200, 204, 20000},
		 {500, 512, 50000},
		 {1000, 1024, 100000},
		 {1500, 1536, 150000},
		 {300000, 262144, 30000000}};
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		ok(cpu_shares(t[i].milli) == t[i].shares && cpu_quota(t[i].milli) == t[i].quota,
		   "%lldm: shares and quota", (long long)t[i].milli);
	ok(cpu_shares(INT64_MAX) == 262144 && cpu_quota(INT64_MAX) > 0 && cpu_shares(-1) == 2 &&
		   cpu_quota(-1) == 0,
	   "at the ends");
}

static void test_class(void)
{
	static const struct amounts none = {-1, -1, -1, -1}, zero = {0, 0, 0, 0},
				    same = {100, 100, 1000, 1000}, more = {100, 200, 1000, 1000},
				    no_cpu = {-1, -1, 1000, 1000}, request = {100, -1, -1, -1};
	const struct amounts a[] = {same, same}, b[] = {same, none}, c[] = {none, zero},
			     d[] = {same, more};
	/* Sums are compared: what one has too much the other may have too little. */
	const struct amounts f[] = {{100, 200, 1000, 1000}, {200, 100, 1000, 1000}};
	ok(qos_of(a, 2) == QOS_GUARANTEED, "all limits, requests equal to them");
	ok(qos_of(b, 2) == QOS_BURSTABLE, "one container without limits");
	ok(qos_of(c, 2) == QOS_BEST_EFFORT, "nothing, and nothing but zeros");
	ok(qos_of(d, 2) == QOS_BURSTABLE, "a limit above the request");
	ok(qos_of(f, 2) == QOS_GUARANTEED, "sums that are equal");
	ok(qos_of(&no_cpu, 1) == QOS_BURSTABLE, "memory alone");
	ok(qos_of(&request, 1) == QOS_BURSTABLE, "a request alone");
}

/* pkg/kubelet/qos/policy_test.go: a node of 4 GB (its standardMemoryAmount) and one of 8. */
static void test_oom(void)
{
	const int64_t gib = 1LL << 30;
	ok(oom_score_adj(QOS_GUARANTEED, false, gib, 4 * gib, -1) == -997, "Guaranteed");
	ok(oom_score_adj(QOS_BEST_EFFORT, false, 0, 4 * gib, -1) == 1000, "BestEffort");
	ok(oom_score_adj(QOS_BEST_EFFORT, true, 0, 4 * gib, -1) == -997, "critical for the node");
	ok(oom_score_adj(QOS_BURSTABLE, false, 0, 4 * gib, -1) == 999, "Burstable, no request");
	ok(oom_score_adj(QOS_BURSTABLE, false, -1, 4 * gib, -1) == 999, "Burstable, nothing said");
	ok(oom_score_adj(QOS_BURSTABLE, false, gib, 4 * gib, -1) == 750, "a quarter");
	ok(oom_score_adj(QOS_BURSTABLE, false, 4 * gib, 4 * gib, -1) == 3, "all of it");
	ok(oom_score_adj(QOS_BURSTABLE, false, 40 * gib, 4 * gib, -1) == 3, "more than there is");
	ok(oom_score_adj(QOS_BURSTABLE, false, 1, 4 * gib, -1) == 999, "a byte");
	ok(oom_score_adj(QOS_BURSTABLE, false, 0, 4 * gib, gib) == 750,
	   "a sidecar of a larger one");
	ok(oom_score_adj(QOS_BURSTABLE, false, 2 * gib, 4 * gib, gib) == 500, "a large sidecar");
	ok(oom_score_adj(QOS_BURSTABLE, false, INT64_MAX, gib, -1) == 3, "no overflow");
}

int main(void)
{
	test_quantities();
	test_expansion();
	test_shares();
	test_class();
	test_oom();
	return tap_done();
}
