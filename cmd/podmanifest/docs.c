/* SPDX-License-Identifier: Apache-2.0 */
/* The documents of a manifest: which of them is the pod, or what a pod is made of. */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"
#include "yamljson.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DOCUMENTS_MAX = 1000 };

/* kubectl -o json gives one object; everything else is YAML. */
static json_t *read_documents(const struct pm *p, const char *text, size_t len, struct err *e)
{
	size_t i = 0;
	while (i < len && isspace((unsigned char)text[i]))
		i++;
	if (i == len || (text[i] != '{' && text[i] != '['))
		return yaml_to_json_all(text, len, p->what, e);
	json_t *one = jsonx_parse(text, len, p->what, e);
	if (!one)
		return NULL;
	return json_is_array(one) ? one : json_pack("[o]", one);
}

/* Does --pod name it: NAME or KIND/NAME? */
static bool is_wanted(const struct pm *p, const char *kind, const char *name)
{
	const char *want = p->o->pod, *slash = want ? strchr(want, '/') : NULL;
	if (!want)
		return true;
	if (slash &&
	    (strlen(kind) != (size_t)(slash - want) || strncasecmp(kind, want, strlen(kind)) != 0))
		return false;
	return strcmp(name, slash ? slash + 1 : want) == 0;
}

struct found {
	json_t *workload; /* borrowed */
	char names[400];
	int count;
};

static int look_at(struct pm *p, json_t *doc, const char *path, struct found *f, struct err *e)
{
	const char *kind = str(doc, "kind");
	const char *name = str(json_object_get(doc, "metadata"), "name");
	if (!json_is_object(doc))
		return err_set(e, ERR_BAD_INPUT, "%s: %s: expected object, found %s", p->what, path,
			       jsonx_type_name(json_typeof(doc)));
	if (strcmp(kind, "ConfigMap") == 0 || strcmp(kind, "Secret") == 0)
		return sources_add_document(p, doc, path, e);
	if (!template_is_workload(kind)) {
		if (!*kind)
			return err_set(e, ERR_BAD_INPUT, "%s: %s.kind: missing", p->what, path);
		/* Not part of any pod: it takes nothing from the one that is made. */
		log_info("%s: %s: %.60s %.80s is not part of a pod", p->what, path, kind, name);
		return 0;
	}
	size_t used = strlen(f->names);
	snprintf(f->names + used, sizeof f->names - used, "%s%.40s/%.80s", used ? ", " : "", kind,
		 name);
	if (!is_wanted(p, kind, name))
		return 0;
	f->workload = f->count++ ? f->workload : doc;
	return 0;
}

static int look_at_all(struct pm *p, json_t *docs, const char *at, int depth, struct found *f,
		       struct err *e)
{
	size_t i;
	json_t *doc;
	if (json_array_size(docs) > DOCUMENTS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: more than %d documents", p->what,
			       DOCUMENTS_MAX);
	json_array_foreach (docs, i, doc) {
		AUTO_FREE char *path = xasprintf("%s[%zu]", at, i);
		const char *kind = str(doc, "kind");
		json_t *items = json_object_get(doc, "items");
		bool list = json_is_array(items) && strlen(kind) >= 4 &&
			    strcmp(kind + strlen(kind) - 4, "List") == 0;
		if (list && depth > 0)
			return err_set(e, ERR_BAD_INPUT, "%s: %s: a list within a list", p->what,
				       path);
		AUTO_FREE char *inner = xasprintf("%s.items", path);
		if (list ? look_at_all(p, items, inner, depth + 1, f, e) < 0
			 : look_at(p, doc, path, f, e) < 0)
			return -1;
	}
	return 0;
}

int docs_load(struct pm *p, const char *text, size_t len, struct err *e)
{
	struct found f = {.workload = NULL};
	AUTO_JSON json_t *docs = read_documents(p, text, len, e);
	if (!docs || look_at_all(p, docs, "document", 0, &f, e) < 0)
		return -1;
	if (!*f.names)
		return err_set(e, ERR_NOT_FOUND,
			       "%s: no pod, and nothing that has a pod's template", p->what);
	if (f.count == 0)
		return err_set(e, ERR_NOT_FOUND, "%s: --pod %.80s: there are %s", p->what,
			       p->o->pod, f.names);
	if (f.count > 1)
		return err_set(e, ERR_BAD_INPUT, "%s: --pod must say which: %s", p->what, f.names);
	p->pod = template_pod(p, f.workload, e);
	if (!p->pod)
		return -1;
	p->meta = json_object_get(p->pod, "metadata");
	p->spec = json_object_get(p->pod, "spec");
	return 0;
}
