/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "digest.h"
#include "imgpin.h"
#include "jsonx.h"
#include "log.h"
#include "ocistore.h"
#include "ref.h"
#include "tool_format.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ls_digests, ls_dangling, ls_quiet, ls_no_trunc;
static const char *ls_format;
const struct opt ls_opts[] = {
	{"digests", 0, OPT_FLAG, &ls_digests, NULL, "a line for each digest name, too"},
	{"dangling", 0, OPT_FLAG, &ls_dangling, NULL, "only images without a tag"},
	{"quiet", 'q', OPT_FLAG, &ls_quiet, NULL, "only the ids"},
	{"no-trunc", 0, OPT_FLAG, &ls_no_trunc, NULL, "ids in full"},
	TOOL_FORMAT_OPT(&ls_format),
	{.name = NULL},
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of an image's names, sorted, those with '@' or those without. */
static json_t *names_of(json_t *names, bool digests)
{
	const char *name;
	json_t *target;
	size_t n = 0;
	AUTO_FREE const char **list = calloc(json_object_size(names) + 1, sizeof *list);
	json_t *out = json_array();
	json_object_foreach (names, name, target) {
		bool is_digest = strchr(name, '@');
		if (list && is_digest == digests)
			list[n++] = name;
	}
	if (list)
		qsort(list, n, sizeof *list, by_text);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}

int store_view_read(const struct tool_ctx *c, struct store_view *v, bool users, struct err *e)
{
	*v = (struct store_view){.names = image_names(&c->st, e)};
	if (v->names && (v->pins = imgpin_read(&c->st, e)) &&
	    (!users || imgstore_users_read(&c->st, &v->users, e) == 0))
		return 0;
	store_view_release(v);
	return -1;
}

void store_view_release(struct store_view *v)
{
	json_decref(v->names);
	json_decref(v->pins);
	json_decref(v->by_image);
	if (v->users.by_image)
		imgstore_users_release(&v->users);
	*v = (struct store_view){.names = NULL};
}

json_t *store_view_names(struct store_view *v, const char *id)
{
	const char *name;
	json_t *target;
	if (!v->by_image) {
		v->by_image = json_object();
		json_object_foreach (v->names, name, target) {
			const char *image = json_string_value(target);
			json_t *list = json_object_get(v->by_image, image);
			if (!list)
				json_object_set_new(v->by_image, image, list = json_object());
			json_object_set(list, name, target);
		}
	}
	return json_object_get(v->by_image, id);
}

/* As image_resolve decides it. */
bool typed_name(const char *typed, const char *id, json_t *names, char *out, size_t size)
{
	struct ref r;
	struct err ignored;
	char name[REF_STR_SIZE];
	const char *hex = strncmp(typed, "sha256:", 7) == 0 ? typed + 7 : typed;
	if (digest_is_hex(hex) || ref_parse(&r, typed, &ignored) < 0)
		return false;
	if (*r.digest)
		ref_with_digest(&r, r.digest, name);
	else
		ref_name(&r, name);
	snprintf(out, size, "%s", name);
	return strcmp(jsonx_opt_string(names, name, ""), id) == 0;
}

json_t *image_summary(const struct tool_ctx *c, const struct image *img, struct store_view *v)
{
	json_t *names = store_view_names(v, img->id);
	AUTO_JSON json_t *tags = names_of(names, false);
	AUTO_JSON json_t *digests = names_of(names, true);
	AUTO_JSON json_t *why = imgpin_reasons(c->cfg.pinned_images, v->pins, names, img->id);
	return json_pack("{s:s,s:O,s:O,s:I,s:b,s:I}", "id", img->id, "repo_tags", tags,
			 "repo_digests", digests, "size", jsonx_opt_int(img->meta, "size", 0),
			 "pinned", json_array_size(why) > 0, "created",
			 jsonx_opt_int(img->meta, "created_at", 0));
}

struct listing {
	struct tool_ctx *c;
	struct store_view *v;
	char **patterns;
	int n_patterns;
	json_t *rows;
};

/* A pattern is a glob over the normal form of names, a reference, or the beginning of an id. */
static bool name_matches(const char *pattern, const char *name)
{
	struct ref r;
	struct err ignored;
	char full[REF_STR_SIZE];
	if (fnmatch(pattern, name, 0) == 0)
		return true;
	if (ref_parse(&r, pattern, &ignored) < 0)
		return false;
	if (*r.digest)
		ref_with_digest(&r, r.digest, full);
	else
		ref_name(&r, full);
	if (strcmp(full, name) == 0)
		return true;
	/* A repository without a tag stands for all of its names. */
	size_t len = strlen(r.host) + 1 + strlen(r.path);
	return !strchr(pattern, '@') && strcmp(r.tag, "latest") == 0 &&
	       !(strlen(pattern) > 7 && strcmp(pattern + strlen(pattern) - 7, ":latest") == 0) &&
	       strncmp(full, name, len) == 0 && (name[len] == ':' || name[len] == '@');
}

static bool any_matches(const char *pattern, const json_t *names)
{
	size_t i;
	const json_t *name;
	json_array_foreach (names, i, name)
		if (name_matches(pattern, json_string_value(name)))
			return true;
	return false;
}

static bool is_wanted(const struct listing *l, const json_t *row)
{
	const char *id = json_string_value(json_object_get(row, "id")) + 7;
	const json_t *tags = json_object_get(row, "repo_tags");
	if (ls_dangling && json_array_size(tags) > 0)
		return false;
	for (int i = 0; i < l->n_patterns; i++) {
		const char *p = l->patterns[i];
		const char *hex = strncmp(p, "sha256:", 7) == 0 ? p + 7 : p;
		if (any_matches(p, tags) || any_matches(p, json_object_get(row, "repo_digests")) ||
		    (strlen(hex) >= 4 && strncmp(id, hex, strlen(hex)) == 0))
			return true;
	}
	return l->n_patterns == 0;
}

static int add_image(void *arg, const char *id, struct err *e)
{
	struct listing *l = arg;
	struct err why;
	AUTO_IMAGE struct image img = {.meta = NULL};
	(void)e;
	if (image_open(&l->c->st, id, false, &img, &why) == 0) {
		AUTO_JSON json_t *row = image_summary(l->c, &img, l->v);
		if (is_wanted(l, row))
			json_array_append(l->rows, row);
	}
	/* One that was removed meanwhile is no news; a damaged one does not hide the others. */
	else if (why.kind != ERR_NOT_FOUND)
		log_warn("%s", why.msg);
	return 0;
}

void print_size(long long n, char out[16])
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
	int id_len = ls_no_trunc ? 64 : 12;
	print_size(jsonx_opt_int(row, "size", 0), size);
	if (end == name)
		printf("%-45s %-20s %.*s %7s\n", "<none>", "<none>", id_len, id + 7, size);
	else
		printf("%-45.*s %-20.*s %.*s %7s\n", (int)(end - name), name, ls_no_trunc ? 80 : 20,
		       end + 1, id_len, id + 7, size);
}

