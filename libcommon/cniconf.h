/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CNICONF_H
#define CRISP_CNICONF_H
/* Which network configuration counts: podnet attaches pods by it, crispd tells in Status whether
 * there is one. Pure: JSON in, JSON out, everything in it hostile.
 *
 * A network is handled as one list, whatever file it came from:
 *
 *	{ "cniVersion": "1.0.0", "name": "net", "plugins": [ {"type": "bridge", …}, … ] }
 *
 * cniVersion is the newest that the file offers and we know (0.3.1 to 1.1.0); "cniVersions" are all
 * of those when there are several, oldest first. "disableCheck" and "disableGC" are kept. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

enum { CNI_PLUGINS_MAX = 32 };

/* The list in a parsed *.conflist, *.conf or *.json; `what` names it in errors. New reference. */
json_t *cni_list_of(json_t *doc, const char *what, struct err *e);
/* The network to use: the one called `want`, or for "" that of the first *.conflist, *.conf or
 * *.json of dir in lexical order. *file gets its path. ERR_UNAVAILABLE when there is none or it is
 * unusable. New reference. */
json_t *cni_conf_find(const char *dir, const char *want, char **file, struct err *e);

/* A plugin's path in the first of the directories (strings) that has it, to be freed.
 * ERR_UNAVAILABLE, with the places that were looked at. */
char *cni_plugin_find(json_t *dirs, const char *type, struct err *e);
/* Whether all plugins of the list are installed. */
int cni_plugins_present(json_t *list, json_t *dirs, struct err *e);

/* True if version a is b or newer; both are known versions. */
bool cni_version_at_least(const char *a, const char *b);
#endif
