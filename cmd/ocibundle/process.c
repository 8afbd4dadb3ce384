/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include "auto.h"
#include "buf.h"
#include "cap.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static void append_strings(json_t *out, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
}

static void append_list(json_t *out, const json_t *list)
{
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item)
		if (json_is_string(item))
			json_array_append(out, item);
}

static void why_args(const struct bundle *b, json_t *out, size_t from, const char *source)
{
	for (size_t i = from; i < json_array_size(out); i++)
		why_at(b, source, "process.args[%zu]", i);
}

/* The request's command replaces the image's Entrypoint and, unless args are given, its Cmd too. */
static json_t *args_json(const struct bundle *b, struct err *e)
{
	json_t *image = json_object_get(b->img.config, "config");
	AUTO_JSON json_t *out = json_array();
	const Runtime__V1__ContainerConfig *c = b->ctr;
	append_strings(out, c->command, c->n_command);
	if (!c->n_command)
		append_list(out, json_object_get(image, "Entrypoint"));
	why_args(b, out, 0, c->n_command ? "request command" : "image Entrypoint");
	size_t from = json_array_size(out);
	append_strings(out, c->args, c->n_args);
	if (!c->n_command && !c->n_args)
		append_list(out, json_object_get(image, "Cmd"));
	why_args(b, out, from, c->n_args ? "request args" : "image Cmd");
	if (json_array_size(out) == 0 || !*json_string_value(json_array_get(out, 0)))
		return err_set_p(e, ERR_BAD_INPUT,
				 "no command: neither the request nor the image has one");
	return TAKE(out);
}

/* An object keeps the place of a key that is set again: the last value wins, the order stays. */
static void add_env(const struct bundle *b, json_t *env, const char *key, const char *value,
		    const char *source)
{
	json_object_set_new(env, key, json_string(value));
	why_at(b, source, "process.env[%s]", key);
}

static void add_image_env(const struct bundle *b, json_t *env, const json_t *list)
{
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item) {
		const char *s = json_string_value(item), *eq = s ? strchr(s, '=') : NULL;
		if (!eq || eq == s)
			continue;
		AUTO_FREE char *key = xstrndup(s, (size_t)(eq - s));
		add_env(b, env, key, eq + 1, "image Env");
	}
}

static json_t *env_json(const struct bundle *b, const char *home)
{
	AUTO_JSON json_t *env = json_object();
	AUTO_FREE char *host = pod_hostname(b);
	add_env(b, env, "PATH", default_path, "default");
	if (b->ctr->tty)
		add_env(b, env, "TERM", "xterm", "default (request tty)");
	add_image_env(b, env, json_object_get(json_object_get(b->img.config, "config"), "Env"));
	add_env(b, env, "HOSTNAME", host, "pod hostname");
	for (size_t i = 0; i < b->ctr->n_envs; i++) {
		const Runtime__V1__KeyValue *kv = b->ctr->envs[i];
		json_object_set_new(env, kv->key,
				    json_stringn(kv->value.len ? (const char *)kv->value.data : "",
						 kv->value.len));
		why_at(b, "request envs", "process.env[%s]", kv->key);
	}
	/* Runtimes add it when it is absent, each by its own rule; so it never is. */
	if (!json_object_get(env, "HOME"))
		add_env(b, env, "HOME", home, "image /etc/passwd");
	json_t *out = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (env, key, value)
		json_array_append_new(out, json_sprintf("%s=%s", key, json_string_value(value)));
	return out;
}

static bool names_all(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(list[i], "ALL") == 0)
			return true;
	return false;
}

/* The capabilities named, without "ALL"; the names are known (check.c). */
static uint64_t named(char **list, size_t n)
{
	uint64_t set = 0;
	for (size_t i = 0; i < n; i++) {
		int c = cap_number(list[i]);
		if (c >= 0)
			set |= 1ULL << c;
	}
	return set;
}

/* We can hand on what we have, no more. By name it is an error to ask for more; "ALL" and the
 * configured defaults mean what there is. */
static int refuse_missing(uint64_t asked, uint64_t have, struct err *e)
{
	for (int c = 0; cap_name(c); c++)
		if ((asked & ~have) >> c & 1)
			return err_set(e, ERR_UNSUPPORTED,
				       "capability %s cannot be given: this host's processes do "
				       "not have it",
				       cap_name(c));
	return 0;
}

static void why_capabilities(const struct bundle *b, uint64_t add, uint64_t ambient)
{
	static const char *const lists[] = {"bounding", "effective", "permitted"};
	const Runtime__V1__Capability *c = b->sec->capabilities;
	why_config(b, "process.capabilities", "default_capabilities");
	if (b->sec->privileged || (c && names_all(c->add_capabilities, c->n_add_capabilities)))
		why(b, "process.capabilities", "request linux.security_context.%s",
		    b->sec->privileged ? "privileged" : "capabilities.add_capabilities (ALL)");
	for (size_t i = 0; i < ARRAY_LEN(lists) && !b->sec->privileged; i++)
		for (int n = 0; cap_name(n); n++)
			if ((add | ambient) >> n & 1)
				why_at(b,
				       add >> n & 1 ? "request "
						      "linux.security_context.capabilities.add_"
						      "capabilities"
						    : "request "
						      "linux.security_context.capabilities.add_"
						      "ambient_capabilities",
				       "process.capabilities.%s[%s]", lists[i], cap_name(n));
	static const char from[] =
		"request linux.security_context.capabilities.add_ambient_capabilities";
	why(b, "process.capabilities.ambient", from);
	why(b, "process.capabilities.inheritable", from);
}

