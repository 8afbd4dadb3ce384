/* SPDX-License-Identifier: Apache-2.0 */
#include "handler.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "ocihook.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

enum { HANDLER_FILE_MAX = 1 << 16, NAME_LEN_MAX = 63 };

static const char *const known[] = {"crun", "runc"};

/* RuntimeClass handlers are DNS labels; anything else could name a path. */
static bool name_is_valid(const char *s)
{
	size_t n = strlen(s);
	return n > 0 && n <= NAME_LEN_MAX && s[0] != '-' && s[0] != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i], name) == 0)
			return true;
	return false;
}

/* mount_setattr, Linux 5.12, is what a runtime needs for it. */
static bool kernel_has_rro(void)
{
	static int known_answer = -1;
	if (known_answer < 0)
		known_answer =
			syscall(SYS_mount_setattr, -1, NULL, 0, NULL, 0) < 0 && errno != ENOSYS;
	return known_answer;
}

static char *installed(const char *name)
{
	static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					   "/usr/bin"};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		char *path = xasprintf("%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static json_t *opt_ref(json_t *j, const char *key)
{
	json_t *v = json_object_get(j, key);
	return v ? json_incref(v) : NULL;
}

static const struct jsonx_key keys[] = {
	{"path", JSON_STRING, JSONX_REQUIRED},
	{"type", JSON_STRING, 0},
	{"root", JSON_STRING, 0},
	{"args", JSON_ARRAY, JSONX_STRINGS},
	{"create_timeout", JSON_INTEGER, 0},
	{"default_annotations", JSON_OBJECT, JSONX_STRINGS},
	{"allowed_annotations", JSON_ARRAY, JSONX_STRINGS},
	{"networks", JSON_ARRAY, JSONX_STRINGS},
	{"base_spec_patch", JSON_OBJECT, 0},
	{"seccomp_profile", JSON_STRING, 0},
	{"hooks", JSON_OBJECT, 0},
	{"sandbox_container", JSON_TRUE, 0},
	{"sandbox_annotations", JSON_OBJECT, JSONX_STRINGS},
	{"container_annotations", JSON_OBJECT, JSONX_STRINGS},
	{"processes", JSON_STRING, 0},
	{"can", JSON_OBJECT, 0},
	{"recursive_read_only", JSON_TRUE, 0},
	{"log_rate_limit", JSON_INTEGER, 0},
	{"log_rate_policy", JSON_STRING, 0},
	{0},
};

static int check_absolute(const char *file, const char *key, const char *path, struct err *e)
{
	if (!path || path[0] == '/')
		return 0;
	return err_set(e, ERR_BAD_INPUT, "%s: %s: '%.200s' is not absolute", file, key, path);
}

static int check_sandbox(const char *file, json_t *j, struct err *e)
{
	const char *processes = jsonx_opt_string(j, "processes", "host"), *word;
	bool sandbox = jsonx_opt_bool(j, "sandbox_container", false);
	json_t *v;
	if (strcmp(processes, "host") != 0 && strcmp(processes, "sandbox") != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: processes: '%.80s' is not host or sandbox",
			       file, processes);
	if (strcmp(processes, "sandbox") == 0 && !sandbox)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: processes: sandbox needs sandbox_container as well", file);
	json_object_foreach (json_object_get(j, "can"), word, v) {
		size_t i = 0;
		while (handler_words[i] && strcmp(handler_words[i], word) != 0)
			i++;
		bool hooks = strcmp(word, "hooks") == 0;
		if (!hooks && !handler_words[i])
			return err_set(e, ERR_BAD_INPUT, "%s: can.%.80s: unknown key", file, word);
		if (hooks ? !json_is_array(v) : !json_is_boolean(v))
			return err_set(e, ERR_BAD_INPUT, "%s: can.%s: expected %s, found %s", file,
				       word, hooks ? "array" : "boolean",
				       jsonx_type_name(json_typeof(v)));
	}
	return 0;
}

static int check_file(const char *file, json_t *j, struct err *e)
{
	if (jsonx_check_keys(j, file, keys, e) < 0)
		return -1;
	static const char *const paths[] = {"path", "root", "seccomp_profile"};
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (check_absolute(file, paths[i], jsonx_opt_string(j, paths[i], NULL), e) < 0)
			return -1;
	const char *type = jsonx_opt_string(j, "type", "oci");
	if (strcmp(type, "oci") != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: type: '%.80s' is not supported", file, type);
	json_int_t rate = jsonx_opt_int(j, "log_rate_limit", 0);
	if (rate && (rate < 1024 || rate > 1LL << 40))
		return err_set(e, ERR_BAD_INPUT, "%s: log_rate_limit: not within 1024 to 2^40",
			       file);
	json_int_t timeout = jsonx_opt_int(j, "create_timeout", 1);
	if (timeout < 1 || timeout > 86400)
		return err_set(e, ERR_BAD_INPUT, "%s: create_timeout: not within 1 to 86400", file);
	const char *policy = jsonx_opt_string(j, "log_rate_policy", "block");
	if (strcmp(policy, "block") != 0 && strcmp(policy, "drop") != 0 &&
	    strcmp(policy, "sample") != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: log_rate_policy: '%.80s' is not block, drop or sample", file,
			       policy);
	return check_sandbox(file, j, e);
}

/* The convention of the CRI's first implementations, which gVisor and Kata Containers read. */
static json_t *annotations_of(json_t *j, const char *key, const char *type)
{
	json_t *v = json_object_get(j, key);
	return v ? json_incref(v)
		 : json_pack("{s:s, s:s}", "io.kubernetes.cri.container-type", type,
			     "io.kubernetes.cri.sandbox-id", "{pod}");
}

int handler_parse(struct handler *h, json_t *j, const char *file, struct err *e)
{
	AUTO_FREE char *what = xasprintf("%s: hooks", file);
	if (check_file(file, j, e) < 0)
		return -1;
	const char *path = jsonx_string(j, file, "path", e);
	if (!path)
		return -1;
	json_t *hooks = json_object_get(j, "hooks");
	if (hooks && !(h->hooks = ocihook_read_stages(hooks, what, e)))
		return -1;
	const char *root = jsonx_opt_string(j, "root", NULL),
		   *seccomp = jsonx_opt_string(j, "seccomp_profile", NULL);
	json_t *args = json_object_get(j, "args");
	h->log_rate_limit = (long)jsonx_opt_int(j, "log_rate_limit", 0);
	h->log_rate_policy = xstrdup(jsonx_opt_string(j, "log_rate_policy", "block"));
	h->path = xstrdup(path);
	h->file = xstrdup(file);
	h->root = root ? xstrdup(root) : NULL;
	h->seccomp_profile = seccomp ? xstrdup(seccomp) : NULL;
	h->args = args ? json_incref(args) : json_array();
	h->create_timeout = (long)jsonx_opt_int(j, "create_timeout", 0);
	h->default_annotations = opt_ref(j, "default_annotations");
	h->allowed_annotations = opt_ref(j, "allowed_annotations");
	h->networks = opt_ref(j, "networks");
	h->patch = opt_ref(j, "base_spec_patch");
	h->sandbox_container = jsonx_opt_bool(j, "sandbox_container", false);
	h->sandboxed = strcmp(jsonx_opt_string(j, "processes", "host"), "sandbox") == 0;
	h->can = opt_ref(j, "can");
	if (h->sandbox_container) {
		h->sandbox_annotations = annotations_of(j, "sandbox_annotations", "sandbox");
		h->container_annotations = annotations_of(j, "container_annotations", "container");
	}
	h->rro = jsonx_opt_bool(j, "recursive_read_only", is_known(basename(h->path)));
	h->rro_said = json_object_get(j, "recursive_read_only");
	return 0;
}

static int read_file(struct handler *h, const char *file, struct err *e)
{
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, file, HANDLER_FILE_MAX, e);
	return j ? handler_parse(h, j, file, e) : -1;
}

static int find_named(struct handler *h, const struct config *c, const char *name, struct err *e)
{
	AUTO_FREE char *file = xasprintf("%s/%s.json", c->handlers_dir, name);
	if (access(file, F_OK) == 0)
		return read_file(h, file, e);
	if (is_known(name)) {
		h->path = installed(name);
		h->args = json_array();
		h->rro = true;
		if (h->path)
			return 0;
	}
	return err_set(e, ERR_BAD_INPUT, "unknown runtime handler '%s' (no %s)", name, file);
}

/* h is it when it was found on the way: its path is set. */
static const char *default_name(const struct config *c, struct handler *h)
{
	if (*c->default_runtime)
		return c->default_runtime;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct err ignored;
		struct handler one = {0};
		if (find_named(&one, c, known[i], &ignored) == 0) {
			*h = one;
			return known[i];
		}
		handler_release(&one);
	}
	return known[0];
}

