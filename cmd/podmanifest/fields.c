/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod may be told of itself: pkg/fieldpath, and kubelet_pods.go for what only a node knows. */
#include "podmanifest.h"

#include "auto.h"
#include "buf.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20 };

/* As Go's %q writes a string. */
static void add_quoted(struct buf *b, const char *s, struct err *e)
{
	static const char plain[] = "\a\b\f\n\r\t\v\\\"", letters[] = "abfnrtv\\\"";
	(void)buf_add(b, "\"", 1, e);
	for (; *s; s++) {
		const char *special = strchr(plain, *s);
		if (special)
			(void)buf_addf(b, e, "\\%c", letters[special - plain]);
		else if ((unsigned char)*s < ' ' || *s == 0x7f)
			(void)buf_addf(b, e, "\\x%02x", (unsigned char)*s);
		else
			(void)buf_add(b, s, 1, e);
	}
	(void)buf_add(b, "\"", 1, e);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* key="value", sorted, a line each, without a newline at the end. */
static char *whole_map(json_t *map)
{
	AUTO_BUF struct buf b = BUF_INIT(TEXT_MAX);
	struct err full;
	size_t n = 0, count = json_object_size(map);
	AUTO_FREE const char **keys = xcalloc(count + 1, sizeof *keys);
	const char *key;
	json_t *v;
	json_object_foreach (map, key, v)
		keys[n++] = key;
	qsort(keys, n, sizeof *keys, by_bytes);
	for (size_t i = 0; i < n; i++) {
		(void)buf_addf(&b, &full, "%s%s=", i ? "\n" : "", keys[i]);
		add_quoted(&b, str(map, keys[i]), &full);
	}
	return buf_take(&b);
}

/* metadata.labels['key'], metadata.annotations['key']: the key, or NULL. */
static char *subscript(const char *field_path, const char *map)
{
	size_t n = strlen(map), len = strlen(field_path);
	if (strncmp(field_path, map, n) != 0 || strncmp(field_path + n, "['", 2) != 0 ||
	    len < n + 4 || strcmp(field_path + len - 2, "']") != 0)
		return NULL;
	return xstrndup(field_path + n + 2, len - n - 4);
}

static const char *of_node(struct pm *p, const char *field)
{
	const char *account = str(p->spec, "serviceAccountName");
	if (strcmp(field, "spec.nodeName") == 0)
		return *str(p->spec, "nodeName") && !p->o->node_name ? str(p->spec, "nodeName")
								     : p->node_name;
	if (strcmp(field, "spec.serviceAccountName") == 0)
		return *account ? account : "default";
	if (strcmp(field, "status.hostIP") == 0 || strcmp(field, "status.hostIPs") == 0)
		return p->node_ip;
	if (strcmp(field, "status.podIP") == 0 || strcmp(field, "status.podIPs") == 0)
		return p->pod_ip;
	return NULL;
}

char *pod_field(struct pm *p, const char *field_path, bool for_volume, const char *path,
		struct err *e)
{
	static const char *const maps[][2] = {{"metadata.labels", "labels"},
					      {"metadata.annotations", "annotations"}};
	if (strcmp(field_path, "metadata.name") == 0)
		return xstrdup(p->name);
	if (strcmp(field_path, "metadata.namespace") == 0)
		return xstrdup(p->namespace_);
	if (strcmp(field_path, "metadata.uid") == 0)
		return xstrdup(p->uid);
	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		json_t *map = json_object_get(p->meta, maps[i][1]);
		AUTO_FREE char *key = subscript(field_path, maps[i][0]);
		if (key)
			return xstrdup(str(map, key));
		if (for_volume && strcmp(field_path, maps[i][0]) == 0)
			return whole_map(map);
	}
	const char *s = for_volume ? NULL : of_node(p, field_path);
	if (s)
		return xstrdup(s);
	return err_set_p(e, ERR_BAD_INPUT, "%s: %s.fieldPath: '%.100s' is no field of a pod%s",
			 p->what, path, field_path, for_volume ? " that a file may have" : "");
}
