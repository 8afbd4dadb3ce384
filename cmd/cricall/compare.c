/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

#include "auto.h"
#include "buf.h"
#include "jsonx.h"
#include "redact.h"
#include "state.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_MIN = 4, DEPTH_MAX = 64, TEXT_LIMIT = 64 << 20 };

void ids_init(struct ids *x)
{
	*x = (struct ids){json_object(), json_object(), json_object()};
}

void ids_release(struct ids *x)
{
	json_decref(x->now);
	json_decref(x->made);
	json_decref(x->images);
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

static void learn_id(struct ids *x, const char *old, const char *new)
{
	if (!*old || !*new)
		return;
	json_object_set_new(x->now, old, json_string(new));
	json_object_set_new(x->made, new, json_true());
}

void ids_learn(struct ids *x, const struct cri_method *m, json_t *recorded, json_t *now)
{
	static const char *const given[] = {"pod_sandbox_id", "container_id", NULL};
	static const char *const makers[] = {"RunPodSandbox", "CreateContainer", "RestorePod",
					     NULL};
	const char *old = jsonx_opt_string(recorded, "image_ref", "");
	const char *new = jsonx_opt_string(now, "image_ref", "");
	if (strcmp(m->name, "PullImage") == 0) {
		json_object_set_new(x->images, old, json_true());
		json_object_set_new(x->images, new, json_true());
		/* An image id is the image's; a server that says a digest of the manifest instead
		 * means the same. */
		if (strchr(old, '@') || strchr(new, '@'))
			learn_id(x, old, new);
	}
	for (size_t i = 0; is_one_of(m->name, makers) && given[i]; i++)
		learn_id(x, jsonx_opt_string(recorded, given[i], ""),
			 jsonx_opt_string(now, given[i], ""));
}

static size_t hex_run(const char *s)
{
	return strspn(s, "0123456789abcdef");
}

/* The id that a prefix means; NULL when it means none, or several. */
static const char *by_prefix(const struct ids *x, const char *s)
{
	const char *key, *found = NULL;
	json_t *v;
	json_object_foreach (x->now, key, v) {
		if (strncmp(key, s, strlen(s)) != 0)
			continue;
		if (found)
			return NULL;
		found = json_string_value(v);
	}
	return found;
}

/* The text with each id of the record in it translated, to be freed; NULL = as it is. With `unknown`
 * every other id becomes that. */
static char *translated(const struct ids *x, const char *s, bool translate, const char *unknown)
{
	AUTO_BUF struct buf b = BUF_INIT(TEXT_LIMIT);
	struct err ignored;
	bool changed = false;
	const json_t *whole = translate ? json_object_get(x->now, s) : NULL;
	if (whole)
		return xstrdup(json_string_value(whole));
	for (const char *p = s; *p;) {
		size_t n = hex_run(p);
		const char *put = NULL;
		char id[ID_SIZE];
		/* A digest is the image's, not the server's. */
		if (n == ID_LEN && !(p > s && p[-1] == ':')) {
			snprintf(id, sizeof id, "%.64s", p);
			const char *known = json_string_value(json_object_get(x->now, id));
			bool made = json_object_get(x->made, id);
			put = translate && known ? known : made && !translate ? NULL : unknown;
		}
		changed |= put != NULL;
		n = n ? n : 1;
		(void)(put ? buf_addstr(&b, put, &ignored) : buf_add(&b, p, n, &ignored));
		p += n;
	}
	return changed ? buf_take(&b) : NULL;
}

static bool is_prefix(const char *s)
{
	size_t n = strlen(s);
	return n >= PREFIX_MIN && n < ID_LEN && hex_run(s) == n;
}

static json_t *translate_value(const struct ids *x, const char *key, const json_t *v)
{
	const char *s = json_string_value(v);
	size_t len = strlen(key);
	bool names_id = strcmp(key, "id") == 0 || (len > 3 && strcmp(key + len - 3, "_id") == 0);
	const char *full = names_id && is_prefix(s) ? by_prefix(x, s) : NULL;
	AUTO_FREE char *text = full ? xstrdup(full) : translated(x, s, true, NULL);
	return text ? json_string(text) : NULL;
}

void ids_translate(const struct ids *x, json_t *j)
{
	const char *key;
	void *tmp;
	size_t i;
	json_t *v, *new;
	json_object_foreach_safe (j, tmp, key, v) {
		if (!json_is_string(v))
			ids_translate(x, v);
		else if ((new = translate_value(x, key, v)))
			json_object_set_new(j, key, new);
	}
	json_array_foreach (j, i, v) {
		if (!json_is_string(v))
			ids_translate(x, v);
		else if ((new = translate_value(x, "", v)))
			json_array_set_new(j, i, new);
	}
}

/* ---- plain answers ---- */

struct plain {
	const struct ids *ids;
	bool is_recorded, measures;
};

static bool is_address(const char *s)
{
	unsigned char raw[16];
	return inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1;
}

static json_t *plain_string(const struct plain *p, const char *key, const char *s)
{
	if (*s && (strcmp(key, "ip") == 0 || is_address(s)))
		return json_string("<address>");
	if (strcmp(key, "url") == 0) {
		AUTO_FREE char *scheme = xasprintf("%.*s…", (int)strcspn(s, ":"), s);
		return json_string(scheme);
	}
	AUTO_FREE char *text = translated(p->ids, s, p->is_recorded, "<id>");
	return json_string(text ? text : s);
}

/* A member that counts for nothing: text for people, what is the implementation's own, and its name. */
static bool is_ignored(const struct plain *p, const char *key)
{
	static const char *const own[] = {"info", "message", "runtime_name", "runtime_version",
					  NULL};
	return is_one_of(key, own) || (p->measures && strcmp(key, "mountpoint") == 0);
}

static json_t *plain(const struct plain *p, const char *key, json_t *v, int depth);

static json_t *plain_object(const struct plain *p, json_t *j, int depth)
{
	static const char *const times[] = {"created_at", "started_at", "finished_at", "timestamp",
					    NULL};
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach (j, key, v) {
		if (is_ignored(p, key))
			continue;
		if (is_one_of(key, times) && !json_is_object(v))
			json_object_set_new(out, key, json_string("<time>"));
		else if (p->measures && json_is_number(v))
			continue;
		else
			json_object_set_new(out, key, plain(p, key, v, depth + 1));
	}
	return out;
}

/* Whose id a list's item has; NULL = it has none. */
static const char *id_of(json_t *item)
{
	json_t *in = json_object_get(item, "attributes");
	const char *id = jsonx_opt_string(in ? in : item, "id", NULL);
	return id ? id : jsonx_opt_string(item, "pod_sandbox_id", NULL);
}

struct sorting {
	char *key;
	json_t *item;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct sorting *)a)->key, ((const struct sorting *)b)->key);
}