static json_t *capabilities_json(struct bundle *b, struct err *e)
{
	const Runtime__V1__Capability *c = b->sec->capabilities;
	uint64_t have = cap_bounding(), set, ambient = 0, add = 0;
	if (cap_from_json(b->cfg->default_capabilities, "default_capabilities", &set, e) < 0)
		return NULL;
	if (c) {
		add = named(c->add_capabilities, c->n_add_capabilities);
		ambient = named(c->add_ambient_capabilities, c->n_add_ambient_capabilities);
		if (refuse_missing(add | ambient, have, e) < 0)
			return NULL;
		if (names_all(c->add_capabilities, c->n_add_capabilities))
			set = have;
		if (names_all(c->drop_capabilities, c->n_drop_capabilities))
			set = 0;
		if (names_all(c->add_ambient_capabilities, c->n_add_ambient_capabilities))
			ambient = have;
		set |= add | ambient;
		set &= ~named(c->drop_capabilities, c->n_drop_capabilities);
	}
	b->caps = b->sec->privileged ? have : set & have;
	/* Ambient ones must be inheritable; others must not be: what a program inherits by its
	 * file's marks alone is more than was asked for (CVE-2022-24769). */
	ambient &= b->caps;
	why_capabilities(b, add, ambient);
	json_t *out = json_object();
	json_object_set_new(out, "bounding", cap_to_json(b->caps));
	json_object_set_new(out, "effective", cap_to_json(b->caps));
	json_object_set_new(out, "permitted", cap_to_json(b->caps));
	if (ambient) {
		json_object_set_new(out, "inheritable", cap_to_json(ambient));
		json_object_set_new(out, "ambient", cap_to_json(ambient));
	}
	return out;
}

static bool has_sys_resource(void)
{
	return cap_bounding() >> CAP_SYS_RESOURCE & 1;
}

static long own_oom_score(void)
{
	long n = 0;
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(64);
	if (fs_read_at(AT_FDCWD, "/proc/self/oom_score_adj", &b, &ignored) == 0 && b.len) {
		b.data[strcspn(b.data, "\n")] = '\0';
		if (tool_parse_long(b.data, &n) < 0)
			n = 0;
	}
	return n;
}

/* One that is not asked for is 0 all the same: crispd is protected, what it starts must not be. */
static int add_oom_score(const struct bundle *b, json_t *process, struct err *e)
{
	int64_t n = b->res ? b->res->oom_score_adj : 0;
	if (!b->res) {
		if (n > own_oom_score() || has_sys_resource()) {
			json_object_set_new(process, "oomScoreAdj", json_integer(n));
			why(b, "process.oomScoreAdj", "default");
		}
		return 0;
	}
	if (n < -1000 || n > 1000)
		return err_set(e, ERR_BAD_INPUT,
			       "resources.oom_score_adj: %lld is not within -1000 to 1000",
			       (long long)n);
	why(b, "process.oomScoreAdj", "request linux.resources.oom_score_adj");
	if (!has_sys_resource() && n < own_oom_score()) {
		why(b, "process.oomScoreAdj",
		    "request linux.resources.oom_score_adj (raised: no CAP_SYS_RESOURCE)");
		log_warn("oom_score_adj %lld raised to %ld: lowering it needs CAP_SYS_RESOURCE",
			 (long long)n, own_oom_score());
		n = own_oom_score();
	}
	json_object_set_new(process, "oomScoreAdj", json_integer(n));
	return 0;
}

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{"AS", RLIMIT_AS},
	{"CORE", RLIMIT_CORE},
	{"CPU", RLIMIT_CPU},
	{"DATA", RLIMIT_DATA},
	{"FSIZE", RLIMIT_FSIZE},
	{"LOCKS", RLIMIT_LOCKS},
	{"MEMLOCK", RLIMIT_MEMLOCK},
	{"MSGQUEUE", RLIMIT_MSGQUEUE},
	{"NICE", RLIMIT_NICE},
	{"NOFILE", RLIMIT_NOFILE},
	{"NPROC", RLIMIT_NPROC},
	{"RSS", RLIMIT_RSS},
	{"RTPRIO", RLIMIT_RTPRIO},
	{"RTTIME", RLIMIT_RTTIME},
	{"SIGPENDING", RLIMIT_SIGPENDING},
	{"STACK", RLIMIT_STACK},
};

