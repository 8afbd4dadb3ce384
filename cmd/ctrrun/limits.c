/* SPDX-License-Identifier: Apache-2.0 */
#include "limits.h"

#include "auto.h"
#include "cgroup.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <string.h>

/* Both are defaults of the kernel. */
enum { V1_SHARES = 1024 };
#define V2_WEIGHT "100"

const char *limits_page_size(const json_t *one)
{
	const char *s = json_string_value(json_object_get(one, "page_size"));
	return s ? s : json_string_value(json_object_get(one, "pageSize"));
}

char *limits_page_file(const char *size)
{
	return xasprintf("hugetlb.%s.%s", size, cgroup_is_v2() ? "max" : "limit_in_bytes");
}

json_t *limits_integer(json_t *v)
{
	char *end;
	const char *s = json_string_value(v);
	if (!s)
		return json_is_integer(v) ? json_incref(v) : NULL;
	long long n = strtoll(s, &end, 10); /* or the largest or smallest there is */
	return *s && !*end ? json_integer(n) : NULL;
}

static bool has_page_size(const json_t *list, const char *size)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		const char *s = limits_page_size(one);
		if (s && strcmp(s, size) == 0)
			return true;
	}
	return false;
}

json_t *limits_with(const json_t *have, const json_t *wanted)
{
	json_t *all = json_deep_copy(have);
	json_t *pages = json_object_get(have, "hugepage_limits");
	json_t *unified = json_object_get(have, "unified");
	size_t i;
	json_t *one;
	json_object_update(all, (json_t *)wanted);
	if (pages && json_object_get(wanted, "hugepage_limits")) {
		json_t *list = json_deep_copy(json_object_get(wanted, "hugepage_limits"));
		json_array_foreach (pages, i, one) {
			const char *size = limits_page_size(one);
			if (size && !has_page_size(list, size))
				json_array_append(list, one);
		}
		json_object_set_new(all, "hugepage_limits", list);
	}
	if (unified && json_object_get(wanted, "unified")) {
		json_t *map = json_deep_copy(unified);
		json_object_update(map, json_object_get(wanted, "unified"));
		json_object_set_new(all, "unified", map);
	}
	return all;
}

/* ---- what there was before */

/* A file of the container's group, without its newline; NULL when it cannot be read. */
static char *file_of(const struct ctr *k, const char *controller, const char *file)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	AUTO_CLOSE int dir =
		k->rec.pid > 0 && !strchr(file, '/')
			? cgroup_open_with((pid_t)k->rec.pid, k->id, controller, &ignored)
			: -1;
	if (dir < 0 || fs_read_at(dir, file, &b, &ignored) < 0 || !b.data)
		return NULL;
	return xstrndup(b.data, strcspn(b.data, "\n"));
}

static bool only_in(const char *key, const json_t *want, const json_t *have)
{
	return json_object_get(want, key) && !json_object_get(have, key);
}

static void set_text(json_t *o, const char *key, char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_string(value));
	free(value);
}

static void sets_before(json_t *old, const struct ctr *k, const json_t *have, const json_t *want)
{
	static const char *const keys[][3] = {
		{"cpuset_cpus", "cpuset.cpus", "cpuset.cpus.effective"},
		{"cpuset_mems", "cpuset.mems", "cpuset.mems.effective"}};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (only_in(keys[i][0], want, have))
			set_text(old, keys[i][0],
				 file_of(k, "cpuset", keys[i][cgroup_is_v2() ? 2 : 1]));
}

/* Limits that the runtime cannot be told to take away in its own words, by the kernel's. */
static void unified_before(json_t *old, const struct ctr *k, const json_t *have, const json_t *want)
{
	const json_t *had = json_object_get(have, "unified");
	json_t *map = had ? json_deep_copy(had) : json_object();
	const char *key;
	size_t i;
	json_t *v;
	json_object_foreach (json_object_get(want, "unified"), key, v)
		if (!json_object_get(had, key))
			set_text(map, key, file_of(k, "", key));
	if (only_in("cpu_shares", want, have))
		json_object_set_new(map, "cpu.weight", json_string(V2_WEIGHT));
	json_array_foreach (json_object_get(want, "hugepage_limits"), i, v) {
		const char *size = limits_page_size(v);
		if (!size || has_page_size(json_object_get(have, "hugepage_limits"), size) ||
		    !cgroup_has_page_size(size) || !cgroup_has_controller("hugetlb"))
			continue;
		AUTO_FREE char *file = limits_page_file(size);
		json_object_set_new(map, file, json_string("max"));
	}
	if (json_object_size(map))
		json_object_set(old, "unified", map);
	json_decref(map);
}

static void v1_before(json_t *old, const json_t *have, const json_t *want)
{
	/* As much as the kernel takes, in whole pages. */
	static const json_int_t no_pages = INT64_MAX & ~((INT64_C(1) << 30) - 1);
	json_t *had = json_object_get(have, "hugepage_limits");
	json_t *list = had ? json_deep_copy(had) : json_array(), *v;
	size_t i;
	json_array_foreach (json_object_get(want, "hugepage_limits"), i, v) {
		const char *size = limits_page_size(v);
		if (size && !has_page_size(list, size))
			json_array_append_new(list, json_pack("{s:s, s:I}", "page_size", size,
							      "limit", no_pages));
	}
	if (cgroup_has_controller("hugetlb"))
		json_object_set(old, "hugepage_limits", list);
	json_decref(list);
	if (only_in("cpu_shares", want, have))
		json_object_set_new(old, "cpu_shares", json_integer(V1_SHARES));
}

json_t *limits_before(const struct ctr *k, const json_t *have, const json_t *want)
{
	json_t *old = json_deep_copy(have);
	if (jsonx_opt_int((json_t *)want, "cpu_quota", 0) > 0 &&
	    !json_object_get(have, "cpu_quota"))
		json_object_set_new(old, "cpu_quota", json_integer(-1));
	if (only_in("memory_limit_in_bytes", want, have))
		json_object_set_new(old, "memory_limit_in_bytes", json_integer(-1));
	sets_before(old, k, have, want);
	if (cgroup_is_v2())
		unified_before(old, k, have, want);
	else
		v1_before(old, have, want);
	return old;
}

/* Bytes, or the kernel's word for none. */
static int64_t bytes_of(const char *text)
{
	return strcmp(text, "max") == 0 ? INT64_MAX : strtoll(text, NULL, 10);
}

int limits_check_pages(const struct ctr *k, const json_t *want, struct err *e)
{
	size_t i;
	json_t *v;
	json_array_foreach (json_object_get(want, "hugepage_limits"), i, v) {
		const char *size = limits_page_size(v);
		if (!size || !cgroup_has_page_size(size) || !cgroup_has_controller("hugetlb"))
			continue;
		AUTO_FREE char *file = limits_page_file(size);
		AUTO_FREE char *now = file_of(k, cgroup_is_v2() ? "" : "hugetlb", file);
		AUTO_JSON json_t *limit = limits_integer(json_object_get(v, "limit"));
		int64_t asked = json_integer_value(limit);
		/* The kernel counts in whole pages, and more than there can be is none. */
		if (now && asked < INT64_MAX / 2 && bytes_of(now) > asked)
			return err_set(e, ERR_UNSUPPORTED,
				       "hugepage_limits: %s does not change those of %s",
				       k->rec.runtime, size);
	}
	return 0;
}
