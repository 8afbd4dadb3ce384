/* SPDX-License-Identifier: Apache-2.0 */
#include "seccomp.h"

#include "auto.h"
#include "cap.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { PROFILE_MAX = 4 << 20 };

/* The one that this program was built for. */
#if defined(__x86_64__)
#define NATIVE "amd64"
#elif defined(__aarch64__)
#define NATIVE "arm64"
#elif defined(__arm__)
#define NATIVE "arm"
#elif defined(__i386__)
#define NATIVE "386"
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE "riscv64"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define NATIVE "ppc64le"
#elif defined(__s390x__)
#define NATIVE "s390x"
#elif defined(__loongarch64)
#define NATIVE "loong64"
#else
/* cppcheck-suppress preprocessorErrorDirective */
#error "no default seccomp profile for this architecture"
#endif

static const struct seccomp_arch *native(void)
{
	size_t i = 0;
	while (strcmp(seccomp_arches[i].name, NATIVE) != 0)
		i++;
	return &seccomp_arches[i];
}

static json_t *default_architectures(void)
{
	json_t *out = json_array();
	for (const char *const *word = native()->words; *word; word++)
		json_array_append_new(out, json_string(*word));
	return out;
}

static void add_names(json_t *names, const char *list)
{
	while (*list) {
		size_t n = strcspn(list, " ");
		json_array_append_new(names, json_stringn(list, n));
		list += n;
		list += strspn(list, " ");
	}
}

static bool rule_counts(const struct seccomp_rule *r, uint64_t caps)
{
	return (!r->caps || r->caps & caps) && !(r->unless & caps);
}

static json_t *rule_to_json(const struct seccomp_rule *r)
{
	json_t *names = json_array();
	add_names(names, r->names);
	json_t *out = json_pack("{s:o, s:s}", "names", names, "action",
				r->err ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW");
	if (r->err)
		json_object_set_new(out, "errnoRet", json_integer(r->err));
	if (r->op == SECCOMP_EQ)
		json_object_set_new(out, "args",
				    json_pack("[{s:i, s:I, s:s}]", "index", (int)r->arg, "value",
					      (json_int_t)r->value, "op", "SCMP_CMP_EQ"));
	else if (r->op == SECCOMP_MASKED)
		json_object_set_new(out, "args",
				    json_pack("[{s:i, s:I, s:I, s:s}]", "index", (int)r->arg,
					      "value", (json_int_t)r->mask, "valueTwo",
					      (json_int_t)r->value, "op", "SCMP_CMP_MASKED_EQ"));
	return out;
}

/* The calls of rows that do not count, unless another row speaks of them. */
static json_t *refused_names(uint64_t caps)
{
	json_t *out = json_array(), *spoken_of = json_object();
	add_names(out, seccomp_default_refused);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < seccomp_default_count; i++) {
			const struct seccomp_rule *r = &seccomp_default_rules[i];
			AUTO_JSON json_t *names = json_array();
			size_t k;
			json_t *name;
			add_names(names, r->names);
			json_array_foreach (names, k, name) {
				const char *s = json_string_value(name);
				if (pass == 1 && !json_object_get(spoken_of, s))
					json_array_append(out, name);
				if (pass == 1 || rule_counts(r, caps))
					json_object_set_new(spoken_of, s, json_true());
			}
		}
	json_decref(spoken_of);
	return out;
}

json_t *seccomp_default(uint64_t caps)
{
	json_t *plain = json_array(), *rules = json_array();
	/* Rows that only allow are one rule: a runtime adds them in one go. */
	json_array_append_new(rules,
			      json_pack("{s:O, s:s}", "names", plain, "action", "SCMP_ACT_ALLOW"));
	json_array_append_new(rules, json_pack("{s:o, s:s, s:i}", "names", refused_names(caps),
					       "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM));
	for (size_t i = 0; i < seccomp_default_count; i++) {
		const struct seccomp_rule *r = &seccomp_default_rules[i];
		if (!rule_counts(r, caps))
			continue;
		if (r->op == SECCOMP_ALWAYS && !r->err)
			add_names(plain, r->names);
		else
			json_array_append_new(rules, rule_to_json(r));
	}
	json_decref(plain);
	return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO",
			 "defaultErrnoRet", ENOSYS, "architectures", default_architectures(),
			 "syscalls", rules);
}

/* Is one of these names (strings) of a capability in the set? */
static bool any_cap(const json_t *list, uint64_t caps)
{
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item) {
		int n = json_is_string(item) ? cap_number(json_string_value(item)) : -1;
		if (n >= 0 && caps >> n & 1)
			return true;
	}
	return false;
}

static bool all_caps(const json_t *list, uint64_t caps)
{
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item) {
		int n = json_is_string(item) ? cap_number(json_string_value(item)) : -1;
		if (n < 0 || !(caps >> n & 1))
			return false;
	}
	return true;
}

static bool has_arch(const json_t *list)
{
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item)
		if (json_is_string(item) && strcmp(json_string_value(item), NATIVE) == 0)
			return true;
	return false;
}

