/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cgroup.h"
#include "ctr.h"
#include "event.h"
#include "fs.h"
#include "jsonx.h"
#include "limits.h"
#include "log.h"
#include "xalloc.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Other limits for a container that is created or runs. What is asked for is laid over what it has
 * (container.json, then resources.json of earlier updates): a zero or an empty value changes
 * nothing. The runtime applies the whole; when it fails, it is told the old limits again. */

enum { INPUT_MAX = 1 << 20, CONFIG_MAX = 16 << 20 };
/* From here on a limit is none: what kubelets send for it, and more than there is. */
static const json_int_t no_limit = INT64_C(1) << 62;

static const struct field {
	const char *name;
	json_type type;
} fields[] = {
	{"cpu_period", JSON_INTEGER},
	{"cpu_quota", JSON_INTEGER},
	{"cpu_shares", JSON_INTEGER},
	{"memory_limit_in_bytes", JSON_INTEGER},
	{"memory_swap_limit_in_bytes", JSON_INTEGER},
	{"oom_score_adj", JSON_INTEGER},
	{"cpuset_cpus", JSON_STRING},
	{"cpuset_mems", JSON_STRING},
	{"hugepage_limits", JSON_ARRAY},
	{"unified", JSON_OBJECT},
};

static bool same_key(const char *name, const char *key)
{
	for (;; name++, key++) {
		name += *name == '_';
		key += *key == '_';
		if (tolower((unsigned char)*name) != tolower((unsigned char)*key))
			return false;
		if (!*name)
			return true;
	}
}

static const struct field *field_of(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (same_key(fields[i].name, key))
			return &fields[i];
	return NULL;
}

static bool changes_nothing(const json_t *v)
{
	return (json_is_integer(v) && json_integer_value(v) == 0) ||
	       (json_is_string(v) && !*json_string_value(v)) ||
	       ((json_is_array(v) || json_is_object(v)) && !json_array_size(v) &&
		!json_object_size(v));
}

/* The fields by their names in cri.proto, into `into`. */
static int lay_over(json_t *into, json_t *from, const char *what, struct err *e)
{
	const char *key;
	json_t *v;
	json_object_foreach (from, key, v) {
		const struct field *f = field_of(key);
		if (!f)
			return err_set(e, ERR_BAD_INPUT, "%s: unknown field '%.64s'", what, key);
		json_t *value = f->type == JSON_INTEGER ? limits_integer(v) : json_incref(v);
		if (!json_is_null(v) && (!value || json_typeof(value) != f->type)) {
			json_decref(value);
			return err_set(e, ERR_BAD_INPUT, "%s: %s: expected %s, found %s", what,
				       f->name, jsonx_type_name(f->type),
				       jsonx_type_name(json_typeof(v)));
		}
		if (json_is_null(v) || changes_nothing(value))
			json_decref(value);
		else
			json_object_set_new(into, f->name, value);
	}
	return 0;
}

static json_t *load_wanted(const char *operand, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(INPUT_MAX);
	const char *what = strcmp(operand, "-") == 0 ? "standard input" : operand;
	if (fs_read_operand(operand, &b, e) < 0)
		return NULL;
	AUTO_JSON json_t *j = jsonx_parse(b.data ? b.data : "", b.len, what, e);
	AUTO_JSON json_t *wanted = json_object();
	if (!j)
		return NULL;
	if (!json_is_object(j))
		return err_set_p(e, ERR_BAD_INPUT, "%s: expected object", what);
	return lay_over(wanted, j, what, e) < 0 ? NULL : TAKE(wanted);
}

/* What the container has now. */
static json_t *load_present(int dir, struct err *e)
{
	AUTO_JSON json_t *have = json_object();
	struct err none;
	AUTO_JSON json_t *earlier = jsonx_read_at(dir, "resources.json", INPUT_MAX, &none);
	if (!earlier && none.kind != ERR_NOT_FOUND) {
		*e = none;
		return NULL;
	}
	AUTO_JSON json_t *config =
		earlier ? NULL : jsonx_read_at(dir, "container.json", CONFIG_MAX, e);
	if (!earlier && !config)
		return NULL;
	json_t *first = json_object_get(json_object_get(config, "linux"), "resources");
	if (lay_over(have, earlier ? earlier : first, "resources", e) < 0)
		return NULL;
	return TAKE(have);
}

static json_int_t number(const json_t *r, const char *key)
{
	return jsonx_opt_int((json_t *)r, key, 0);
}

static bool is_none(json_int_t limit)
{
	return limit < 0 || limit >= no_limit;
}

