/* SPDX-License-Identifier: Apache-2.0 */
#include "handler.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
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

static int read_file(struct handler *h, const char *file, struct err *e)
{
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, file, HANDLER_FILE_MAX, e);
	if (!j)
		return -1;
	const char *path = jsonx_string(j, file, "path", e);
	if (!path)
		return -1;
	if (path[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "%s: path: '%s' is not absolute", file, path);
	const char *type = jsonx_opt_string(j, "type", "oci");
	if (strcmp(type, "oci") != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: type: '%s' is not supported", file, type);
	const char *root = jsonx_opt_string(j, "root", NULL);
	json_t *args = json_object_get(j, "args");
	json_int_t rate = jsonx_opt_int(j, "log_rate_limit", 0);
	const char *policy = jsonx_opt_string(j, "log_rate_policy", "block");
	if (rate && (rate < 1024 || rate > 1LL << 40))
		return err_set(e, ERR_BAD_INPUT, "%s: log_rate_limit: not within 1024 to 2^40",
			       file);
	if (strcmp(policy, "block") != 0 && strcmp(policy, "drop") != 0 &&
	    strcmp(policy, "sample") != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: log_rate_policy: '%s' is not block, drop or sample", file,
			       policy);
	h->log_rate_limit = (long)rate;
	h->log_rate_policy = xstrdup(policy);
	h->path = xstrdup(path);
	h->root = root ? xstrdup(root) : NULL;
	h->args = json_is_array(args) ? json_incref(args) : json_array();
	h->rro = jsonx_opt_bool(j, "recursive_read_only", is_known(basename(h->path)));
	return 0;
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
	h->rro = h->rro && kernel_has_rro();
	if (!h->root)
		h->root = xasprintf("%s/runtimes/%s", c->runroot, name);
	return 0;
}

void handler_release(struct handler *h)
{
	free(h->name);
	free(h->path);
	free(h->root);
	free(h->log_rate_policy);
	json_decref(h->args);
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
