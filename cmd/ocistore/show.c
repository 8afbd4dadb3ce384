/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "ocistore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of one image, sorted: those with '@' or those without. */
static json_t *names_of(json_t *names, const char *id, bool digests)
{
	const char *name;
	json_t *target;
	size_t n = 0;
	AUTO_FREE const char **list = calloc(json_object_size(names) + 1, sizeof *list);
	json_t *out = json_array();
	json_object_foreach (names, name, target) {
		bool is_digest = strchr(name, '@');
		if (list && is_digest == digests && strcmp(json_string_value(target), id) == 0)
			list[n++] = name;
	}
	if (list)
		qsort(list, n, sizeof *list, by_text);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}

static bool any_pinned(const struct tool_ctx *c, json_t *names)
{
	size_t i;
	json_t *name;
	json_array_foreach (names, i, name) {
		if (image_name_is_pinned(c->cfg.pinned_images, json_string_value(name)))
			return true;
	}
	return false;
}

json_t *image_summary(const struct tool_ctx *c, const struct image *img, json_t *names)
{
	AUTO_JSON json_t *tags = names_of(names, img->id, false);
	AUTO_JSON json_t *digests = names_of(names, img->id, true);
	bool pinned = any_pinned(c, tags) || any_pinned(c, digests);
	return json_pack("{s:s,s:O,s:O,s:I,s:b,s:I}", "id", img->id, "repo_tags", tags,
			 "repo_digests", digests, "size", jsonx_opt_int(img->meta, "size", 0),
			 "pinned", (int)pinned, "created",
			 jsonx_opt_int(img->meta, "created_at", 0));
}

struct listing {
	struct tool_ctx *c;
	json_t *names;
	json_t *rows;
};

static int add_image(void *arg, const char *id, struct err *e)
{
	struct listing *l = arg;
	struct err why;
	AUTO_IMAGE struct image img = {.meta = NULL};
	(void)e;
	if (image_open(&l->c->st, id, false, &img, &why) == 0)
		json_array_append_new(l->rows, image_summary(l->c, &img, l->names));
	/* One that was removed meanwhile is no news; a damaged one does not hide the others. */
	else if (why.kind != ERR_NOT_FOUND)
		log_warn("%s", why.msg);
	return 0;
}

static void print_size(long long n, char out[16])
{
	static const char units[] = "BKMGT";
	double d = (double)n;
	int u = 0;
	while (d >= 999.5 && units[u + 1]) {
		d /= 1000;
		u++;
	}
	snprintf(out, 16, u && d < 9.95 ? "%.1f%c" : "%.0f%c", d, units[u]);
}

static void print_row(json_t *row, const char *name)
{
	char size[16];
	const char *id = jsonx_opt_string(row, "id", "sha256:"), *colon = strrchr(name, ':');
	const char *at = strchr(name, '@'), *slash = strrchr(name, '/');
	const char *end = at ? at : colon && (!slash || colon > slash) ? colon : name;
	print_size(jsonx_opt_int(row, "size", 0), size);
	if (end == name)
		printf("%-45s %-20s %.12s %7s\n", "<none>", "<none>", id + 7, size);
	else
		printf("%-45.*s %-20.20s %.12s %7s\n", (int)(end - name), name, end + 1, id + 7,
		       size);
}

static void print_rows(json_t *row)
{
	size_t i;
	json_t *name, *tags = json_object_get(row, "repo_tags");
	if (json_array_size(tags) == 0)
		tags = json_object_get(row, "repo_digests");
	if (json_array_size(tags) == 0)
		print_row(row, "");
	json_array_foreach (tags, i, name)
		print_row(row, json_string_value(name));
}

static int by_name(const void *a, const void *b)
{
	json_t *ra = *(json_t *const *)a, *rb = *(json_t *const *)b;
	json_t *na = json_array_get(json_object_get(ra, "repo_tags"), 0);
	json_t *nb = json_array_get(json_object_get(rb, "repo_tags"), 0);
	if (!na != !nb)
		return na ? -1 : 1;
	int rc = na ? strcmp(json_string_value(na), json_string_value(nb)) : 0;
	return rc ? rc : strcmp(jsonx_opt_string(ra, "id", ""), jsonx_opt_string(rb, "id", ""));
}

int store_ls(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct listing l = {.c = c};
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *names = image_names(&c->st, e);
	AUTO_JSON json_t *rows = json_array();
	l.names = names;
	l.rows = rows;
	if (!names || image_each(&c->st, add_image, &l, e) < 0)
		return -1;
	size_t n = json_array_size(rows);
	AUTO_FREE json_t **sorted = calloc(n + 1, sizeof(json_t *));
	if (!sorted)
		return err_set(e, ERR_EXHAUSTED, "no memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(rows, i);
	qsort(sorted, n, sizeof(json_t *), by_name);
	if (!c->json)
		printf("%-45s %-20s %-12s %7s\n", "IMAGE", "TAG/DIGEST", "ID", "SIZE");
	for (size_t i = 0; i < n; i++) {
		if (!c->json) {
			print_rows(sorted[i]);
			continue;
		}
		json_dumpf(sorted[i], stdout, JSON_COMPACT);
		putchar('\n');
	}
	return 0;
}

int store_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	AUTO_IMAGE struct image img = {.meta = NULL};
	(void)argc;
	if (image_resolve(&c->st, argv[0], id, e) < 0 || image_open(&c->st, id, true, &img, e) < 0)
		return -1;
	AUTO_JSON json_t *names = image_names(&c->st, e);
	if (!names)
		return -1;
	AUTO_JSON json_t *doc = image_summary(c, &img, names);
	json_object_set(doc, "record", img.meta);
	json_object_set(doc, "config", img.config);
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}
