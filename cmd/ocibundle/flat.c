/* SPDX-License-Identifier: Apache-2.0 */
#include "flat.h"

#include "auto.h"
#include "bundle.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 32 };

struct walk {
	json_t *out;
	bool fold;
	int depth;
};

/* Lists whose members are found by a member of theirs, and lists that are sets of words. */
static const struct {
	const char *list, *key;
} keyed[] = {{"mounts", "destination"},
	     {"namespaces", "type"},
	     {"rlimits", "type"},
	     {"hugepageLimits", "pageSize"}};
static const char *const sets[] = {
	"bounding", "effective", "permitted",     "inheritable",   "ambient",
	"options",  "names",     "architectures", "readonlyPaths", "maskedPaths",
};

static bool is_set(const char *list)
{
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		if (strcmp(sets[i], list) == 0)
			return true;
	return false;
}

static const char *key_of(const char *list, const json_t *item)
{
	/* linux.devices and linux.resources.devices: only the first have paths. */
	if (strcmp(list, "devices") == 0)
		return jsonx_opt_string((json_t *)item, "path", NULL);
	for (size_t i = 0; i < ARRAY_LEN(keyed); i++)
		if (strcmp(keyed[i].list, list) == 0)
			return jsonx_opt_string((json_t *)item, keyed[i].key, NULL);
	return NULL;
}

static void walk_value(struct walk *w, const char *path, const char *name, json_t *v);

static void put(struct walk *w, const char *path, json_t *v)
{
	AUTO_FREE char *again = NULL;
	for (int n = 2; json_object_get(w->out, again ? again : path); n++) {
		free(again);
		again = xasprintf("%s#%d", path, n);
	}
	json_object_set(w->out, again ? again : path, v);
}

static void walk_item(struct walk *w, const char *path, const char *list, size_t i, json_t *item)
{
	const char *s = json_string_value(item), *eq = s ? strchr(s, '=') : NULL;
	AUTO_FREE char *at = NULL;
	if (eq && strcmp(list, "env") == 0) {
		AUTO_JSON json_t *value = json_string(eq + 1);
		at = xasprintf("%s[%.*s]", path, (int)(eq - s), s);
		put(w, at, value);
		return;
	}
	const char *key = s && is_set(list) ? s : json_is_object(item) ? key_of(list, item) : NULL;
	if (key)
		at = xasprintf("%s[%s]", path, key);
	else if (json_is_integer(item) && strcmp(list, "additionalGids") == 0)
		at = xasprintf("%s[%lld]", path, (long long)json_integer_value(item));
	else
		at = xasprintf("%s[%zu]", path, i);
	walk_value(w, at, "", item);
}

static bool is_plain_key(const char *key)
{
	return *key && strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_-") == strlen(key);
}

static void walk_value(struct walk *w, const char *path, const char *name, json_t *v)
{
	const char *key;
	size_t i;
	json_t *item;
	bool folded = w->fold && strcmp(name, "names") == 0;
	if (w->depth >= DEPTH_MAX || folded ||
	    (json_object_size(v) == 0 && json_array_size(v) == 0)) {
		put(w, path, v);
		return;
	}
	w->depth++;
	json_object_foreach (v, key, item) {
		AUTO_FREE char *at = is_plain_key(key)
					     ? xasprintf("%s%s%s", path, *path ? "." : "", key)
					     : xasprintf("%s[%s]", path, key);
		walk_value(w, at, key, item);
	}
	json_array_foreach (v, i, item)
		walk_item(w, path, name, i, item);
	w->depth--;
}

json_t *flat_config(json_t *spec, bool fold)
{
	struct walk w = {json_object(), fold, 0};
	walk_value(&w, "", "", spec);
	return w.out;
}

static void put_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

void flat_print(const char *path, const json_t *const *values, size_t n, const char *last)
{
	put_text(path);
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *text =
			values[i] ? json_dumps(values[i], JSON_ENCODE_ANY | JSON_COMPACT)
				  : xstrdup("-");
		putchar('\t');
		put_text(text ? text : "?");
	}
	if (last) {
		putchar('\t');
		put_text(last);
	}
	putchar('\n');
}

/* A source that does not fit is told as the default: the text is for people. */
static void note(const struct bundle *b, const char *path, const char *source)
{
	struct err ignored;
	if (b->why && !strpbrk(path, "\t\n") && !strpbrk(source, "\t\n"))
		(void)buf_addf(b->why, &ignored, "%s\t%s\n", path, source);
}

void why(const struct bundle *b, const char *path, const char *source, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, source);
	vsnprintf(text, sizeof text, source, ap);
	va_end(ap);
	note(b, path, text);
}

void why_at(const struct bundle *b, const char *source, const char *path, ...)
{
	char text[4400];
	va_list ap;
	va_start(ap, path);
	int n = vsnprintf(text, sizeof text, path, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof text)
		note(b, text, source);
}

char *why_config_text(const struct bundle *b, const char *key)
{
	const char *file = json_string_value(json_object_get(b->cfg->sources, key));
	return file ? xasprintf("configuration %s (%s)", key, file)
		    : xasprintf("default (%s)", key);
}

void why_config(const struct bundle *b, const char *path, const char *key)
{
	AUTO_FREE char *source = why_config_text(b, key);
	why(b, path, "%s", source);
}

void why_changes(const struct bundle *b, json_t *before, json_t *after, const char *source)
{
	AUTO_JSON json_t *old = flat_config(before, true);
	AUTO_JSON json_t *new = flat_config(after, true);
	const char *path;
	json_t *v;
	json_object_foreach (new, path, v) {
		json_t *was = json_object_get(old, path);
		if (!was || !json_equal(was, v))
			note(b, path, source);
	}
}

const char *why_find(const char *text, size_t text_len, const char *path, size_t *len)
{
	static const char none[] = "default";
	const char *best = none, *end = text + text_len;
	size_t best_path = 0;
	*len = strlen(none);
	for (const char *line = text, *next; line && line < end; line = next) {
		const char *nl = memchr(line, '\n', (size_t)(end - line));
		const char *tab = nl ? memchr(line, '\t', (size_t)(nl - line)) : NULL;
		next = nl ? nl + 1 : end;
		size_t n = tab ? (size_t)(tab - line) : 0;
		if (!tab || n < best_path || strncmp(line, path, n) != 0 || !strchr(".[#", path[n]))
			continue;
		best = tab + 1;
		best_path = n;
		*len = (size_t)(nl - tab - 1);
	}
	return best;
}
