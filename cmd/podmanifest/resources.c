/* SPDX-License-Identifier: Apache-2.0 */
#include "podmanifest.h"

#include "auto.h"
#include "xalloc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* A billion processors, and what JSON numbers carry: sums of a thousand of either stay in 64 bits. */
static const int64_t CPU_MAX = 1000LL * 1000000000, BYTES_MAX = 1LL << 53;

static int read_amount(const json_t *map, const char *key, bool whole, int64_t *out,
		       const char *path, const char *list, struct err *e)
{
	const json_t *v = json_object_get(map, key);
	int64_t milli;
	*out = -1;
	if (!v)
		return 0;
	if (quantity_milli(v, &milli) < 0)
		return err_set(e, ERR_BAD_INPUT, "%s.resources.%s.%s: not a quantity", path, list,
			       key);
	*out = whole ? quantity_whole(milli) : milli;
	return *out <= (whole ? BYTES_MAX : CPU_MAX)
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s.resources.%s.%s: too large", path, list,
				 key);
}

/* With what the API server adds: a limit without a request is the request as well. */
int amounts_of(const json_t *container, const char *path, struct amounts *a, struct err *e)
{
	const json_t *r = json_object_get(container, "resources");
	const json_t *limits = json_object_get(r, "limits"),
		     *requests = json_object_get(r, "requests");
	if (read_amount(limits, "cpu", false, &a->cpu_limit, path, "limits", e) < 0 ||
	    read_amount(limits, "memory", true, &a->memory_limit, path, "limits", e) < 0 ||
	    read_amount(requests, "cpu", false, &a->cpu_request, path, "requests", e) < 0 ||
	    read_amount(requests, "memory", true, &a->memory_request, path, "requests", e) < 0)
		return -1;
	if (a->cpu_request < 0)
		a->cpu_request = a->cpu_limit;
	if (a->memory_request < 0)
		a->memory_request = a->memory_limit;
	return 0;
}

static char *path_of(const struct pm *p, size_t i, bool init)
{
	size_t before = json_array_size(json_object_get(p->spec, "initContainers"));
	return init ? xasprintf("spec.initContainers[%zu]", i)
		    : xasprintf("spec.containers[%zu]", i - before);
}

static int node_amount(const char *option, const char *text, int64_t found, bool whole,
		       int64_t *out, struct err *e)
{
	int64_t milli;
	*out = found;
	if (!text)
		return 0;
	if (quantity_parse(text, &milli) < 0 || milli <= 0)
		return err_set(e, ERR_USAGE, "%s: '%.40s' is not a quantity", option, text);
	*out = whole ? quantity_whole(milli) : milli;
	return 0;
}

int resources_prepare(struct pm *p, struct err *e)
{
	struct sysinfo si;
	size_t n = containers_count(p);
	AUTO_FREE struct amounts *all = xcalloc(n, sizeof *all);
	for (size_t i = 0; i < n; i++) {
		bool init;
		json_t *c = container_at(p, i, &init);
		AUTO_FREE char *path = path_of(p, i, init);
		if (amounts_of(c, path, &all[i], e) < 0)
			return err_wrap(e, "%s", p->what);
	}
	p->qos = qos_of(all, n);
	if (sysinfo(&si) < 0)
		return err_sys(e, "sysinfo");
	if (node_amount("--node-memory", p->o->node_memory,
			(int64_t)((uint64_t)si.totalram * si.mem_unit), true, &p->node_memory,
			e) < 0)
		return -1;
	return node_amount("--node-cpu", p->o->node_cpu, 1000LL * sysconf(_SC_NPROCESSORS_ONLN),
			   false, &p->node_millicpu, e);
}

