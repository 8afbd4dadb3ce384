/* SPDX-License-Identifier: Apache-2.0 */
/* ocibundle's capability names and seccomp profiles: the built-in one decides on every system call
 * that this machine's headers know, and profiles from files become plain OCI. */
/* The library has a function of the name of one of ours. */
#define seccomp_load library_seccomp_load
#include <seccomp.h>
#undef seccomp_load

#include "cmd/ocibundle/seccomp.c"

#include "cmd/ocibundle/cap.c"
#include "cmd/ocibundle/seccomp_default.c"
#include "tap.h"

#include <ctype.h>

static bool in_list(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (; *list; list += strcspn(list, " "), list += *list == ' ')
		if (strncmp(list, name, n) == 0 && (list[n] == ' ' || !list[n]))
			return true;
	return false;
}

enum verdict { DENIED, ALLOWED, CONDITIONAL, ENOSYS_THEN };

/* What the profile, as written to config.json, says about a call. */
static enum verdict verdict(const json_t *profile, const char *name)
{
	size_t i, k;
	json_t *rule, *n;
	enum verdict v = DENIED;
	json_array_foreach (json_object_get(profile, "syscalls"), i, rule)
		json_array_foreach (json_object_get(rule, "names"), k, n) {
			if (strcmp(json_string_value(n), name) != 0)
				continue;
			json_int_t number = jsonx_opt_int(rule, "errnoRet", 0);
			if (number)
				v = number == ENOSYS ? ENOSYS_THEN : DENIED;
			else if (v != ALLOWED)
				v = json_object_get(rule, "args") ? CONDITIONAL : ALLOWED;
		}
	return v;
}

static bool in_table(const char *name)
{
	for (size_t i = 0; i < seccomp_default_count; i++)
		if (in_list(seccomp_default_rules[i].names, name))
			return true;
	return false;
}

static void test_every_call(const char *header)
{
	char line[256], name[64];
	FILE *f = fopen(header, "re");
	int undecided = 0, both = 0, count = 0;
	while (f && fgets(line, sizeof line, f)) {
		const char *at = strstr(line, "#define __NR_");
		size_t n = at ? strcspn(at + 13, " \t\n") : 0;
		if (!at || n == 0 || n >= sizeof name)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)n, at + 13);
		bool allowed = in_table(name), out = in_list(seccomp_default_refused, name);
		count++;
		if (!allowed && !out) {
			printf("# undecided: %s\n", name);
			undecided++;
		}
		if (allowed && out)
			both++;
	}
	if (f)
		fclose(f);
	if (count == 0) {
		ok(true, "%s # SKIP not on this machine", header);
		return;
	}
	ok(undecided == 0 && both == 0, "%s: each of %d calls is decided", header, count);
}

/* The same for the other architectures of the table, by what libseccomp knows of them. */
static void test_arch(const struct seccomp_arch *a)
{
	for (const char *const *word = a->words; *word; word++) {
		char name[32];
		int undecided = 0, count = 0;
		size_t n = 0;
		for (const char *s = *word + strlen("SCMP_ARCH_"); *s && n + 1 < sizeof name; s++)
			name[n++] = (char)tolower((unsigned char)*s);
		name[n] = '\0';
		uint32_t token = seccomp_arch_resolve_name(name);
		for (int nr = 0; token && nr < 1024; nr++) {
			char *call = seccomp_syscall_resolve_num_arch(token, nr);
			count += call != NULL;
			if (call && !in_table(call) && !in_list(seccomp_default_refused, call)) {
				printf("# undecided: %s\n", call);
				undecided++;
			}
			free(call);
		}
		if (token)
			ok(undecided == 0 && count > 250, "%s: each of %d calls is decided", *word,
			   count);
		else
			ok(true, "%s # SKIP this libseccomp does not know it", *word);
	}
}

