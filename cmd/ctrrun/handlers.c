/* SPDX-License-Identifier: Apache-2.0 */
/* What each handler's runtime can do: it is asked (`features`), or known by its version. The answer
 * is kept where ocibundle and crispd find it (handler.h). */
#include "handlers.h"
#include "ctr.h"

#include "auto.h"
#include "jsonx.h"
#include "ocihook.h"
#include "rtwords.h"
#include "tool_format.h"
#include "userns.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20, WORDS_MAX = 200, PROBE_MS = 10000 };

/* Runtimes that cannot be asked: an absent word is "no". */
static const struct {
	const char *name, *can, *hooks;
} by_version[] = {
	/* crun tells of itself from 1.8.4 on; what it was built with, its version says. */
	{"crun", "recursive_read_only idmapped_mounts user_namespaces cgroup_v1 cgroup_v2",
	 "prestart createRuntime createContainer startContainer poststart poststop"},
	{"runc",
	 "recursive_read_only user_namespaces seccomp apparmor selinux cgroup_v1 cgroup_v2 "
	 "systemd_cgroup checkpoint",
	 "prestart createRuntime createContainer startContainer poststart poststop"},
};
/* For which no runtime has a word, as each of those that run on the host's kernel has them; another
 * one's handler says what it lacks. */
static const char *const usual[] = {"terminal",
				    "update",
				    "pause",
				    "devices",
				    "sysctls",
				    "container_limits",
				    "privileged",
				    "host_ipc",
				    "host_processes",
				    "masked_paths",
				    "target_processes",
				    "mount_propagation",
				    "ambient_capabilities"};
/* crun's words for it in --version. */
static const char *const built_with[][2] = {{"+SECCOMP", "seccomp"},
					    {"+APPARMOR", "apparmor"},
					    {"+SELINUX", "selinux"},
					    {"+SYSTEMD", "systemd_cgroup"},
					    {"+CRIU", "checkpoint"}};
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ' || p[-1] == '\n') &&
		    (!p[n] || p[n] == ' ' || p[n] == '\n'))
			return true;
	return false;
}

static void set(json_t *can, const char *what, bool yes)
{
	json_object_set_new(can, what, json_boolean(yes));
}

static json_t *words_of(const char *list)
{
	json_t *out = json_array();
	for (size_t i = 0; ocihook_stages[i]; i++)
		if (has_word(list, ocihook_stages[i]))
			json_array_append_new(out, json_string(ocihook_stages[i]));
	return out;
}

json_t *handler_can_by_version(const char *name, const char *version)
{
	for (size_t i = 0; i < ARRAY_LEN(by_version); i++) {
		if (strcmp(by_version[i].name, name) != 0)
			continue;
		json_t *can = json_object();
		for (size_t k = 0; handler_words[k]; k++)
			set(can, handler_words[k], has_word(by_version[i].can, handler_words[k]));
		for (size_t k = 0; k < ARRAY_LEN(usual); k++)
			set(can, usual[k], true);
		for (size_t k = 0; k < ARRAY_LEN(built_with); k++)
			if (has_word(version, built_with[k][0]))
				set(can, built_with[k][1], true);
		json_object_set_new(can, "hooks", words_of(by_version[i].hooks));
		return can;
	}
	return NULL;
}

static bool is_true(json_t *j, const char *a, const char *b)
{
	json_t *v = json_object_get(json_object_get(j, a), b);
	return json_is_true(v);
}

/* The specification's Features structure. What it has no word for is as every OCI runtime has it. */
json_t *handler_can_by_features(json_t *f)
{
	json_t *lin = json_object_get(f, "linux"), *stage;
	json_t *note = json_object_get(f, "annotations");
	json_t *can = json_object(), *hooks = json_array();
	size_t i;
	set(can, "recursive_read_only",
	    jsonx_has_string(json_object_get(f, "mountOptions"), "rro"));
	set(can, "idmapped_mounts",
	    is_true(json_object_get(lin, "mountExtensions"), "idmap", "enabled"));
	set(can, "user_namespaces", jsonx_has_string(json_object_get(lin, "namespaces"), "user"));
	set(can, "seccomp", is_true(lin, "seccomp", "enabled"));
	set(can, "apparmor", is_true(lin, "apparmor", "enabled"));
	set(can, "selinux", is_true(lin, "selinux", "enabled"));
	set(can, "cgroup_v1", is_true(lin, "cgroup", "v1"));
	set(can, "cgroup_v2", is_true(lin, "cgroup", "v2"));
	set(can, "systemd_cgroup", is_true(lin, "cgroup", "systemd"));
	for (i = 0; i < ARRAY_LEN(usual); i++)
		set(can, usual[i], true);
	set(can, "checkpoint",
	    strcmp(jsonx_opt_string(note, "org.opencontainers.runc.checkpoint.enabled", ""),
		   "true") == 0 ||
		    strcmp(jsonx_opt_string(note, "run.oci.crun.checkpoint.enabled", ""), "true") ==
			    0);
	json_array_foreach (json_object_get(f, "hooks"), i, stage)
		if (json_is_string(stage) && ocihook_is_stage(json_string_value(stage)))
			json_array_append(hooks, stage);
	json_object_set_new(can, "hooks", hooks);
	return can;
}

