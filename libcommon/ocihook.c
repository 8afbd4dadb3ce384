/* SPDX-License-Identifier: Apache-2.0 */
#include "ocihook.h"

#include "auto.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>

const char *const ocihook_stages[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
	NULL};

bool ocihook_is_stage(const char *name)
{
	for (size_t i = 0; ocihook_stages[i]; i++)
		if (strcmp(ocihook_stages[i], name) == 0)
			return true;
	return false;
}

static int check_strings(json_t *v, const char *what, const char *key, bool pairs, struct err *e)
{
	size_t i;
	json_t *item;
	if (!json_is_array(v))
		return err_set(e, ERR_BAD_INPUT, "%s: %s: expected array, found %s", what, key,
			       jsonx_type_name(json_typeof(v)));
	json_array_foreach (v, i, item) {
		const char *s = json_string_value(item);
		if (!s)
			return err_set(e, ERR_BAD_INPUT, "%s: %s[%zu]: expected string, found %s",
				       what, key, i, jsonx_type_name(json_typeof(item)));
		if (pairs && (!strchr(s, '=') || *s == '='))
			return err_set(e, ERR_BAD_INPUT, "%s: %s[%zu]: '%.80s' is not NAME=VALUE",
				       what, key, i, s);
	}
	return 0;
}

static int check_timeout(json_t *v, const char *what, struct err *e)
{
	json_int_t n = json_integer_value(v);
	if (json_is_integer(v) && n >= 1 && n <= OCIHOOK_TIMEOUT_MAX)
		return 0;
	return err_set(e, ERR_BAD_INPUT, "%s: timeout: not a number of seconds within 1 to %d",
		       what, OCIHOOK_TIMEOUT_MAX);
}

json_t *ocihook_read(json_t *hook, const char *what, struct err *e)
{
	const char *key;
	json_t *v;
	if (!json_is_object(hook))
		return err_set_p(e, ERR_BAD_INPUT, "%s: expected object, found %s", what,
				 hook ? jsonx_type_name(json_typeof(hook)) : "nothing");
	const char *path = jsonx_string(hook, what, "path", e);
	if (!path)
		return NULL;
	if (path[0] != '/')
		return err_set_p(e, ERR_BAD_INPUT, "%s: path: '%.200s' is not absolute", what,
				 path);
	json_object_foreach (hook, key, v) {
		int r = strcmp(key, "path") == 0   ? 0
			: strcmp(key, "args") == 0 ? check_strings(v, what, key, false, e)
			: strcmp(key, "env") == 0  ? check_strings(v, what, key, true, e)
			: strcmp(key, "timeout") == 0
				? check_timeout(v, what, e)
				: err_set(e, ERR_BAD_INPUT, "%s: %.80s: unknown key", what, key);
		if (r < 0)
			return NULL;
	}
	json_t *out = json_copy(hook);
	if (!json_object_get(out, "timeout"))
		json_object_set_new(out, "timeout", json_integer(OCIHOOK_TIMEOUT));
	return out;
}

json_t *ocihook_read_stages(json_t *stages, const char *what, struct err *e)
{
	AUTO_JSON json_t *out = json_object();
	const char *stage;
	size_t i;
	json_t *list, *hook;
	json_object_foreach (stages, stage, list) {
		if (!ocihook_is_stage(stage))
			return err_set_p(e, ERR_BAD_INPUT, "%s: '%.80s' is not a stage", what,
					 stage);
		if (!json_is_array(list))
			return err_set_p(e, ERR_BAD_INPUT, "%s: %s: expected array, found %s", what,
					 stage, jsonx_type_name(json_typeof(list)));
		AUTO_JSON json_t *checked = json_array();
		json_array_foreach (list, i, hook) {
			char at[512];
			snprintf(at, sizeof at, "%s: %s[%zu]", what, stage, i);
			json_t *h = ocihook_read(hook, at, e);
			if (!h)
				return NULL;
			json_array_append_new(checked, h);
		}
		json_object_set(out, stage, checked);
	}
	return TAKE(out);
}
