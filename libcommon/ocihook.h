/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_OCIHOOK_H
#define CRISP_OCIHOOK_H
/* Hooks as the OCI runtime specification has them: programs that the runtime runs at a stage of a
 * container's life. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

/* Seconds for a hook that names no timeout; the runtime kills one that takes longer. */
enum { OCIHOOK_TIMEOUT = 30, OCIHOOK_TIMEOUT_MAX = 3600 };

/* The stages, in the order of a life; NULL ends. */
extern const char *const ocihook_stages[];
bool ocihook_is_stage(const char *name);
/* A hook {"path", "args", "env", "timeout"} from a file that `what` names: checked, with a timeout.
 * A new object, or NULL. */
json_t *ocihook_read(json_t *hook, const char *what, struct err *e);
/* {"STAGE": [hook, ...], ...}, each checked. */
json_t *ocihook_read_stages(json_t *stages, const char *what, struct err *e);
#endif