static int check(const json_t *r, struct err *e)
{
	static const char list[] = "0123456789,-";
	json_int_t quota = number(r, "cpu_quota"), period = number(r, "cpu_period");
	json_int_t memory = number(r, "memory_limit_in_bytes");
	json_int_t swap = number(r, "memory_swap_limit_in_bytes");
	if (period && (period < 1000 || period > 1000000))
		return err_set(e, ERR_BAD_INPUT, "cpu_period: not within 1000..1000000");
	if (quota > 0 && quota < 1000)
		return err_set(e, ERR_BAD_INPUT, "cpu_quota: less than 1000");
	if (number(r, "cpu_shares") < 0)
		return err_set(e, ERR_BAD_INPUT, "cpu_shares: negative");
	if (memory < -1 || swap < -1)
		return err_set(e, ERR_BAD_INPUT, "a memory limit is less than -1");
	if (swap > 0 && !is_none(memory) && swap < memory)
		return err_set(e, ERR_BAD_INPUT,
			       "memory_swap_limit_in_bytes counts memory and swap, so it cannot be "
			       "below memory_limit_in_bytes");
	for (size_t i = 0; i < 2; i++) {
		const char *key = i ? "cpuset_mems" : "cpuset_cpus";
		const char *s = jsonx_opt_string((json_t *)r, key, "");
		if (strspn(s, list) != strlen(s))
			return err_set(e, ERR_BAD_INPUT, "%s: '%.80s' is not a list as 0-3,8", key,
				       s);
	}
	return 0;
}

static bool has_file(const char *file)
{
	char path[128];
	snprintf(path, sizeof path, "/sys/fs/cgroup/%s", file);
	return access(path, F_OK) == 0;
}

static void copy(json_t *to, const char *name, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);
	if (v)
		json_object_set(to, name, v);
}

static void put_memory(json_t *memory, const json_t *r)
{
	json_int_t limit = number(r, "memory_limit_in_bytes");
	json_int_t swap = number(r, "memory_swap_limit_in_bytes");
	bool has_swap = cgroup_is_v2() || has_file("memory/memory.memsw.limit_in_bytes");
	if (limit)
		json_object_set_new(memory, "limit", json_integer(is_none(limit) ? -1 : limit));
	if (swap && limit && has_swap)
		json_object_set_new(memory, "swap",
				    json_integer(is_none(swap) || is_none(limit) ? -1 : swap));
}

/* On version 2 by the kernel's name: runc's update knows no other for them. */
static void put_pages(json_t *list, json_t *unified, const char *size, json_int_t n)
{
	AUTO_FREE char *file = limits_page_file(size);
	AUTO_FREE char *text = xasprintf("%" JSON_INTEGER_FORMAT, n);
	if (!cgroup_is_v2())
		json_array_append_new(list, json_pack("{s:s, s:I}", "pageSize", size, "limit", n));
	else if (!json_object_get(unified, file))
		json_object_set_new(unified, file, json_string(text));
}

static int put_hugepages(json_t *out, json_t *unified, const json_t *r, struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	bool mounted = cgroup_has_controller("hugetlb");
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(r, "hugepage_limits"), i, one) {
		const char *size = limits_page_size(one);
		AUTO_JSON json_t *limit = limits_integer(json_object_get(one, "limit"));
		json_int_t n = json_integer_value(limit); /* absent is a zero */
		if (!size)
			return err_set(e, ERR_BAD_INPUT,
				       "hugepage_limits[%zu].page_size: expected string", i);
		if (n && !mounted)
			return err_set(e, ERR_UNSUPPORTED,
				       "hugepage_limits: this host has no hugetlb controller");
		/* As ocibundle does it. */
		if (!mounted || (!n && !cgroup_has_page_size(size)))
			continue;
		if (!cgroup_has_page_size(size))
			return err_set(e, ERR_UNSUPPORTED,
				       "hugepage_limits: this host has no huge pages of %.32s",
				       size);
		put_pages(list, unified, size, n);
	}
	if (json_array_size(list))
		json_object_set(out, "hugepageLimits", list);
	return 0;
}

