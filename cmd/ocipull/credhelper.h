/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_CREDHELPER_H
#define OCIPULL_CREDHELPER_H
/* docker-credential-NAME get: an outside program that is told a server's name on its stdin and
 * answers credentials. It is found in PATH and gets HOME and PATH, nothing else. */
#include "auth.h"
#include "engine.h"

/* All NULL in *a when it knows of none. Waits, at most so many seconds. */
int credhelper_get(struct engine *en, const char *name, const char *host, long seconds,
		   struct auth *a, struct err *e);
#endif
