/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include "auto.h"
#include "jsonx.h"
#include "podmanifest.h"
#include "xalloc.h"

#include <ctype.h>
#include <string.h>

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253, PATH_TEXT_MAX = 400 };

static int check_object(struct pm *p, json_t *j, const struct schema_field *table, const char *path,
			struct err *e);

static int wrong(const struct pm *p, const char *path, const char *want, const json_t *j,
		 struct err *e)
{
	return err_set(e, ERR_BAD_INPUT, "%s: %s: expected %s, found %s", p->what, path, want,
		       jsonx_type_name(json_typeof(j)));
}

static bool is_number(const json_t *j)
{
	return json_is_string(j) || json_is_integer(j) || json_is_real(j);
}

static int check_list(struct pm *p, json_t *j, const struct schema_field *f, const char *path,
		      struct err *e)
{
	size_t i;
	json_t *one;
	if (!json_is_array(j))
		return wrong(p, path, "list", j, e);
	json_array_foreach (j, i, one) {
		AUTO_FREE char *at = xasprintf("%s[%zu]", path, i);
		if (f->kind == K_STRINGS && !json_is_string(one))
			return wrong(p, at, "string", one, e);
		if (f->kind == K_LIST && check_object(p, one, f->sub, at, e) < 0)
			return -1;
	}
	return 0;
}

static int check_map(struct pm *p, json_t *j, const struct schema_field *f, const char *path,
		     struct err *e)
{
	const char *key;
	json_t *v;
	if (!json_is_object(j))
		return wrong(p, path, "object", j, e);
	json_object_foreach (j, key, v) {
		AUTO_FREE char *at = xasprintf("%s.%.80s", path, key);
		if (f->kind == K_MAP && !json_is_string(v))
			return wrong(p, at, "string", v, e);
		if (f->kind == K_QUANTITIES && !is_number(v))
			return wrong(p, at, "quantity", v, e);
	}
	return 0;
}

static int check_value(struct pm *p, json_t *j, const struct schema_field *f, const char *path,
		       struct err *e)
{
	switch (f->kind) {
	case K_STRING:
		return json_is_string(j) ? 0 : wrong(p, path, "string", j, e);
	case K_INT:
		return json_is_integer(j) ? 0 : wrong(p, path, "integer", j, e);
	case K_BOOL:
		return json_is_boolean(j) ? 0 : wrong(p, path, "boolean", j, e);
	case K_QUANTITY:
		return is_number(j) ? 0 : wrong(p, path, "quantity", j, e);
	case K_PORT:
		return json_is_integer(j) || json_is_string(j)
			       ? 0
			       : wrong(p, path, "a port's number or name", j, e);
	case K_OBJECT:
		return check_object(p, j, f->sub, path, e);
	case K_LIST:
	case K_STRINGS:
		return check_list(p, j, f, path, e);
	case K_MAP:
	case K_QUANTITIES:
		return check_map(p, j, f, path, e);
	case K_ANY:
	default:
		return 0;
	}
}

static bool says_nothing(const json_t *v)
{
	return json_is_null(v) || json_is_false(v) ||
	       (json_is_string(v) && !*json_string_value(v)) ||
	       (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_object(v) && !json_object_size(v));
}

/* Nulls are taken out: they mean the same as nothing. */
static int check_object(struct pm *p, json_t *j, const struct schema_field *table, const char *path,
			struct err *e)
{
	const char *key;
	json_t *v;
	void *next;
	if (!json_is_object(j))
		return wrong(p, path, "object", j, e);
	if (strlen(path) > PATH_TEXT_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: %.200s...: nested too deep", p->what, path);
	json_object_foreach_safe (j, next, key, v) {
		const struct schema_field *f = table;
		AUTO_FREE char *at = xasprintf("%s.%.80s", path, key);
		while (f->name && strcmp(f->name, key) != 0)
			f++;
		if (json_is_null(v)) {
			json_object_del(j, key);
			continue;
		}
		if (!f->name || f->cannot) {
			if (!says_nothing(v))
				problem(p, "%s: %s", at, f->name ? f->cannot : "unknown field");
			json_object_del(j, key);
			continue;
		}
		if (check_value(p, v, f, at, e) < 0)
			return -1;
	}
	return 0;
}

bool name_is_label(const char *s)
{
	size_t n = strlen(s);
	if (n == 0 || n > LABEL_MAX || s[0] == '-' || s[n - 1] == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

bool name_is_subdomain(const char *s)
{
	char label[LABEL_MAX + 1];
	if (strlen(s) > SUBDOMAIN_MAX)
		return false;
	for (;; s++) {
		size_t n = strcspn(s, ".");
		if (n > LABEL_MAX)
			return false;
		memcpy(label, s, n);
		label[n] = '\0';
		if (!name_is_label(label))
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

/* Names become paths below the pod's directory and file names: nothing else is let through. */
static int check_names(struct pm *p, const char *list, json_t *seen, struct err *e)
{
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(p->spec, list), i, one) {
		const char *name = str(one, "name");
		if (!name_is_label(name))
			return err_set(e, ERR_BAD_INPUT,
				       "%s: spec.%s[%zu].name: '%.80s' is not a name", p->what,
				       list, i, name);
		if (json_object_get(seen, name))
			return err_set(e, ERR_BAD_INPUT, "%s: spec.%s[%zu].name: '%s' comes twice",
				       p->what, list, i, name);
		json_object_set_new(seen, name, json_true());
	}
	return 0;
}

int schema_check_pod(struct pm *p, struct err *e)
{
	AUTO_JSON json_t *containers = json_object();
	AUTO_JSON json_t *volumes = json_object();
	enum { CONTAINERS_MAX = 1000 };
	if (check_object(p, p->meta, schema_meta, "metadata", e) < 0 ||
	    check_object(p, p->spec, schema_spec, "spec", e) < 0 ||
	    check_names(p, "initContainers", containers, e) < 0 ||
	    check_names(p, "containers", containers, e) < 0 ||
	    check_names(p, "volumes", volumes, e) < 0)
		return -1;
	if (!json_array_size(json_object_get(p->spec, "containers")))
		return err_set(e, ERR_BAD_INPUT, "%s: spec.containers: missing", p->what);
	if (containers_count(p) > CONTAINERS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: spec.containers: more than %d", p->what,
			       CONTAINERS_MAX);
	const char *os = str(json_object_get(p->spec, "os"), "name");
	if (*os && strcmp(os, "linux") != 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: spec.os.name: '%.40s' is not linux",
			       p->what, os);
	return 0;
}
