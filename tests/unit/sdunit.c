/* SPDX-License-Identifier: Apache-2.0 */
#include "sdunit.h"
#include "auto.h"
#include "tap.h"

#include <string.h>

static bool same(char *got, const char *want)
{
	AUTO_FREE char *mine = got;
	return want ? mine && strcmp(mine, want) == 0 : !mine;
}

int main(void)
{
	ok(same(sdunit_slice_path("a.slice"), "/a.slice"), "one");
	ok(same(sdunit_slice_path("kubepods-burstable-pod1_2.slice"),
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"),
	   "each dash is a slice around it");
	ok(same(sdunit_slice_path("-.slice"), ""), "the root");
	static const char *const bad[] = {"",         ".slice",   "a",          "a.scope",
					  "-a.slice", "a-.slice", "a--b.slice", "a/b.slice"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ok(same(sdunit_slice_path(bad[i]), NULL), "'%s' is no slice", bad[i]);
	ok(same(sdunit_scope_path("a-b.slice:crisp:id"), "/a.slice/a-b.slice/crisp-id.scope"),
	   "a scope");
	ok(same(sdunit_scope_path(":crisp:id"), "/system.slice/crisp-id.scope"), "of no slice");
	ok(same(sdunit_scope_path("a.slice::id"), "/a.slice/id.scope"), "without a prefix");
	static const char *const other[] = {"/a/b",       "",      "a.slice",      "a.slice:b",
					    "a.slice:b:", "a:b:c", "a.slice:b:c/d"};
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		ok(same(sdunit_scope_path(other[i]), NULL), "'%s' is no scope", other[i]);
	return tap_done();
}