/* What the runtime prints for one word; 0 only when it says that all is well. */
static int ask(const struct handler *h, const char *word, struct buf *out, struct err *e)
{
	struct rt_args a = {.n = 0};
	struct proc_result r;
	size_t i;
	json_t *arg;
	rt_add(&a, h->path);
	json_array_foreach (h->args, i, arg)
		if (i < OPT_STRINGS_MAX)
			rt_add(&a, json_string_value(arg));
	rt_add(&a, word);
	struct proc_spec s = PROC_SPEC(a.v);
	AUTO_BUF struct buf words = BUF_INIT(ANSWER_MAX);
	s.envp = rt_env();
	if (proc_run(&s, NULL, 0, out, &words, PROBE_MS, &r, e) < 0)
		return -1;
	return r.exited && r.status == 0
		       ? 0
		       : err_set(e, ERR_FAILED, "%s %s: %s %d", h->path, word,
				 r.exited ? "exit status" : "killed by signal", r.status);
}

/* "crun version 1.8.1 ..." -> "crun". */
static char *first_word(const char *text)
{
	return xstrndup(text, strcspn(text, " \t\n"));
}

static void probe_runtime(const struct handler *h, json_t *out)
{
	struct err e;
	AUTO_BUF struct buf version = BUF_INIT(ANSWER_MAX);
	AUTO_BUF struct buf features = BUF_INIT(ANSWER_MAX);
	AUTO_JSON json_t *can = NULL;
	const char *by = "nothing";
	if (ask(h, "--version", &version, &e) < 0) {
		json_object_set_new(out, "error", json_string(e.msg));
		return;
	}
	const char *text = version.data ? version.data : "";
	AUTO_FREE char *name = first_word(text);
	AUTO_FREE char *line = xstrndup(text, strcspn(text, "\n"));
	if (strlen(line) > WORDS_MAX)
		line[WORDS_MAX] = '\0';
	json_object_set_new(out, "name", json_string(name));
	json_object_set_new(out, "words", json_string(line));
	if (ask(h, "features", &features, &e) == 0) {
		AUTO_JSON json_t *f = jsonx_parse(features.data ? features.data : "", features.len,
						  "features", &e);
		can = json_is_object(f) ? handler_can_by_features(f) : NULL;
		by = "features";
	}
	if (!can) {
		can = handler_can_by_version(name, text);
		by = can ? "version" : "nothing";
	}
	if (can)
		json_object_set(out, "can", can);
	json_object_set_new(out, "known_by", json_string(!can && h->can ? "file" : by));
}

/* Of the host, not of the runtime: a pod with a user namespace needs both. */
static void probe_layers(const struct config *c, json_t *out)
{
	struct err e;
	AUTO_FREE char *layers = xasprintf("%s/layers", c->root);
	json_t *can = json_object_get(out, "can");
	if (can)
		set(can, "idmapped_layers", idmap_probe(layers, &e) == 0);
}