/* "4.8" against the running kernel. */
static bool kernel_at_least(const char *want)
{
	struct utsname u;
	char *end;
	if (uname(&u) < 0)
		return false;
	unsigned long have_major = strtoul(u.release, &end, 10);
	unsigned long have_minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	unsigned long major = strtoul(want, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return have_major != major ? have_major > major : have_minor >= minor;
}

/* Docker's conditions: every one under "includes" must hold, none under "excludes" may. */
static bool rule_applies(json_t *rule, uint64_t caps)
{
	json_t *in = json_object_get(rule, "includes"), *ex = json_object_get(rule, "excludes");
	json_t *v;
	if ((v = json_object_get(in, "caps")) && !all_caps(v, caps))
		return false;
	if ((v = json_object_get(in, "arches")) && json_array_size(v) && !has_arch(v))
		return false;
	if ((v = json_object_get(in, "minKernel")) && json_is_string(v) &&
	    !kernel_at_least(json_string_value(v)))
		return false;
	if (any_cap(json_object_get(ex, "caps"), caps) || has_arch(json_object_get(ex, "arches")))
		return false;
	v = json_object_get(ex, "minKernel");
	return !(json_is_string(v) && kernel_at_least(json_string_value(v)));
}

static void copy_keys(json_t *to, json_t *from, const char *const *keys)
{
	for (; *keys; keys++) {
		json_t *v = json_object_get(from, *keys);
		if (v && !json_is_null(v))
			json_object_set(to, *keys, v);
	}
}

static int convert_rule(json_t *rule, uint64_t caps, const char *what, json_t *out, struct err *e)
{
	static const char *const keys[] = {"action", "errnoRet", "args", NULL};
	json_t *names = json_object_get(rule, "names"), *name = json_object_get(rule, "name");
	size_t i;
	const json_t *item;
	if (!json_is_object(rule) || !json_is_string(json_object_get(rule, "action")))
		return err_set(e, ERR_BAD_INPUT, "%s: a rule without an action", what);
	json_array_foreach (names, i, item)
		if (!json_is_string(item))
			return err_set(e, ERR_BAD_INPUT, "%s: a rule's names must be strings",
				       what);
	if (json_array_size(names) == 0 && !json_is_string(name))
		return err_set(e, ERR_BAD_INPUT, "%s: a rule without names", what);
	if (!rule_applies(rule, caps))
		return 0;
	json_t *r = json_object();
	json_object_set_new(r, "names",
			    json_array_size(names) ? json_incref(names) : json_pack("[O]", name));
	copy_keys(r, rule, keys);
	json_array_append_new(out, r);
	return 0;
}

/* archMap: [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": [...]}, ...] */
static void add_arch_map(json_t *out, json_t *map)
{
	size_t i, k;
	json_t *entry, *sub;
	json_t *list = json_array();
	json_array_foreach (map, i, entry) {
		if (strcmp(jsonx_opt_string(entry, "architecture", ""), native()->words[0]) != 0)
			continue;
		json_array_append_new(list, json_string(native()->words[0]));
		json_array_foreach (json_object_get(entry, "subArchitectures"), k, sub)
			json_array_append(list, sub);
	}
	if (json_array_size(list))
		json_object_set(out, "architectures", list);
	json_decref(list);
}

json_t *seccomp_convert(json_t *profile, uint64_t caps, const char *what, struct err *e)
{
	static const char *const keys[] = {"defaultAction",
					   "defaultErrnoRet",
					   "architectures",
					   "flags",
					   "listenerPath",
					   "listenerMetadata",
					   NULL};
	size_t i;
	json_t *rule, *rules = json_object_get(profile, "syscalls");
	if (!json_is_object(profile) || !json_is_string(json_object_get(profile, "defaultAction")))
		return err_set_p(e, ERR_BAD_INPUT, "%s: no defaultAction in it", what);
	if (rules && !json_is_array(rules) && !json_is_null(rules))
		return err_set_p(e, ERR_BAD_INPUT, "%s: syscalls: expected array, found %s", what,
				 jsonx_type_name(json_typeof(rules)));
	AUTO_JSON json_t *out = json_object();
	AUTO_JSON json_t *list = json_array();
	copy_keys(out, profile, keys);
	/* An empty list is not the same as none to every runtime. */
	if (json_array_size(json_object_get(out, "architectures")) == 0)
		json_object_del(out, "architectures");
	add_arch_map(out, json_object_get(profile, "archMap"));
	json_array_foreach (rules, i, rule)
		if (convert_rule(rule, caps, what, list, e) < 0)
			return NULL;
	if (json_array_size(list))
		json_object_set(out, "syscalls", list);
	return TAKE(out);
}

json_t *seccomp_load(const char *path, uint64_t caps, const char *what, struct err *e)
{
	if (path[0] != '/')
		return err_set_p(e, ERR_BAD_INPUT, "%s: '%s' is not an absolute path", what, path);
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, path, PROFILE_MAX, e);
	if (!j)
		return err_wrap(e, "%s", what), NULL;
	return seccomp_convert(j, caps, path, e);
}
