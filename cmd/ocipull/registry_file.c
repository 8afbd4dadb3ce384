/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FILE_MAX = 1 << 20 };

int registry_file_check(json_t *o, const char *file, bool mirror, struct err *e)
{
	static const struct jsonx_key in_file[] = {
		{"host", JSON_STRING, 0},   {"url", JSON_STRING, 0},   {"mirrors", JSON_ARRAY, 0},
		{"ca", JSON_STRING, 0},     {"cert", JSON_STRING, 0},  {"key", JSON_STRING, 0},
		{"insecure", JSON_TRUE, 0}, {"blocked", JSON_TRUE, 0}, {0},
	};
	static const struct jsonx_key in_mirror[] = {
		{"url", JSON_STRING, 0},
		{"ca", JSON_STRING, 0},
		{"cert", JSON_STRING, 0},
		{"key", JSON_STRING, 0},
		{"insecure", JSON_TRUE, 0},
		{"digest_only", JSON_TRUE, 0},
		{0},
	};
	return jsonx_check_keys(o, file, mirror ? in_mirror : in_file, e);
}

/* How much of host/path a "host" covers: HOST, HOST/PATH (whole components), *.DOMAIN, or "*";
 * weight orders those that do. False: not at all. */
static bool covers(const char *its, const struct ref *ref, size_t *covered, size_t *weight)
{
	size_t len = strlen(its), part = strcspn(its, "/"), host = strlen(ref->host);
	*covered = host;
	*weight = len;
	if (strcmp(its, "*") == 0)
		return true;
	if (its[0] == '*')
		return its[1] == '.' && host > len - 1 &&
		       strcasecmp(ref->host + host - (len - 1), its + 1) == 0;
	if (!ref_same_host(its, ref->host))
		return false;
	/* However many bytes the host is written in. */
	*weight = host + (len - part);
	if (!its[part])
		return true;
	const char *path = its + part + 1;
	size_t n = strlen(path);
	*covered = host + 1 + n;
	return n > 0 && strncmp(path, ref->path, n) == 0 &&
	       (ref->path[n] == '/' || ref->path[n] == '\0');
}

static int look_at(const char *dir, const char *file, const struct ref *ref, json_t **best,
		   char *name, size_t size, size_t *covered, size_t *weight, struct err *e)
{
	char path[4096];
	size_t c, w;
	if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
		return err_set(e, ERR_BAD_INPUT, "registries_dir: a path that is too long");
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, path, FILE_MAX, e);
	if (!j || registry_file_check(j, file, false, e) < 0)
		return -1;
	const char *its = jsonx_string(j, file, "host", e);
	if (!its)
		return -1;
	if (its[0] == '*' && json_object_get(j, "url"))
		return err_set(e, ERR_BAD_INPUT, "%s: 'url' is for one host, not for '%s'", file,
			       its);
	if (!covers(its, ref, &c, &w) || (*best && w < *weight))
		return 0;
	json_decref(*best);
	*best = TAKE(j);
	*covered = c;
	*weight = w;
	snprintf(name, size, "%s", file);
	return 0;
}

json_t *registry_file(const char *dir, const struct ref *ref, char *name, size_t size,
		      size_t *covered, struct err *e)
{
	struct dirent **list = NULL;
	AUTO_JSON json_t *best = NULL;
	size_t weight = 0;
	int rc = 0, n = scandir(dir, &list, fs_is_json_file, fs_by_bytes);
	*covered = strlen(ref->host);
	e->kind = ERR_OK;
	if (n < 0 && errno == ENOENT)
		return NULL;
	if (n < 0)
		return err_sys(e, "registries_dir %s", dir), NULL;
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = look_at(dir, list[i]->d_name, ref, &best, name, size, covered, &weight,
				     e);
		free(list[i]);
	}
	free(list);
	if (rc < 0)
		return NULL;
	e->kind = ERR_OK;
	return TAKE(best);
}