static const struct {
	const char *name;
	uint64_t caps;
	enum verdict want;
} verdicts[] = {
	{"read", 0, ALLOWED},
	{"openat2", 0, ALLOWED},
	{"fchmodat2", 0, ALLOWED},
	{"clone", 0, CONDITIONAL},
	{"clone", CAP(SYS_ADMIN), ALLOWED},
	{"clone3", 0, ENOSYS_THEN},
	{"clone3", CAP(SYS_ADMIN), ALLOWED},
	{"unshare", 0, DENIED},
	{"unshare", CAP(SYS_ADMIN), ALLOWED},
	{"mount", CAP(NET_ADMIN), DENIED},
	{"mount", CAP(SYS_ADMIN), ALLOWED},
	{"sethostname", 0, DENIED},
	{"keyctl", ~0ULL, DENIED},
	{"add_key", ~0ULL, DENIED},
	{"kexec_load", ~0ULL, DENIED},
	{"swapon", ~0ULL, DENIED},
	{"io_uring_setup", ~0ULL, DENIED},
	{"userfaultfd", ~0ULL, DENIED},
	{"reboot", CAP(SYS_ADMIN), DENIED},
	{"reboot", CAP(SYS_BOOT), ALLOWED},
	{"bpf", 0, DENIED},
	{"bpf", CAP(BPF), ALLOWED},
	{"chroot", 0, DENIED},
	{"chroot", CAP(SYS_CHROOT), ALLOWED},
	{"settimeofday", 0, DENIED},
	{"settimeofday", CAP(SYS_TIME), ALLOWED},
	{"personality", 0, CONDITIONAL},
	{"socket", ~0ULL, CONDITIONAL},
	{"open_by_handle_at", 0, DENIED},
	{"open_by_handle_at", CAP(DAC_READ_SEARCH), ALLOWED},
};

/* Does some rule on socket's first argument let this family pass? As the kernel sees it. */
static bool family_passes(uint64_t argument)
{
	for (size_t i = 0; i < seccomp_default_count; i++) {
		const struct seccomp_rule *r = &seccomp_default_rules[i];
		if (strcmp(r->names, "socket") == 0 && (argument & r->mask) == r->value)
			return true;
	}
	return false;
}

static void test_default(void)
{
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		AUTO_JSON json_t *p = seccomp_default(verdicts[i].caps);
		ok(verdict(p, verdicts[i].name) == verdicts[i].want, "%s with capabilities %llx",
		   verdicts[i].name, (unsigned long long)verdicts[i].caps);
	}
	for (uint64_t f = 0; f < 48; f++)
		if (family_passes(f) == (f == 38 || f == 40))
			ok(false, "socket family %d", (int)f);
	ok(!family_passes(38) && !family_passes(40) && family_passes(1) && family_passes(2) &&
		   family_passes(16) && family_passes(47),
	   "socket families: all but AF_ALG and AF_VSOCK");
	ok(!family_passes(40 | 1ULL << 32), "a high bit that the kernel ignores is no way past");
	AUTO_JSON json_t *p = seccomp_default(0);
	ok(strcmp(jsonx_opt_string(p, "defaultAction", ""), "SCMP_ACT_ERRNO") == 0 &&
		   jsonx_opt_int(p, "defaultErrnoRet", 0) == ENOSYS,
	   "what is not named is not there");
}

static char *convert(const char *text, uint64_t caps)
{
	struct err e = {0};
	AUTO_JSON json_t *j = json_loads(text, 0, NULL);
	AUTO_JSON json_t *out = seccomp_convert(j, caps, "p", &e);
	return out ? json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS) : strdup(e.msg);
}