/* Lists of things have no order. By id first: what was redacted must not change theirs. */
static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	struct sorting *all = xcalloc(n + 1, sizeof *all);
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++) {
		all[i].item = json_array_get(list, i);
		const char *id = id_of(all[i].item);
		AUTO_FREE char *text = json_dumps(all[i].item, JSON_SORT_KEYS | JSON_ENCODE_ANY);
		all[i].key = xasprintf("%s %s", id ? id : "", text ? text : "");
	}
	qsort(all, n, sizeof *all, by_key);
	for (size_t i = 0; i < n; i++) {
		json_array_append(out, all[i].item);
		free(all[i].key);
	}
	free(all);
	json_decref(list);
	return out;
}

static json_t *plain(const struct plain *p, const char *key, json_t *v, int depth)
{
	static const char *const unordered[] = {"conditions",          "runtime_handlers",
						"containers_statuses", "repo_tags",
						"repo_digests",        NULL};
	size_t i;
	json_t *item;
	if (depth > DEPTH_MAX)
		return json_null();
	if (json_is_string(v))
		return plain_string(p, key, json_string_value(v));
	if (json_is_object(v))
		return plain_object(p, v, depth);
	if (!json_is_array(v))
		return json_incref(v);
	json_t *out = json_array();
	json_array_foreach (v, i, item)
		json_array_append_new(out, plain(p, key, item, depth + 1));
	return is_one_of(key, unordered) ? sorted(out) : out;
}

/* Was the item of a list made by a call of this replay? */
static bool is_ours(const struct ids *x, json_t *item, bool is_recorded)
{
	const char *id = id_of(item);
	return !id || json_object_get(x->images, id) ||
	       json_object_get(is_recorded ? x->now : x->made, id);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);
	return n >= k && strcmp(s + n - k, end) == 0;
}