int handler_find(struct handler *h, const struct config *c, const char *name, struct err *e)
{
	*h = (struct handler){0};
	if (!*name)
		name = default_name(c, h);
	if (!name_is_valid(name))
		return err_set(e, ERR_BAD_INPUT, "unknown runtime handler '%.80s'", name);
	if (!h->path && find_named(h, c, name, e) < 0) {
		handler_release(h);
		return -1;
	}
	h->name = xstrdup(name);
	if (!h->root)
		h->root = xasprintf("%s/runtimes/%s", c->runroot, name);
	return 0;
}

bool handler_rro(const struct config *c, const struct handler *h)
{
	AUTO_JSON json_t *can = h->rro_said ? NULL : handler_can(c, h);
	int said = handler_can_do(can, "recursive_read_only");
	return (said < 0 ? h->rro : said) && kernel_has_rro();
}

void handler_release(struct handler *h)
{
	free(h->name);
	free(h->path);
	free(h->root);
	free(h->file);
	free(h->seccomp_profile);
	free(h->log_rate_policy);
	json_decref(h->args);
	json_decref(h->default_annotations);
	json_decref(h->allowed_annotations);
	json_decref(h->networks);
	json_decref(h->patch);
	json_decref(h->hooks);
	json_decref(h->sandbox_annotations);
	json_decref(h->container_annotations);
	json_decref(h->can);
	*h = (struct handler){0};
}

static bool listed(json_t *list, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v)
		if (strcmp(json_string_value(v), name) == 0)
			return true;
	return false;
}

json_t *handler_list(const struct config *c)
{
	json_t *list = json_array();
	struct dirent **files = NULL;
	struct err ignored;
	AUTO_HANDLER struct handler first = {0};
	json_array_append_new(list, json_string(default_name(c, &first)));
	int n = scandir(c->handlers_dir, &files, fs_is_json_file, fs_by_bytes);
	for (int i = 0; i < n; i++) {
		files[i]->d_name[strlen(files[i]->d_name) - 5] = '\0';
		if (!listed(list, files[i]->d_name))
			json_array_append_new(list, json_string(files[i]->d_name));
		free(files[i]);
	}
	free(files);
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		AUTO_HANDLER struct handler h = {0};
		if (!listed(list, known[i]) && find_named(&h, c, known[i], &ignored) == 0)
			json_array_append_new(list, json_string(known[i]));
	}
	return list;
}
