/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of hooks_dir, by the rules of oci-hooks(5) 1.0.0 that podman and CRI-O follow: a file
 * of a later directory takes the place of one with the same name, files count in the order of their
 * names, and all conditions of one must hold. */
#include "edit.h"

#include "auto.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "ocihook.h"
#include "xalloc.h"

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOOK_FILE_MAX = 1 << 20, FILES_MAX = 1024, COST_MAX = 1 << 14 };

void hook_add(json_t *spec, const char *stage, json_t *hook)
{
	json_t *hooks = json_object_get(spec, "hooks");
	if (!hooks) {
		hooks = json_object();
		json_object_set_new(spec, "hooks", hooks);
	}
	json_t *list = json_object_get(hooks, stage);
	if (!list) {
		list = json_array();
		json_object_set_new(hooks, stage, list);
	}
	json_array_append(list, hook);
}

/* The C library's regcomp writes repetitions out: "+" doubles what it follows, {n} makes n of it, one
 * within another, or after another, to any size; and what it does next takes the square of that and
 * more. Back references take any time to match. */
static bool is_costly(const char *pattern)
{
	double cost = (double)strlen(pattern);
	bool repeats = false; /* what comes before is a group or a repetition */
	for (const char *p = pattern; *p && cost <= COST_MAX; p++) {
		bool escaped = *p == '\\' && p[1];
		if (escaped && p[1] >= '0' && p[1] <= '9')
			return true;
		if (!escaped && *p == '{')
			for (const char *n = p + 1 + (p[1] == ','); *n >= '0' && *n <= '9';
			     n += strcspn(n, ",}"), n += *n == ',')
				cost *= 1 + strtod(n, NULL);
		bool again = !escaped && strchr("*+?", *p);
		if (again && repeats)
			cost *= 2;
		repeats = again || (!escaped && strchr(")}", *p));
		p += escaped;
	}
	return cost > COST_MAX;
}

static int compile(regex_t *re, const char *pattern, const char *file, const char *key,
		   struct err *e)
{
	char why_not[128];
	if (is_costly(pattern))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: when: %s: '%.80s': too many repetitions, or a back reference",
			       file, key, pattern);
	int r = regcomp(re, pattern, REG_EXTENDED | REG_NOSUB);
	if (r == 0)
		return 0;
	regerror(r, re, why_not, sizeof why_not);
	return err_set(e, ERR_BAD_INPUT, "%s: when: %s: '%.80s': %s", file, key, pattern, why_not);
}

static int check_pattern(json_t *v, const char *file, const char *key, struct err *e)
{
	regex_t re;
	if (!json_is_string(v))
		return err_set(e, ERR_BAD_INPUT, "%s: when: %s: expected string, found %s", file,
			       key, jsonx_type_name(json_typeof(v)));
	if (compile(&re, json_string_value(v), file, key, e) < 0)
		return -1;
	regfree(&re);
	return 0;
}

static int check_annotations(json_t *v, const char *file, struct err *e)
{
	const char *name;
	json_t *item;
	if (!json_is_object(v))
		return err_set(e, ERR_BAD_INPUT, "%s: when: annotations: expected object, found %s",
			       file, jsonx_type_name(json_typeof(v)));
	json_object_foreach (v, name, item) {
		AUTO_JSON json_t *key = json_string(name);
		if (check_pattern(key, file, "annotations", e) < 0 ||
		    check_pattern(item, file, "annotations", e) < 0)
			return -1;
	}
	return 0;
}

static int check_commands(json_t *v, const char *file, struct err *e)
{
	size_t i;
	json_t *item;
	if (!json_is_array(v))
		return err_set(e, ERR_BAD_INPUT, "%s: when: commands: expected array, found %s",
			       file, jsonx_type_name(json_typeof(v)));
	json_array_foreach (v, i, item)
		if (check_pattern(item, file, "commands", e) < 0)
			return -1;
	return 0;
}

static int check_when(json_t *when, const char *file, struct err *e)
{
	static const struct jsonx_key known[] = {{"annotations", JSON_NULL, 0},
						 {"commands", JSON_NULL, 0},
						 {"always", JSON_TRUE, 0},
						 {"hasBindMounts", JSON_TRUE, 0},
						 {0}};
	AUTO_FREE char *what = xasprintf("%s: when", file);
	if (!json_is_object(when) || !json_object_size(when))
		return err_set(e, ERR_BAD_INPUT, "%s: when: no condition in it", file);
	if (jsonx_check_keys(when, what, known, e) < 0)
		return -1;
	json_t *annotations = json_object_get(when, "annotations");
	json_t *commands = json_object_get(when, "commands");
	if (annotations && check_annotations(annotations, file, e) < 0)
		return -1;
	return commands ? check_commands(commands, file, e) : 0;
}

static int check_stages(json_t *stages, const char *file, struct err *e)
{
	size_t i;
	json_t *v;
	if (json_array_size(stages) == 0)
		return err_set(e, ERR_BAD_INPUT, "%s: stages: none named", file);
	json_array_foreach (stages, i, v)
		if (!json_is_string(v) || !ocihook_is_stage(json_string_value(v)))
			return err_set(e, ERR_BAD_INPUT, "%s: stages[%zu]: '%.80s' is not a stage",
				       file, i, json_is_string(v) ? json_string_value(v) : "");
	return 0;
}