/* The one that its arguments name (runc's --criu), else that in the PATH which the runtime gets. */
static char *find_criu(const struct handler *h)
{
	size_t i;
	json_t *arg;
	json_array_foreach (h->args, i, arg)
		if (strcmp(json_string_value(arg), "--criu") == 0 &&
		    i + 1 < json_array_size(h->args))
			return xstrdup(json_string_value(json_array_get(h->args, i + 1)));
	const char *const *env = rt_env();
	while (*env && strncmp(*env, "PATH=", 5) != 0)
		env++;
	for (const char *p = *env ? *env + 5 : ""; *p; p += strcspn(p, ":"), p += *p == ':') {
		char *file = xasprintf("%.*s/criu", (int)strcspn(p, ":"), p);
		if (*file == '/' && access(file, X_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

/* A runtime that can have a container captured does it by CRIU, which may be missing, or not work on
 * this kernel: "checkpoint" of the record says why not. */
static void probe_criu(const struct handler *h, json_t *out)
{
	json_t *can = json_object_get(out, "can");
	struct proc_result r;
	struct err e;
	char words[WORDS_MAX];
	AUTO_BUF struct buf said = BUF_INIT(ANSWER_MAX);
	AUTO_FREE char *criu = find_criu(h);
	const char *argv[] = {criu, "check", NULL};
	struct proc_spec s = PROC_SPEC(argv);
	s.envp = rt_env();
	if (!json_is_true(json_object_get(can, "checkpoint"))) {
		json_object_set_new(out, "checkpoint",
				    json_string("its runtime was built without CRIU"));
		return;
	}
	if (!criu)
		snprintf(words, sizeof words, "there is no criu in PATH");
	else if (proc_run(&s, NULL, 0, NULL, &said, PROBE_MS, &r, &e) < 0)
		snprintf(words, sizeof words, "criu check: %.150s", e.msg);
	else if (r.exited && r.status == 0)
		return;
	else
		rtwords_pick(NULL, 0, said.data, said.len, words, sizeof words);
	set(can, "checkpoint", false);
	json_object_set_new(out, "checkpoint", json_string(*words ? words : "criu check fails"));
}

/* The record of one handler, kept when its file and its binary are in order. */
static json_t *probe(const struct config *c, const char *name)
{
	struct err e;
	AUTO_HANDLER struct handler h = {0};
	json_t *out = json_pack("{s:i, s:s}", "version", 1, "handler", name);
	json_t *runtime = handler_find(&h, c, name, &e) < 0 ? NULL : handler_identity(&h, &e);
	if (!runtime) {
		json_object_set_new(out, "error", json_string(e.msg));
		return out;
	}
	json_object_set_new(out, "runtime", runtime);
	json_object_set_new(out, "root", json_string(h.root));
	probe_runtime(&h, out);
	probe_layers(c, out);
	if (json_object_get(out, "can"))
		probe_criu(&h, out);
	if (handler_can_write(c, &h, out, &e) < 0)
		json_object_set_new(out, "error", json_string(e.msg));
	handler_can_say(&h, out);
	return out;
}

static void print_list(const json_t *can, bool want, const char *title)
{
	const char *what;
	json_t *v;
	printf("  %-7s", title);
	json_object_foreach (json_object_get(can, "can"), what, v)
		if (json_is_boolean(v) && json_is_true(v) == want)
			printf(" %s", what);
	putchar('\n');
}

static void print_one(json_t *j, bool is_default)
{
	size_t i;
	json_t *v;
	const char *error = jsonx_opt_string(j, "error", NULL);
	printf("%s%s  %s  %s\n", jsonx_opt_string(j, "handler", ""), is_default ? " (default)" : "",
	       jsonx_opt_string(json_object_get(j, "runtime"), "path", "-"),
	       jsonx_opt_string(j, "words", ""));
	if (error)
		printf("  error   %s\n", error);
	if (!json_object_get(j, "can")) {
		if (!error)
			printf("  unknown what it can do: it has no \"features\"\n");
		return;
	}
	print_list(j, true, "can");
	print_list(j, false, "cannot");
	if (json_object_get(j, "checkpoint"))
		printf("  checkpoint: no, %s\n", jsonx_opt_string(j, "checkpoint", ""));
	printf("  hooks  ");
	json_array_foreach (json_object_get(json_object_get(j, "can"), "hooks"), i, v)
		printf(" %s", json_string_value(v));
	putchar('\n');
}

static const char *handlers_format;
const struct opt handlers_opts[] = {TOOL_FORMAT_OPT(&handlers_format), {.name = NULL}};

int verb_handlers(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *names = handler_list(&c->cfg);
	AUTO_JSON json_t *out = json_array();
	size_t i;
	json_t *name;
	(void)argc;
	(void)argv;
	if (tool_format_check(handlers_format, e) < 0)
		return -1;
	json_array_foreach (names, i, name)
		json_array_append_new(out, probe(&c->cfg, json_string_value(name)));
	if (handlers_format) {
		json_array_foreach (out, i, name)
			tool_format_print(handlers_format, name);
		return 0;
	}
	if (c->json) {
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	for (i = 0; i < json_array_size(out); i++)
		print_one(json_array_get(out, i), i == 0);
	return 0;
}