/* Pages of these sizes are the machine's, 0 of each unless a limit says more. */
static void add_huge_pages(json_t *out, const json_t *container)
{
	const json_t *limits = json_object_get(json_object_get(container, "resources"), "limits");
	struct dirent *de;
	AUTO_CLOSEDIR DIR *d = opendir("/sys/kernel/mm/hugepages");
	json_t *list = json_array();
	while (d && (de = readdir(d))) {
		char *end, size[32], name[48];
		unsigned long long kb = strncmp(de->d_name, "hugepages-", 10) == 0
						? strtoull(de->d_name + 10, &end, 10)
						: 0;
		int64_t milli = 0;
		if (kb == 0 || strcmp(end, "kB") != 0)
			continue;
		const char *unit = kb >= 1 << 20 ? "G" : "M";
		unsigned long long n = kb >= 1 << 20 ? kb >> 20 : kb >> 10;
		snprintf(size, sizeof size, "%llu%sB", n, unit);
		snprintf(name, sizeof name, "hugepages-%llu%si", n, unit);
		if (quantity_milli(json_object_get(limits, name), &milli) < 0)
			milli = 0;
		json_array_append_new(list, json_pack("{s:s, s:I}", "page_size", size, "limit",
						      (json_int_t)quantity_whole(milli)));
	}
	if (json_array_size(list))
		json_object_set(out, "hugepage_limits", list);
	json_decref(list);
}

static int64_t smallest_of_main(const struct pm *p)
{
	int64_t least = INT64_MAX;
	struct err ignored;
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(p->spec, "containers"), i, c) {
		struct amounts a;
		if (amounts_of(c, "", &a, &ignored) == 0)
			least = MIN(least, MAX(a.memory_request, 0));
	}
	return least;
}