/* A number of jansson's is signed: "unlimited" becomes its largest, which nothing reaches. */
static int parse_limit(const char *s, json_int_t *out)
{
	long n;
	if (strcmp(s, "unlimited") == 0 || strcmp(s, "-1") == 0) {
		*out = INT64_MAX;
		return 0;
	}
	if (tool_parse_long(s, &n) < 0 || n < 0)
		return -1;
	*out = n;
	return 0;
}

/* "nofile=1024:4096"; one number stands for both. */
static int add_rlimit(json_t *out, const char *text, struct err *e)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *eq = strchr(copy, '='), *colon = eq ? strchr(eq, ':') : NULL;
	json_int_t soft, hard;
	struct rlimit own;
	size_t i = 0;
	if (eq)
		*eq = '\0';
	if (colon)
		*colon = '\0';
	while (i < ARRAY_LEN(limits) && strcasecmp(limits[i].name, copy) != 0)
		i++;
	if (!eq || i == ARRAY_LEN(limits) || parse_limit(eq + 1, &soft) < 0 ||
	    parse_limit(colon ? colon + 1 : eq + 1, &hard) < 0 || soft > hard)
		return err_set(e, ERR_BAD_INPUT,
			       "default_ulimits: '%.80s' is not of the form name=soft:hard", text);
	if (!has_sys_resource() && getrlimit((__rlimit_resource_t)limits[i].resource, &own) == 0 &&
	    own.rlim_max < (rlim_t)hard) {
		log_warn("limit %s lowered to %llu: raising it needs CAP_SYS_RESOURCE",
			 limits[i].name, (unsigned long long)own.rlim_max);
		hard = (json_int_t)own.rlim_max;
		soft = soft > hard ? hard : soft;
	}
	json_array_append_new(out, json_pack("{s:s+, s:I, s:I}", "type", "RLIMIT_", limits[i].name,
					     "hard", hard, "soft", soft));
	return 0;
}

static int add_rlimits(const struct bundle *b, json_t *process, struct err *e)
{
	size_t i;
	const json_t *item;
	AUTO_JSON json_t *out = json_array();
	json_array_foreach (b->cfg->default_ulimits, i, item)
		if (add_rlimit(out, json_string_value(item), e) < 0)
			return -1;
	if (json_array_size(out))
		json_object_set(process, "rlimits", out);
	why_config(b, "process.rlimits", "default_ulimits");
	return 0;
}

/* The profile must be loaded: without this look the runtime would say no more than "invalid
 * argument". */
static int check_apparmor_loaded(const char *name, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(16 << 20);
	size_t len = strlen(name);
	if (fs_read_at(AT_FDCWD, "/sys/kernel/security/apparmor/profiles", &b, e) < 0)
		return err_wrap(e, "apparmor");
	for (char *rest = b.data, *line; (line = strsep(&rest, "\n"));)
		if (strncmp(line, name, len) == 0 && strncmp(line + len, " (", 2) == 0)
			return 0;
	return err_set(e, ERR_BAD_INPUT, "apparmor: profile '%.80s' is not loaded", name);
}

static int add_apparmor(const struct bundle *b, json_t *process, struct err *e)
{
	enum profile_kind kind = PROFILE_NONE;
	const char *name = "";
	if (apparmor_wanted(b, &kind, &name, e) < 0)
		return -1;
	if (kind != PROFILE_LOCALHOST || b->sec->privileged)
		return 0;
	if (check_apparmor_loaded(name, e) < 0)
		return -1;
	json_object_set_new(process, "apparmorProfile", json_string(name));
	why(b, "process.apparmorProfile", "request linux.security_context.apparmor");
	return 0;
}

static char *cwd_of(const struct bundle *b)
{
	const char *image =
		jsonx_opt_string(json_object_get(b->img.config, "config"), "WorkingDir", "");
	why(b, "process.cwd", "%s",
	    *b->ctr->working_dir ? "request working_dir"
	    : *image             ? "image WorkingDir"
				 : "default");
	if (*b->ctr->working_dir)
		return xstrdup(b->ctr->working_dir);
	return *image == '/' ? xstrdup(image) : xasprintf("/%s", image);
}

json_t *process_json(struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *args = args_json(b, e);
	AUTO_JSON json_t *caps = args ? capabilities_json(b, e) : NULL;
	AUTO_JSON json_t *user = NULL;
	AUTO_FREE char *home = NULL;
	AUTO_FREE char *cwd = cwd_of(b);
	if (!caps || user_json(b, &home, &user, e) < 0)
		return NULL;
	AUTO_JSON json_t *env = env_json(b, home);
	why(b, "process.terminal", "request tty");
	why(b, "process.noNewPrivileges", "request linux.security_context.no_new_privs");
	AUTO_JSON json_t *p =
		json_pack("{s:b, s:O, s:O, s:O, s:s, s:O, s:b}", "terminal", (int)b->ctr->tty,
			  "user", user, "args", args, "env", env, "cwd", cwd, "capabilities", caps,
			  "noNewPrivileges", (int)b->sec->no_new_privs);
	if (add_rlimits(b, p, e) < 0 || add_oom_score(b, p, e) < 0 || add_apparmor(b, p, e) < 0)
		return NULL;
	return TAKE(p);
}