static const struct {
	const char *what, *in, *want;
	uint64_t caps;
} converts[] = {
	{"plain OCI", "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
	 "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", 0},
	{"the old \"name\"",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"name\":\"x\",\"action\":\"B\",\"comment\":"
	 "\"c\"}]}",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"action\":\"B\",\"names\":[\"x\"]}]}", 0},
	{"includes.caps, not held",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"includes\":{"
	 "\"caps\":[\"CAP_SYS_ADMIN\"]}}]}",
	 "{\"defaultAction\":\"A\"}", 0},
	{"includes.caps, held",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"includes\":{"
	 "\"caps\":[\"CAP_SYS_ADMIN\"]}}]}",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"action\":\"B\",\"names\":[\"x\"]}]}",
	 CAP(SYS_ADMIN)},
	{"excludes.caps, held",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"excludes\":{"
	 "\"caps\":[\"CAP_SYS_ADMIN\"]}}]}",
	 "{\"defaultAction\":\"A\"}", CAP(SYS_ADMIN)},
	{"includes.arches of another machine",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"includes\":{"
	 "\"arches\":[\"s390x\"]}}]}",
	 "{\"defaultAction\":\"A\"}", 0},
	{"minKernel of the future",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"includes\":{"
	 "\"minKernel\":\"99.1\"}}]}",
	 "{\"defaultAction\":\"A\"}", 0},
	{"minKernel of the past",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"names\":[\"x\"],\"action\":\"B\",\"includes\":{"
	 "\"minKernel\":\"4.8\"}}]}",
	 "{\"defaultAction\":\"A\",\"syscalls\":[{\"action\":\"B\",\"names\":[\"x\"]}]}", 0},
	{"no default", "{\"syscalls\":[]}", "p: no defaultAction in it", 0},
	{"no object", "[]", "p: no defaultAction in it", 0},
	{"a rule without names", "{\"defaultAction\":\"A\",\"syscalls\":[{\"action\":\"B\"}]}",
	 "p: a rule without names", 0},
	{"a rule that is a string", "{\"defaultAction\":\"A\",\"syscalls\":[\"x\"]}",
	 "p: a rule without an action", 0},
	{"syscalls that is no list", "{\"defaultAction\":\"A\",\"syscalls\":{}}",
	 "p: syscalls: expected array, found object", 0},
};

static void test_caps(void)
{
	struct err e = {0};
	uint64_t set;
	AUTO_JSON json_t *list = json_pack("[s, s]", "CAP_CHOWN", "net_admin");
	AUTO_JSON json_t *bad = json_pack("[s]", "CAP_FLY");
	ok(cap_number("CAP_NET_ADMIN") == CAP_NET_ADMIN && cap_number("net_admin") == CAP_NET_ADMIN,
	   "capability names, with and without CAP_");
	ok(cap_number("CAP_CHECKPOINT_RESTORE") == CAP_CHECKPOINT_RESTORE, "the last capability");
	ok(cap_number("ALL") < 0 && cap_number("") < 0 && cap_number("CAP_") < 0, "no capability");
	ok(cap_from_json(list, "l", &set, &e) == 0 && set == (CAP(CHOWN) | CAP(NET_ADMIN)),
	   "a list of capabilities");
	ok(cap_from_json(bad, "l", &set, &e) < 0 && e.kind == ERR_BAD_INPUT, "an unknown one: %s",
	   e.msg);
	AUTO_JSON json_t *out = cap_to_json(CAP(CHOWN) | CAP(BPF));
	ok(json_array_size(out) == 2 &&
		   strcmp(json_string_value(json_array_get(out, 1)), "CAP_BPF") == 0,
	   "a set as names");
}

int main(void)
{
	test_caps();
#if defined(__x86_64__)
	test_every_call("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
	test_every_call("/usr/include/x86_64-linux-gnu/asm/unistd_32.h");
#endif
	for (size_t i = 0; i < seccomp_arch_count; i++)
		test_arch(&seccomp_arches[i]);
	test_default();
	for (size_t i = 0; i < ARRAY_LEN(converts); i++) {
		AUTO_FREE char *got = convert(converts[i].in, converts[i].caps);
		if (!ok(strcmp(got, converts[i].want) == 0, "%s", converts[i].what))
			printf("# got %s\n", got);
	}
	return tap_done();
}