json_t *container_resources(struct pm *p, json_t *container, bool init, const char *path,
			    struct err *e)
{
	struct amounts a;
	static const char *const lists[] = {"limits", "requests"};
	const char *key;
	json_t *v;
	if (amounts_of(container, path, &a, e) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_object_foreach (
			json_object_get(json_object_get(container, "resources"), lists[i]), key, v)
			if (strcmp(key, "cpu") != 0 && strcmp(key, "memory") != 0 &&
			    strcmp(key, "ephemeral-storage") != 0 &&
			    strncmp(key, "hugepages-", 10) != 0)
				problem(p, "%s.resources.%s.%.80s: needs a device plugin", path,
					lists[i], key);
	json_t *out = linux_resources(&a);
	bool critical = strcmp(str(p->spec, "priorityClassName"), "system-node-critical") == 0;
	bool sidecar = init && is_sidecar(container);
	json_object_set_new(
		out, "oom_score_adj",
		json_integer(oom_score_adj(p->qos, critical, a.memory_request, p->node_memory,
					   sidecar ? smallest_of_main(p) : -1)));
	/* No swap: a kubelet without swap sends the limit for both. */
	if (a.memory_limit > 0)
		json_object_set_new(out, "memory_swap_limit_in_bytes",
				    json_integer(a.memory_limit));
	add_huge_pages(out, container);
	return out;
}

static void add_up(struct amounts *sum, const struct amounts *a)
{
	int64_t *to[] = {&sum->cpu_request, &sum->cpu_limit, &sum->memory_request,
			 &sum->memory_limit};
	const int64_t from[] = {a->cpu_request, a->cpu_limit, a->memory_request, a->memory_limit};
	for (size_t i = 0; i < ARRAY_LEN(to); i++)
		*to[i] = from[i] < 0 ? *to[i] : MAX(*to[i], 0) + from[i];
}

static void raise_to(struct amounts *most, const struct amounts *a)
{
	most->cpu_request = MAX(most->cpu_request, a->cpu_request);
	most->cpu_limit = MAX(most->cpu_limit, a->cpu_limit);
	most->memory_request = MAX(most->memory_request, a->memory_request);
	most->memory_limit = MAX(most->memory_limit, a->memory_limit);
}

/* component-helpers/resource: what runs together is added up, sidecars among it; an init container
 * runs beside the sidecars before it only. */
static int pod_amounts(const struct pm *p, struct amounts *out, struct err *e)
{
	struct amounts sum = {-1, -1, -1, -1}, sidecars = sum, init = sum, a;
	for (size_t i = 0; i < containers_count(p); i++) {
		bool is_init;
		json_t *c = container_at(p, i, &is_init);
		AUTO_FREE char *path = path_of(p, i, is_init);
		if (amounts_of(c, path, &a, e) < 0)
			return -1;
		if (!is_init || is_sidecar(c))
			add_up(&sum, &a);
		if (!is_init)
			continue;
		struct amounts with = sidecars;
		add_up(&with, &a);
		if (is_sidecar(c))
			sidecars = with;
		raise_to(&init, &with);
	}
	raise_to(&sum, &init);
	*out = sum;
	return 0;
}

int pod_resources(struct pm *p, json_t *linux_config, struct err *e)
{
	const json_t *overhead = json_object_get(p->spec, "overhead");
	struct amounts a, o = {-1, -1, -1, -1};
	if (pod_amounts(p, &a, e) < 0 ||
	    read_amount(overhead, "cpu", false, &o.cpu_limit, "spec", "overhead", e) < 0 ||
	    read_amount(overhead, "memory", true, &o.memory_limit, "spec", "overhead", e) < 0)
		return -1;
	o.cpu_request = o.cpu_limit;
	json_object_set_new(linux_config, "overhead",
			    overhead ? linux_resources(&o) : json_object());
	json_object_set_new(linux_config, "resources", linux_resources(&a));
	return 0;
}

static json_t *container_by_name(const struct pm *p, const char *name)
{
	bool init;
	for (size_t i = 0; i < containers_count(p); i++)
		if (strcmp(str(container_at(p, i, &init), "name"), name) == 0)
			return container_at(p, i, &init);
	return NULL;
}

/* A limit that is not set is what the node has. */
static int field_amount(const struct pm *p, const char *resource, const json_t *container,
			int64_t *milli, struct err *e)
{
	const json_t *r = json_object_get(container, "resources");
	bool limit = strncmp(resource, "limits.", 7) == 0;
	const char *what = strchr(resource, '.');
	const json_t *limits = json_object_get(r, "limits");
	if (!what || (!limit && strncmp(resource, "requests.", 9) != 0))
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not limits.X or requests.X", resource);
	what++;
	const json_t *v = json_object_get(json_object_get(r, limit ? "limits" : "requests"), what);
	v = v ? v : json_object_get(limits, what);
	*milli = 0;
	if (v)
		return quantity_milli(v, milli) < 0 ? err_set(e, ERR_BAD_INPUT, "not a quantity")
						    : 0;
	if (limit && strcmp(what, "cpu") == 0)
		*milli = p->node_millicpu;
	else if (limit && strcmp(what, "memory") == 0)
		*milli = p->node_memory > INT64_MAX / 1000 ? INT64_MAX : p->node_memory * 1000;
	else if (strcmp(what, "cpu") != 0 && strcmp(what, "memory") != 0 &&
		 strcmp(what, "ephemeral-storage") != 0 && strncmp(what, "hugepages-", 10) != 0)
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not known", resource);
	return 0;
}

char *resource_field(struct pm *p, const json_t *ref, json_t *container, const char *path,
		     struct err *e)
{
	const char *of = str(ref, "containerName"), *resource = str(ref, "resource");
	const json_t *c = *of ? container_by_name(p, of) : container;
	int64_t milli = 0, divisor = 1000;
	const json_t *d = json_object_get(ref, "divisor");
	if (!c)
		return err_set_p(e, ERR_BAD_INPUT,
				 "%s: %s.containerName: '%.63s' is none of the pod's", p->what,
				 path, of);
	if (d && quantity_milli(d, &divisor) < 0)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s.divisor: not a quantity", p->what, path);
	divisor = divisor ? divisor : 1000;
	if (strcmp(resource, "limits.ephemeral-storage") == 0 &&
	    !json_object_get(json_object_get(json_object_get(c, "resources"), "limits"),
			     "ephemeral-storage"))
		problem(p, "%s.resource: the node's storage is not known", path);
	if (field_amount(p, resource, c, &milli, e) < 0)
		return err_wrap(e, "%s: %s.resource", p->what, path), NULL;
	return xasprintf("%" PRId64, milli / divisor + (milli % divisor > 0));
}
