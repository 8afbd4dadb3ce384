/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "cgroup.h"
#include "flat.h"
#include "jsonx.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

/* Version 1 mounts each controller by itself; in version 2 the root lists them. */
static bool has_v1_file(const char *file)
{
	char path[128];
	snprintf(path, sizeof path, "/sys/fs/cgroup/%s", file);
	return access(path, F_OK) == 0;
}

static void set_int(json_t *o, const char *key, int64_t n)
{
	json_object_set_new(o, key, json_integer(n));
}

static json_t *cpu_json(const Runtime__V1__LinuxContainerResources *r)
{
	json_t *cpu = json_object();
	if (r->cpu_shares > 0)
		set_int(cpu, "shares", r->cpu_shares);
	/* Negative is "no limit", and so is none at all; crun 1.8 cannot write it on version 1. */
	if (r->cpu_quota > 0)
		set_int(cpu, "quota", r->cpu_quota);
	if (r->cpu_period > 0)
		set_int(cpu, "period", r->cpu_period);
	if (*r->cpuset_cpus)
		json_object_set_new(cpu, "cpus", json_string(r->cpuset_cpus));
	if (*r->cpuset_mems)
		json_object_set_new(cpu, "mems", json_string(r->cpuset_mems));
	return cpu;
}

static json_t *memory_json(const struct bundle *b)
{
	const Runtime__V1__LinuxContainerResources *r = b->res;
	json_t *memory = json_object();
	if (r->memory_limit_in_bytes)
		set_int(memory, "limit", r->memory_limit_in_bytes);
	/* Kubelets always send it; a kernel without swap accounting has no file for it. -1 is what
	 * there is without it; a limit on swap alone no kernel takes. */
	if (r->memory_swap_limit_in_bytes > 0 && r->memory_limit_in_bytes > 0) {
		if (b->cgroup2 || has_v1_file("memory/memory.memsw.limit_in_bytes"))
			set_int(memory, "swap", r->memory_swap_limit_in_bytes);
		else
			log_debug("memory_swap_limit_in_bytes ignored: no swap accounting here");
	}
	return memory;
}

static int add_hugepages(const struct bundle *b, json_t *out, struct err *e)
{
	const Runtime__V1__LinuxContainerResources *r = b->res;
	AUTO_JSON json_t *list = json_array();
	bool mounted = cgroup_has_controller("hugetlb");
	for (size_t i = 0; i < r->n_hugepage_limits; i++) {
		const Runtime__V1__HugepageLimit *h = r->hugepage_limits[i];
		if (strspn(h->page_size, "0123456789") == 0 ||
		    strspn(h->page_size, "0123456789KMGB") != strlen(h->page_size))
			return err_set(
				e, ERR_BAD_INPUT,
				"resources.hugepage_limits[%zu].page_size: '%.32s' is not of "
				"the form 2MB",
				i, h->page_size);
		if (!mounted && h->limit)
			return err_set(e, ERR_UNSUPPORTED,
				       "resources.hugepage_limits: this host has no hugetlb "
				       "controller");
		if (h->limit > INT64_MAX)
			return err_set(e, ERR_BAD_INPUT,
				       "resources.hugepage_limits[%zu].limit: too large", i);
		/* Kubelets send a zero for each size that was not asked for: harmless where there
		 * are none, and no pages where there are some. */
		if (!mounted || (!h->limit && !cgroup_has_page_size(h->page_size)))
			continue;
		if (!cgroup_has_page_size(h->page_size))
			return err_set(e, ERR_UNSUPPORTED,
				       "resources.hugepage_limits: this host has no huge pages of "
				       "%.32s",
				       h->page_size);
		json_array_append_new(list, json_pack("{s:s, s:I}", "pageSize", h->page_size,
						      "limit", (json_int_t)h->limit));
	}
	if (json_array_size(list))
		json_object_set(out, "hugepageLimits", list);
	return 0;
}

static int add_unified(const struct bundle *b, json_t *out, struct err *e)
{
	const Runtime__V1__LinuxContainerResources *r = b->res;
	if (!r->n_unified)
		return 0;
	if (!b->cgroup2)
		return err_set(e, ERR_UNSUPPORTED, "resources.unified: this host has cgroup v1");
	json_t *map = json_object();
	for (size_t i = 0; i < r->n_unified; i++) {
		const char *key = r->unified[i]->key;
		if (!strchr(key, '.') || *key == '.' || strchr(key, '/') || !path_is_plain(key)) {
			json_decref(map);
			return err_set(e, ERR_BAD_INPUT,
				       "resources.unified: '%.80s' is not a cgroup file", key);
		}
		json_object_set_new(map, key, json_string(r->unified[i]->value));
	}
	json_object_set_new(out, "unified", map);
	return 0;
}

static int check_numbers(const Runtime__V1__LinuxContainerResources *r, struct err *e)
{
	static const char list[] = "0123456789,-";
	if (r->cpu_period < 0 || r->cpu_shares < 0)
		return err_set(e, ERR_BAD_INPUT, "resources.%s: negative",
			       r->cpu_period < 0 ? "cpu_period" : "cpu_shares");
	if (r->memory_limit_in_bytes < -1 || r->memory_swap_limit_in_bytes < -1)
		return err_set(e, ERR_BAD_INPUT, "resources.%s: less than -1",
			       r->memory_limit_in_bytes < -1 ? "memory_limit_in_bytes"
							     : "memory_swap_limit_in_bytes");
	if (r->memory_swap_limit_in_bytes > 0 &&
	    r->memory_swap_limit_in_bytes < r->memory_limit_in_bytes)
		return err_set(
			e, ERR_BAD_INPUT,
			"resources.memory_swap_limit_in_bytes: counts memory and swap, so it "
			"cannot be below memory_limit_in_bytes");
	if (strspn(r->cpuset_cpus, list) != strlen(r->cpuset_cpus) ||
	    strspn(r->cpuset_mems, list) != strlen(r->cpuset_mems))
		return err_set(e, ERR_BAD_INPUT, "resources.cpuset: '%.80s' is not a list as 0-3,8",
			       strspn(r->cpuset_cpus, list) != strlen(r->cpuset_cpus)
				       ? r->cpuset_cpus
				       : r->cpuset_mems);
	return 0;
}

static void set_unless_empty(json_t *out, const char *key, json_t *o)
{
	if (json_object_size(o))
		json_object_set(out, key, o);
	json_decref(o);
}

json_t *resources_json(const struct bundle *b, struct err *e)
{
	static const char *const sources[][2] = {
		{"linux.resources.cpu.shares", "cpu_shares"},
		{"linux.resources.cpu.quota", "cpu_quota"},
		{"linux.resources.cpu.period", "cpu_period"},
		{"linux.resources.cpu.cpus", "cpuset_cpus"},
		{"linux.resources.cpu.mems", "cpuset_mems"},
		{"linux.resources.memory.limit", "memory_limit_in_bytes"},
		{"linux.resources.memory.swap", "memory_swap_limit_in_bytes"},
		{"linux.resources.hugepageLimits", "hugepage_limits"},
		{"linux.resources.unified", "unified"},
	};
	AUTO_JSON json_t *out = json_object();
	if (!b->res)
		return TAKE(out);
	if (check_numbers(b->res, e) < 0 || add_hugepages(b, out, e) < 0 ||
	    add_unified(b, out, e) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		why(b, sources[i][0], "request linux.resources.%s", sources[i][1]);
	set_unless_empty(out, "cpu", cpu_json(b->res));
	set_unless_empty(out, "memory", memory_json(b));
	return TAKE(out);
}
