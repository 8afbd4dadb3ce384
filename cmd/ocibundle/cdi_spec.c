/* SPDX-License-Identifier: Apache-2.0 */
/* One specification of the Container Device Interface: what it must be before we act on it. What it
 * asks for and we cannot do is an error, not left out. */
#include "edit.h"

#include "auto.h"
#include "jsonx.h"
#include "ocihook.h"
#include "xalloc.h"
#include "yamljson.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct jsonx_key top_members[] = {
	{"cdiVersion", JSON_STRING, JSONX_REQUIRED},
	{"kind", JSON_STRING, JSONX_REQUIRED},
	{"annotations", JSON_OBJECT, 0},
	{"devices", JSON_ARRAY, JSONX_REQUIRED},
	{"containerEdits", JSON_OBJECT, 0},
	{0},
};
static const struct jsonx_key device_members[] = {
	{"name", JSON_STRING, JSONX_REQUIRED},
	{"annotations", JSON_OBJECT, 0},
	{"containerEdits", JSON_OBJECT, JSONX_REQUIRED},
	{0},
};
static const struct jsonx_key edit_members[] = {
	{"env", JSON_ARRAY, 0},        {"deviceNodes", JSON_ARRAY, 0},
	{"hooks", JSON_ARRAY, 0},      {"mounts", JSON_ARRAY, 0},
	{"intelRdt", JSON_OBJECT, 0},  {"additionalGids", JSON_ARRAY, 0},
	{"netDevices", JSON_ARRAY, 0}, {0},
};
static const struct jsonx_key node_members[] = {
	{"path", JSON_STRING, JSONX_REQUIRED},
	{"hostPath", JSON_STRING, 0},
	{"type", JSON_STRING, 0},
	{"major", JSON_INTEGER, 0},
	{"minor", JSON_INTEGER, 0},
	{"fileMode", JSON_INTEGER, 0},
	{"permissions", JSON_STRING, 0},
	{"uid", JSON_INTEGER, 0},
	{"gid", JSON_INTEGER, 0},
	{0},
};
static const struct jsonx_key mount_members[] = {
	{"hostPath", JSON_STRING, JSONX_REQUIRED},
	{"containerPath", JSON_STRING, JSONX_REQUIRED},
	{"type", JSON_STRING, 0},
	{"options", JSON_ARRAY, JSONX_STRINGS},
	{0},
};

static bool is_word(const char *s, size_t n, const char *inner)
{
	if (n == 0 || n > 253 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(inner, s[i]))
			return false;
	return true;
}

/* vendor/class: of n bytes. */
static bool is_kind(const char *s, size_t n)
{
	const char *slash = memchr(s, '/', n);
	size_t vendor = slash ? (size_t)(slash - s) : 0;
	return slash && isalpha((unsigned char)s[0]) && is_word(s, vendor, "_-.") &&
	       isalpha((unsigned char)slash[1]) && is_word(slash + 1, n - vendor - 1, "_-.");
}

bool cdi_is_qualified(const char *name)
{
	const char *eq = strchr(name, '=');
	return eq && is_kind(name, (size_t)(eq - name)) && is_word(eq + 1, strlen(eq + 1), "_-.:");
}

static int check_node(json_t *n, const char *where, struct err *e)
{
	if (jsonx_check_keys(n, where, node_members, e) < 0)
		return -1;
	const char *path = jsonx_opt_string(n, "path", "");
	const char *host = jsonx_opt_string(n, "hostPath", path);
	const char *type = jsonx_opt_string(n, "type", "c");
	const char *access = jsonx_opt_string(n, "permissions", "rwm");
	if (path[0] != '/' || host[0] != '/' || !path_is_plain(path))
		return err_set(e, ERR_BAD_INPUT, "%s: '%.200s' is not an absolute path", where,
			       path[0] == '/' && host[0] != '/' ? host : path);
	if (strlen(type) != 1 || !strchr("bcup", *type))
		return err_set(e, ERR_BAD_INPUT, "%s: type: '%.16s' is not b, c, u or p", where,
			       type);
	if (strspn(access, "rwm") != strlen(access))
		return err_set(e, ERR_BAD_INPUT, "%s: permissions: '%.16s' is not made of r, w, m",
			       where, access);
	static const char *const numbers[] = {"major", "minor", "fileMode", "uid", "gid"};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		json_int_t v = jsonx_opt_int(n, numbers[i], 0);
		if (v < 0 || v >= UINT32_MAX)
			return err_set(e, ERR_BAD_INPUT, "%s: %s: out of range", where, numbers[i]);
	}
	return 0;
}

