/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_EDIT_H
#define CRISP_EDIT_H
/* What changes a config.json after the request and the image have had their say: annotations, CDI
 * devices, hooks, the handler's patch. In that order, so that a patch has the last word. */
#include "bundle.h"

/* Each changes *spec in place. */
int edit_spec(struct bundle *b, json_t **spec, struct err *e);

/* hooks.c: the hooks of hooks_dir whose conditions hold. */
int hooks_apply(const struct bundle *b, json_t *spec, struct err *e);
/* A file of hooks_dir, checked: {"hook", "when", "stages"}; a new object. */
json_t *hook_file_parse(json_t *j, const char *file, struct err *e);
/* Do its conditions hold? annotations: object of strings; command: the first word. */
int hook_matches(const json_t *file, const json_t *annotations, const char *command,
		 bool has_bind_mounts, const char *name, struct err *e);
/* Append one to the stage's list. */
void hook_add(json_t *spec, const char *stage, json_t *hook);

/* cdi.c: the devices that the request and its annotations name. */
int cdi_apply(struct bundle *b, json_t *spec, struct err *e);

/* cdi_spec.c: a CDI specification, JSON or YAML by its name, checked; a new object. */
json_t *cdi_spec_parse(const char *text, size_t len, const char *file, struct err *e);
bool cdi_is_qualified(const char *name); /* vendor/class=device */

/* can.c: refuse what the runtime is known not to do. */
int can_check(const struct bundle *b, const json_t *spec, struct err *e);

/* RFC 7386; takes the reference to target and returns a new one. */
json_t *merge_patch(json_t *target, json_t *patch);

/* "/a//b/./c/" -> "/a/b/c", a new string (mounts.c); outer mounts before inner ones. */
char *mount_tidy(const char *path);
void mounts_sort(json_t *list);
#endif