json_t *hook_file_parse(json_t *j, const char *file, struct err *e)
{
	static const struct jsonx_key known[] = {{"version", JSON_NULL, 0},
						 {"hook", JSON_NULL, 0},
						 {"when", JSON_NULL, 0},
						 {"stages", JSON_NULL, 0},
						 {0}};
	AUTO_FREE char *what = xasprintf("%s: hook", file);
	if (jsonx_check_keys(j, file, known, e) < 0)
		return NULL;
	const char *version = jsonx_string(j, file, "version", e);
	if (!version)
		return NULL;
	if (strcmp(version, "1.0.0") != 0)
		return err_set_p(e, ERR_BAD_INPUT, "%s: version: '%.32s' is not 1.0.0", file,
				 version);
	AUTO_JSON json_t *hook = ocihook_read(json_object_get(j, "hook"), what, e);
	if (!hook || check_when(json_object_get(j, "when"), file, e) < 0 ||
	    check_stages(json_object_get(j, "stages"), file, e) < 0)
		return NULL;
	return json_pack("{s:O, s:O, s:O}", "hook", hook, "when", json_object_get(j, "when"),
			 "stages", json_object_get(j, "stages"));
}

static int matches(const char *pattern, const char *text, const char *file, const char *key,
		   struct err *e)
{
	regex_t re;
	if (compile(&re, pattern, file, key, e) < 0)
		return -1;
	int r = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return r;
}

/* One pair of patterns against all annotations. */
static int any_annotation(const char *key, const char *value, const json_t *annotations,
			  const char *file, struct err *e)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)annotations, name, v) {
		int r = matches(key, name, file, "annotations", e);
		if (r > 0)
			r = matches(value, json_string_value(v), file, "annotations", e);
		if (r != 0)
			return r;
	}
	return 0;
}

static int any_command(const json_t *list, const char *command, const char *file, struct err *e)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v) {
		int r = matches(json_string_value(v), command, file, "commands", e);
		if (r != 0)
			return r;
	}
	return 0;
}

int hook_matches(const json_t *file, const json_t *annotations, const char *command,
		 bool has_bind_mounts, const char *name, struct err *e)
{
	json_t *when = json_object_get(file, "when"), *v;
	const char *key;
	if ((v = json_object_get(when, "always")) && !json_is_true(v))
		return 0;
	if ((v = json_object_get(when, "hasBindMounts")) && !(json_is_true(v) && has_bind_mounts))
		return 0;
	json_object_foreach (json_object_get(when, "annotations"), key, v) {
		int r = any_annotation(key, json_string_value(v), annotations, name, e);
		if (r <= 0)
			return r;
	}
	v = json_object_get(when, "commands");
	return v ? any_command(v, command, name, e) : 1;
}

/* File name -> path, of all directories. */
static json_t *list_files(const struct bundle *b, struct err *e)
{
	json_t *out = json_object();
	size_t i;
	json_t *dir;
	json_array_foreach (b->cfg->hooks_dir, i, dir) {
		struct dirent **list = NULL;
		int n = scandir(json_string_value(dir), &list, fs_is_json_file, fs_by_bytes);
		if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
			err_sys(e, "hooks_dir: %s", json_string_value(dir));
			json_decref(out);
			return NULL;
		}
		for (int k = 0; k < n; k++) {
			json_object_set_new(
				out, list[k]->d_name,
				json_sprintf("%s/%s", json_string_value(dir), list[k]->d_name));
			free(list[k]);
		}
		free(list);
	}
	return out;
}

static json_t *all_annotations(const struct bundle *b)
{
	json_t *out = json_object();
	for (size_t i = 0; i < b->pod->n_annotations; i++)
		json_object_set_new(out, b->pod->annotations[i]->key,
				    json_string(b->pod->annotations[i]->value));
	for (size_t i = 0; i < b->ctr->n_annotations; i++)
		json_object_set_new(out, b->ctr->annotations[i]->key,
				    json_string(b->ctr->annotations[i]->value));
	return out;
}

static int apply_file(const struct bundle *b, json_t *spec, const char *path,
		      const json_t *annotations, struct err *e)
{
	const char *command = json_string_value(
		json_array_get(json_object_get(json_object_get(spec, "process"), "args"), 0));
	bool binds = b->ctr->n_mounts > 0;
	AUTO_FREE char *source = xasprintf("hook %s", path);
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, path, HOOK_FILE_MAX, e);
	AUTO_JSON json_t *file = j ? hook_file_parse(j, path, e) : NULL;
	int r = file ? hook_matches(file, annotations, command ? command : "", binds, path, e) : -1;
	size_t i;
	json_t *stage;
	if (r <= 0)
		return r;
	json_array_foreach (json_object_get(file, "stages"), i, stage) {
		hook_add(spec, json_string_value(stage), json_object_get(file, "hook"));
		json_t *list =
			json_object_get(json_object_get(spec, "hooks"), json_string_value(stage));
		why_at(b, source, "hooks.%s[%zu]", json_string_value(stage),
		       json_array_size(list) - 1);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int hooks_apply(const struct bundle *b, json_t *spec, struct err *e)
{
	AUTO_JSON json_t *files = list_files(b, e);
	if (!files)
		return -1;
	size_t n = json_object_size(files), i = 0;
	const char *names[FILES_MAX] = {NULL}, *name;
	json_t *path;
	if (n == 0)
		return 0;
	if (n > FILES_MAX)
		return err_set(e, ERR_EXHAUSTED, "hooks_dir: more than %d files", FILES_MAX);
	json_object_foreach (files, name, path)
		names[i++] = name;
	qsort(names, n, sizeof *names, by_name);
	AUTO_JSON json_t *annotations = all_annotations(b);
	for (i = 0; i < n; i++)
		if (apply_file(b, spec, json_string_value(json_object_get(files, names[i])),
			       annotations, e) < 0)
			return err_wrap(e, "hooks_dir");
	return 0;
}
