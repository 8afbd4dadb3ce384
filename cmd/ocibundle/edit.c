/* SPDX-License-Identifier: Apache-2.0 */
#include "edit.h"

#include "auto.h"
#include "buf.h"
#include "flat.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

json_t *merge_patch(json_t *target, json_t *patch)
{
	const char *key;
	json_t *v;
	if (!json_is_object(patch)) {
		json_decref(target);
		return json_incref(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach (patch, key, v) {
		if (json_is_null(v)) {
			json_object_del(target, key);
			continue;
		}
		json_t *old = json_object_get(target, key);
		json_object_set_new(target, key, merge_patch(old ? json_incref(old) : NULL, v));
	}
	return target;
}

static bool is_allowed(const struct handler *h, const char *key)
{
	size_t i;
	json_t *pattern;
	json_array_foreach (h->allowed_annotations, i, pattern)
		if (fnmatch(json_string_value(pattern), key, 0) == 0)
			return true;
	return false;
}

/* Ours name the container to whoever looks at a runtime's state: nobody else sets them. */
static bool is_ours(const char *key)
{
	return strncmp(key, "crisp.", 6) == 0;
}

static void set_annotation(const struct bundle *b, json_t *out, const char *key, const char *value,
			   const char *source)
{
	if (is_ours(key))
		return;
	json_object_set_new(out, key, json_string(value));
	why_at(b, source, "annotations[%s]", key);
	/* A key without a dot is a plain member (flat.h). */
	why_at(b, source, "annotations.%s", key);
}

/* {pod} and the like in a value of the handler's. */
static char *fill_in(const struct bundle *b, const char *text, struct err *e)
{
	const Runtime__V1__PodSandboxMetadata *pod = b->pod->metadata;
	const struct {
		const char *word, *value;
	} words[] = {
		{"{pod}", b->pod_rec.id},
		{"{pod_name}", pod ? pod->name : ""},
		{"{pod_namespace}", pod ? pod->namespace_ : ""},
		{"{pod_uid}", pod ? pod->uid : ""},
		{"{container}", b->ctr->metadata ? b->ctr->metadata->name : ""},
		{"{image}", b->ctr->image ? b->ctr->image->image : ""},
	};
	AUTO_BUF struct buf out = BUF_INIT(64 << 10);
	while (*text) {
		size_t i = 0;
		while (i < ARRAY_LEN(words) &&
		       strncmp(text, words[i].word, strlen(words[i].word)) != 0)
			i++;
		bool found = i < ARRAY_LEN(words);
		if ((found ? buf_addstr(&out, words[i].value, e) : buf_add(&out, text, 1, e)) < 0)
			return NULL;
		text += found ? strlen(words[i].word) : 1;
	}
	return buf_take(&out);
}

/* What tells the runtime the pod's own container from the others. */
static int add_grouping(const struct bundle *b, json_t *out, struct err *e)
{
	const struct handler *h = b->handler;
	const char *which = b->sandbox ? "sandbox_annotations" : "container_annotations", *key;
	AUTO_FREE char *from = xasprintf("handler %s %s", h->name, which);
	json_t *v;
	json_object_foreach (b->sandbox ? h->sandbox_annotations : h->container_annotations, key,
			     v) {
		AUTO_FREE char *value = fill_in(b, json_string_value(v), e);
		if (!value)
			return -1;
		set_annotation(b, out, key, value, from);
	}
	return 0;
}

static void add_annotations(const struct bundle *b, json_t *spec)
{
	json_t *out = json_object_get(spec, "annotations");
	const struct handler *h = b->handler;
	AUTO_FREE char *from = xasprintf("handler %s default_annotations", h->name);
	const char *key;
	json_t *v;
	json_object_foreach (h->default_annotations, key, v)
		set_annotation(b, out, key, json_string_value(v), from);
	if (!h->allowed_annotations)
		return;
	for (size_t i = 0; i < b->pod->n_annotations; i++)
		if (is_allowed(h, b->pod->annotations[i]->key))
			set_annotation(b, out, b->pod->annotations[i]->key,
				       b->pod->annotations[i]->value, "pod annotations");
	for (size_t i = 0; i < b->ctr->n_annotations; i++)
		if (is_allowed(h, b->ctr->annotations[i]->key))
			set_annotation(b, out, b->ctr->annotations[i]->key,
				       b->ctr->annotations[i]->value, "request annotations");
}

static void add_handler_hooks(const struct bundle *b, json_t *spec)
{
	const char *stage;
	size_t i;
	json_t *list, *hook;
	json_object_foreach (b->handler->hooks, stage, list)
		json_array_foreach (list, i, hook)
			hook_add(spec, stage, hook);
}

static int apply_patch(const struct bundle *b, json_t **spec, struct err *e)
{
	const struct handler *h = b->handler;
	AUTO_FREE char *source = xasprintf("handler %s base_spec_patch", h->name);
	if (!h->patch)
		return 0;
	AUTO_JSON json_t *before = json_deep_copy(*spec);
	AUTO_JSON json_t *patch = json_deep_copy(h->patch);
	*spec = merge_patch(*spec, patch);
	if (!json_is_object(json_object_get(*spec, "process")) ||
	    !json_is_object(json_object_get(*spec, "linux")) ||
	    !json_is_object(json_object_get(*spec, "root")))
		return err_set(e, ERR_BAD_INPUT,
			       "%s: base_spec_patch: takes process, linux or root away", h->file);
	why_changes(b, before, *spec, source);
	return 0;
}

int edit_spec(struct bundle *b, json_t **spec, struct err *e)
{
	AUTO_FREE char *source = xasprintf("handler %s hooks", b->handler->name);
	add_annotations(b, *spec);
	if (add_grouping(b, json_object_get(*spec, "annotations"), e) < 0)
		return -1;
	if (cdi_apply(b, *spec, e) < 0 || hooks_apply(b, *spec, e) < 0)
		return -1;
	if (b->handler->hooks) {
		AUTO_JSON json_t *before = json_deep_copy(*spec);
		add_handler_hooks(b, *spec);
		why_changes(b, before, *spec, source);
	}
	return apply_patch(b, spec, e);
}
