/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_HANDLERS_H
#define CTRRUN_HANDLERS_H
/* The verb handlers, and how a runtime's own words become "can" of handler.h. */
#include "tool.h"

#include <jansson.h>

/* From the Features structure of the OCI runtime specification. */
json_t *handler_can_by_features(json_t *features);
/* From the first word and the whole text of --version; NULL for a runtime that we do not know. */
json_t *handler_can_by_version(const char *name, const char *version);
int verb_handlers(struct tool_ctx *c, int argc, char **argv, struct err *e);
extern const struct opt handlers_opts[];
#endif