static int check_mount(json_t *m, const char *where, struct err *e)
{
	if (jsonx_check_keys(m, where, mount_members, e) < 0)
		return -1;
	const char *at = jsonx_opt_string(m, "containerPath", "");
	if (at[0] != '/' || !at[1] || !path_is_plain(at))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: containerPath: '%.200s' is not an absolute path below /", where,
			       at);
	return 0;
}

static int check_hook(json_t *h, const char *where, struct err *e)
{
	const char *stage = json_is_object(h) ? jsonx_opt_string(h, "hookName", "") : "";
	if (!ocihook_is_stage(stage))
		return err_set(e, ERR_BAD_INPUT, "%s: hookName: '%.64s' is not a stage", where,
			       stage);
	AUTO_JSON json_t *copy = json_copy(h);
	json_object_del(copy, "hookName");
	AUTO_JSON json_t *hook = ocihook_read(copy, where, e);
	return hook ? 0 : -1;
}

static int check_env(json_t *v, const char *where, struct err *e)
{
	const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
	return eq && eq != s ? 0 : err_set(e, ERR_BAD_INPUT, "%s: not NAME=VALUE", where);
}

static int check_gid(json_t *v, const char *where, struct err *e)
{
	json_int_t n = json_integer_value(v);
	return json_is_integer(v) && n >= 0 && n < UINT32_MAX
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s: not a group id", where);
}

static int check_edits(json_t *edits, const char *where, struct err *e)
{
	static const struct {
		const char *list;
		int (*check)(json_t *v, const char *where, struct err *e);
	} lists[] = {{"env", check_env},
		     {"deviceNodes", check_node},
		     {"hooks", check_hook},
		     {"mounts", check_mount},
		     {"additionalGids", check_gid}};
	if (!edits)
		return 0;
	if (jsonx_check_keys(edits, where, edit_members, e) < 0)
		return -1;
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		size_t i;
		json_t *v;
		json_array_foreach (json_object_get(edits, lists[k].list), i, v) {
			AUTO_FREE char *at = xasprintf("%s.%s[%zu]", where, lists[k].list, i);
			if (lists[k].check(v, at, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int check_device(json_t *devices, size_t i, const char *file, struct err *e)
{
	json_t *d = json_array_get(devices, i);
	AUTO_FREE char *where = xasprintf("%s: devices[%zu]", file, i);
	AUTO_FREE char *edits = xasprintf("%s.containerEdits", where);
	if (jsonx_check_keys(d, where, device_members, e) < 0)
		return -1;
	const char *name = jsonx_opt_string(d, "name", "");
	if (!is_word(name, strlen(name), "_-.:"))
		return err_set(e, ERR_BAD_INPUT, "%s: name: '%.80s' is not a device's name", where,
			       name);
	for (size_t k = 0; k < i; k++)
		if (strcmp(jsonx_opt_string(json_array_get(devices, k), "name", ""), name) == 0)
			return err_set(e, ERR_BAD_INPUT, "%s: name: '%s' comes twice", where, name);
	return check_edits(json_object_get(d, "containerEdits"), edits, e);
}

static int check_spec(json_t *j, const char *file, struct err *e)
{
	AUTO_FREE char *edits = xasprintf("%s: containerEdits", file);
	if (jsonx_check_keys(j, file, top_members, e) < 0)
		return -1;
	const char *version = jsonx_opt_string(j, "cdiVersion", "");
	const char *kind = jsonx_opt_string(j, "kind", "");
	if (strncmp(version, "0.", 2) != 0 && strncmp(version, "1.", 2) != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: cdiVersion: '%.32s' is not known", file,
			       version);
	if (!is_kind(kind, strlen(kind)))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: kind: '%.80s' is not of the form vendor/class", file, kind);
	json_t *devices = json_object_get(j, "devices");
	if (json_array_size(devices) == 0)
		return err_set(e, ERR_BAD_INPUT, "%s: devices: none in it", file);
	for (size_t i = 0; i < json_array_size(devices); i++)
		if (check_device(devices, i, file, e) < 0)
			return -1;
	return check_edits(json_object_get(j, "containerEdits"), edits, e);
}

json_t *cdi_spec_parse(const char *text, size_t len, const char *file, struct err *e)
{
	size_t n = strlen(file);
	bool json = n > 5 && strcmp(file + n - 5, ".json") == 0;
	AUTO_JSON json_t *j =
		json ? jsonx_parse(text, len, file, e) : yaml_to_json(text, len, file, e);
	return j && check_spec(j, file, e) == 0 ? TAKE(j) : NULL;
}