/* The items of a list, of all messages of a stream, in one. */
static void gather(const struct plain *p, const struct cri_method *m, json_t *message, json_t *all)
{
	const char *key;
	json_t *v, *item;
	size_t i;
	bool is_list = strncmp(m->name, "List", 4) == 0 || strncmp(m->name, "Stream", 6) == 0;
	AUTO_JSON json_t *rest = json_object();
	json_object_foreach (message, key, v) {
		if (!is_list || !json_is_array(v)) {
			json_object_set(rest, key, v);
			continue;
		}
		json_t *list = json_object_get(all, key);
		if (!list)
			json_object_set_new(all, key, list = json_array());
		json_array_foreach (v, i, item)
			if (is_ours(p->ids, item, p->is_recorded))
				json_array_append_new(list, plain(p, key, item, 0));
	}
	AUTO_JSON json_t *others = plain(p, "", rest, 0);
	json_object_update(all, others);
	void *tmp;
	json_object_foreach_safe (all, tmp, key, v)
		if (is_list && json_is_array(v))
			json_object_set_new(all, key, sorted(json_incref(v)));
}

json_t *answer_plain(const struct ids *x, const struct cri_method *m, const json_t *messages,
		     bool is_recorded)
{
	struct plain p = {x, is_recorded,
			  ends_with(m->name, "Stats") || ends_with(m->name, "Metrics") ||
				  ends_with(m->name, "FsInfo")};
	json_t *all = json_object(), *message;
	size_t i;
	json_array_foreach ((json_t *)messages, i, message)
		gather(&p, m, message, all);
	/* An empty list is none. */
	const char *key;
	void *tmp;
	json_t *v;
	json_object_foreach_safe (all, tmp, key, v)
		if (json_is_array(v) && json_array_size(v) == 0)
			json_object_del(all, key);
	return all;
}

static bool equals_redacted(const json_t *recorded, const json_t *now)
{
	return json_is_string(recorded) && json_is_string(now) &&
	       strstr(json_string_value(recorded), REDACTED);
}

struct diff {
	json_t *list;
	size_t max;
	int depth;
};

static void differ(struct diff *d, const char *path, json_t *a, json_t *b)
{
	if (json_array_size(d->list) >= d->max)
		return;
	json_t *one = json_pack("{s:s}", "path", path);
	if (!one)
		return;
	json_object_set(one, "recorded", a ? a : json_null());
	json_object_set(one, "now", b ? b : json_null());
	json_array_append_new(d->list, one);
}

static void compare(struct diff *d, const char *path, json_t *a, json_t *b);

static void compare_objects(struct diff *d, const char *path, json_t *a, json_t *b)
{
	const char *key, *dot = *path ? "." : "";
	json_t *v;
	json_object_foreach (a, key, v) {
		AUTO_FREE char *at = xasprintf("%s%s%s", path, dot, key);
		compare(d, at, v, json_object_get(b, key));
	}
	json_object_foreach (b, key, v) {
		AUTO_FREE char *at = xasprintf("%s%s%s", path, dot, key);
		if (!json_object_get(a, key))
			differ(d, at, NULL, v);
	}
}

static void compare(struct diff *d, const char *path, json_t *a, json_t *b)
{
	if (json_equal(a, b) || equals_redacted(a, b) || d->depth > DEPTH_MAX)
		return;
	d->depth++;
	if (json_is_object(a) && json_is_object(b)) {
		compare_objects(d, path, a, b);
	} else if (json_is_array(a) && json_is_array(b) &&
		   json_array_size(a) == json_array_size(b)) {
		for (size_t i = 0; i < json_array_size(a); i++) {
			AUTO_FREE char *at = xasprintf("%s[%zu]", path, i);
			compare(d, at, json_array_get(a, i), json_array_get(b, i));
		}
	} else {
		differ(d, path, a, b);
	}
	d->depth--;
}

void answer_compare(const json_t *recorded, const json_t *now, json_t *differences, size_t max)
{
	struct diff d = {differences, max, 0};
	compare(&d, "", (json_t *)recorded, (json_t *)now);
}