/* As the runtime reads it; without the quota when that is to be none and `quota` is false. */
static json_t *oci_of(const json_t *r, bool quota, struct err *e)
{
	AUTO_JSON json_t *out = json_object();
	json_t *cpu = json_object(), *memory = json_object();
	json_object_set_new(out, "cpu", cpu);
	json_object_set_new(out, "memory", memory);
	copy(cpu, "period", r, "cpu_period");
	copy(cpu, "shares", r, "cpu_shares");
	copy(cpu, "cpus", r, "cpuset_cpus");
	copy(cpu, "mems", r, "cpuset_mems");
	/* On version 2 crun takes a quota away only together with a period; this is the kernel's. */
	if (number(r, "cpu_quota") < 0 && !number(r, "cpu_period"))
		json_object_set_new(cpu, "period", json_integer(100000));
	if (number(r, "cpu_quota") < 0 && quota)
		json_object_set_new(cpu, "quota", json_integer(-1));
	else if (number(r, "cpu_quota") > 0)
		copy(cpu, "quota", r, "cpu_quota");
	put_memory(memory, r);
	if (json_object_get(r, "unified") && !cgroup_is_v2())
		return err_set_p(e, ERR_UNSUPPORTED, "unified: this host has cgroup v1");
	AUTO_JSON json_t *unified = json_object();
	json_object_update(unified, json_object_get(r, "unified"));
	if (put_hugepages(out, unified, r, e) < 0)
		return NULL;
	if (json_object_size(unified))
		json_object_set(out, "unified", unified);
	return TAKE(out);
}

static int apply(const struct ctr *k, const json_t *r, bool quota, struct err *e)
{
	struct rt_args a;
	AUTO_JSON json_t *oci = oci_of(r, quota, e);
	AUTO_FREE char *text = oci ? json_dumps(oci, JSON_COMPACT) : NULL;
	if (!text)
		return -1;
	rt_begin(&a, k);
	rt_add(&a, "update");
	rt_add(&a, "--resources");
	rt_add(&a, "-");
	rt_add(&a, k->id);
	return rt_run_with(k, &a, text, strlen(text), rt_timeout_ms(k), e);
}

/* crun cannot write "no quota" on cgroup v1: then we do. */
static int apply_without_quota(const struct ctr *k, const json_t *r, struct err *e)
{
	if (k->rec.cgroup_path[0] != '/' || strstr(k->rec.cgroup_path, "/..") ||
	    !strstr(k->rec.cgroup_path, k->id))
		return -1;
	AUTO_FREE char *path =
		xasprintf("/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", k->rec.cgroup_path);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || apply(k, r, false, e) < 0)
		return -1;
	return write(fd, "-1", 2) == 2 ? 0 : err_sys(e, "%s", path);
}

static int apply_or_undo(const struct ctr *k, const json_t *have, const json_t *want, struct err *e)
{
	struct err why;
	AUTO_JSON json_t *old = limits_before(k, have, want);
	if ((apply(k, want, true, e) == 0 ||
	     (number(want, "cpu_quota") < 0 && apply_without_quota(k, want, e) == 0)) &&
	    limits_check_pages(k, want, e) == 0)
		return 0;
	if (apply(k, old, true, &why) < 0 &&
	    (number(old, "cpu_quota") >= 0 || apply_without_quota(k, old, &why) < 0))
		log_warn("container %s: the old limits cannot be restored: %s", k->id, why.msg);
	return -1;
}

int verb_update(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	AUTO_JSON json_t *wanted = load_wanted(argv[1], e);
	(void)argc;
	if (!wanted || ctr_open(&k, c, argv[0], CTR_LOCKED, e) < 0)
		return -1;
	if ((k.state != CTR_RUNNING && k.state != CTR_CREATED) || *k.rec.start_error)
		return err_set(e, ERR_BAD_STATE, "container %s is %s: it has no limits to change",
			       k.id, ctr_state_name(k.state));
	AUTO_JSON json_t *can = k.handler.name ? handler_can(&c->cfg, &k.handler) : NULL;
	if (handler_can_do(can, "update") == 0)
		return err_set(e, ERR_UNSUPPORTED,
			       "update: the runtime of handler '%s' cannot do it", k.handler.name);
	AUTO_CLOSE int dir = object_open(&c->st, OBJ_CONTAINER, k.id, e);
	AUTO_JSON json_t *have = dir < 0 ? NULL : load_present(dir, e);
	if (!have)
		return -1;
	/* Set for a process when it is made, and by nobody later. */
	json_object_del(wanted, "oom_score_adj");
	AUTO_JSON json_t *all = limits_with(have, wanted);
	if (check(all, e) < 0)
		return err_wrap(e, "update %s", k.id);
	if (apply_or_undo(&k, have, all, e) < 0) {
		ctr_blame_end(&k, e);
		return err_wrap(e, "update %s", k.id);
	}
	if (jsonx_replace_at(dir, "resources.json", 0600, all, 0, e) < 0)
		return err_wrap(e, "update %s", k.id);
	event_publish(&c->st, "changed", "container", k.id, k.rec.pod_id, false);
	return 0;
}