static void print_rows(json_t *row)
{
	size_t i;
	json_t *name, *tags = json_object_get(row, "repo_tags");
	json_t *digests = json_object_get(row, "repo_digests");
	if (ls_quiet) {
		printf("%s\n", jsonx_opt_string(row, "id", ""));
		return;
	}
	json_array_foreach (tags, i, name)
		print_row(row, json_string_value(name));
	if (json_array_size(tags) == 0 || ls_digests) {
		json_array_foreach (digests, i, name)
			print_row(row, json_string_value(name));
	}
	if (json_array_size(tags) + json_array_size(digests) == 0)
		print_row(row, "");
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

int sort_summaries(json_t *rows, struct err *e)
{
	size_t n = json_array_size(rows);
	AUTO_FREE json_t **sorted = calloc(n + 1, sizeof(json_t *));
	if (!sorted)
		return err_set(e, ERR_EXHAUSTED, "no memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_incref(json_array_get(rows, i));
	qsort(sorted, n, sizeof(json_t *), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_set_new(rows, i, sorted[i]);
	return 0;
}

static int print_all(const struct tool_ctx *c, json_t *rows, struct err *e)
{
	size_t i;
	json_t *row;
	if (sort_summaries(rows, e) < 0)
		return -1;
	if (!c->json && !ls_quiet && !ls_format)
		printf("%-45s %-20s %-*s %7s\n", "IMAGE", "TAG/DIGEST", ls_no_trunc ? 64 : 12, "ID",
		       "SIZE");
	json_array_foreach (rows, i, row) {
		if (ls_format) {
			tool_format_print(ls_format, row);
			continue;
		}
		if (!c->json) {
			print_rows(row);
			continue;
		}
		json_dumpf(row, stdout, JSON_COMPACT);
		putchar('\n');
	}
	return 0;
}

int store_ls(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_VIEW struct store_view v = {.names = NULL};
	AUTO_JSON json_t *rows = json_array();
	struct listing l = {.c = c, .v = &v, .patterns = argv, .n_patterns = argc, .rows = rows};
	if (tool_format_check(ls_format, e) < 0 || store_view_read(c, &v, false, e) < 0 ||
	    image_each(&c->st, add_image, &l, e) < 0)
		return -1;
	return print_all(c, rows, e);
}

static json_t *layers_of(const struct tool_ctx *c, const struct image *img)
{
	size_t i;
	json_t *layer, *out = json_array();
	json_array_foreach (json_object_get(img->meta, "layers"), i, layer) {
		const char *id = jsonx_opt_string(layer, "id", "");
		json_int_t bytes, inodes;
		bool there = imgstore_layer_usage(&c->st, id, &bytes, &inodes);
		json_array_append_new(
			out, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "id", id, "diff_id",
				       jsonx_opt_string(layer, "diff_id", ""), "digest",
				       jsonx_opt_string(layer, "digest", ""), "size",
				       jsonx_opt_int(layer, "size", 0), "disk_bytes", bytes,
				       "inodes", inodes, "present", (int)there));
	}
	return out;
}

static int inspect(const struct tool_ctx *c, const char *typed, struct store_view *v, struct err *e)
{
	char id[IMAGE_ID_SIZE];
	AUTO_IMAGE struct image img = {.meta = NULL};
	if (image_resolve(&c->st, typed, id, e) < 0 || image_open(&c->st, id, true, &img, e) < 0)
		return -1;
	AUTO_JSON json_t *doc = image_summary(c, &img, v);
	json_t *users = json_object_get(v->users.by_image, id);
	json_object_set_new(
		doc, "pinned_by",
		imgpin_reasons(c->cfg.pinned_images, v->pins, store_view_names(v, id), id));
	json_object_set_new(doc, "used_by", users ? json_incref(users) : json_array());
	json_object_set_new(doc, "manifest_digest",
			    json_string(jsonx_opt_string(img.meta, "manifest_digest", "")));
	json_object_set_new(doc, "layers", layers_of(c, &img));
	json_object_set(doc, "record", img.meta);
	json_object_set(doc, "config", img.config);
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

int store_inspect(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_VIEW struct store_view v = {.names = NULL};
	char id[IMAGE_ID_SIZE];
	if (store_view_read(c, &v, true, e) < 0)
		return -1;
	/* Nothing is printed when one of them is not there. */
	for (int i = 0; i < argc; i++)
		if (image_resolve(&c->st, argv[i], id, e) < 0)
			return -1;
	for (int i = 0; i < argc; i++)
		if (inspect(c, argv[i], &v, e) < 0)
			return -1;
	return 0;
}
