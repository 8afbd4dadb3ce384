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

static int check_members(json_t *v, const char *file, const char *key, struct err *e)
{
	size_t i;
	const char *name;
	json_t *item;
	json_array_foreach (v, i, item)
		if (!json_is_string(item))
			return err_set(e, ERR_BAD_INPUT, "%s: %s[%zu]: expected string, found %s",
				       file, key, i, jsonx_type_name(json_typeof(item)));
	json_object_foreach (v, name, item)
		if (!json_is_string(item))
			return err_set(e, ERR_BAD_INPUT, "%s: %s.%.80s: expected string, found %s",
				       file, key, name, jsonx_type_name(json_typeof(item)));
	return 0;
}

/* What a key may be; `members`: all of them strings. */
static const struct {
	const char *name;
	json_type type;
	bool members;
} keys[] = {
	{"path", JSON_STRING, false},
	{"type", JSON_STRING, false},
	{"root", JSON_STRING, false},
	{"args", JSON_ARRAY, true},
	{"create_timeout", JSON_INTEGER, false},
	{"default_annotations", JSON_OBJECT, true},
	{"allowed_annotations", JSON_ARRAY, true},
	{"base_spec_patch", JSON_OBJECT, false},
	{"seccomp_profile", JSON_STRING, false},
	{"hooks", JSON_OBJECT, false},
	{"sandbox_container", JSON_TRUE, false},
	{"recursive_read_only", JSON_TRUE, false},
	{"log_rate_limit", JSON_INTEGER, false},
	{"log_rate_policy", JSON_STRING, false},
};

static int check_key(const char *file, const char *key, json_t *v, struct err *e)
{
	size_t i = 0;
	while (i < ARRAY_LEN(keys) && strcmp(keys[i].name, key) != 0)
		i++;
	if (i == ARRAY_LEN(keys))
		return err_set(e, ERR_BAD_INPUT, "%s: %.80s: unknown key", file, key);
	json_type type = json_is_false(v) ? JSON_TRUE : json_typeof(v);
	if (type != keys[i].type)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: expected %s, found %s", file, key,
			       jsonx_type_name(keys[i].type), jsonx_type_name(json_typeof(v)));
	return keys[i].members ? check_members(v, file, key, e) : 0;
}

static int check_absolute(const char *file, const char *key, const char *path, struct err *e)
{
	if (!path || path[0] == '/')
		return 0;
	return err_set(e, ERR_BAD_INPUT, "%s: %s: '%.200s' is not absolute", file, key, path);
}

static int check_file(const char *file, json_t *j, struct err *e)
{
	const char *key;
	json_t *v;
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "%s: expected object, found %s", file,
			       jsonx_type_name(json_typeof(j)));
	json_object_foreach (j, key, v)
		if (check_key(file, key, v, e) < 0)
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
	return 0;
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
	h->patch = opt_ref(j, "base_spec_patch");
	h->sandbox_container = jsonx_opt_bool(j, "sandbox_container", false);
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

static const char *default_name(const struct config *c)
{
	if (*c->default_runtime)
		return c->default_runtime;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct err ignored;
		AUTO_HANDLER struct handler h = {0};
		if (find_named(&h, c, known[i], &ignored) == 0)
			return known[i];
	}
	return known[0];
}

int handler_find(struct handler *h, const struct config *c, const char *name, struct err *e)
{
	*h = (struct handler){0};
	if (!*name)
		name = default_name(c);
	if (!name_is_valid(name))
		return err_set(e, ERR_BAD_INPUT, "unknown runtime handler '%.80s'", name);
	if (find_named(h, c, name, e) < 0) {
		handler_release(h);
		return -1;
	}
	h->name = xstrdup(name);
	if (!h->root)
		h->root = xasprintf("%s/runtimes/%s", c->runroot, name);
	if (!h->rro_said) {
		AUTO_JSON json_t *can = handler_can(c, h);
		int said = handler_can_do(can, "recursive_read_only");
		h->rro = said < 0 ? h->rro : said;
	}
	h->rro = h->rro && kernel_has_rro();
	return 0;
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
	json_decref(h->patch);
	json_decref(h->hooks);
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
	json_array_append_new(list, json_string(default_name(c)));
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
