/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_CNI_H
#define PODNET_CNI_H
/* The Container Network Interface, versions 0.3.1 to 1.1.0, without a library. Which network it is
 * is cniconf.h's. cni_input.c and cni_result.c are pure: JSON in, JSON out, everything in it
 * hostile. cni_exec.c runs one plugin. What an attachment needs at its end is in network.c. */
#include "cniconf.h"
#include "config.h"
#include "err.h"

#include <jansson.h>

enum { CNI_IPS_MAX = 64 };

/* The configuration for the plugin at `index`: its own object with name, cniVersion, the members of
 * `runtime` that its capabilities ask for, and prev as prevResult (NULL = none). New reference. */
json_t *cni_plugin_input(json_t *list, size_t index, json_t *runtime, json_t *prev);

/* A plugin's standard output when it says it has succeeded: an object that is no error. New
 * reference. */
json_t *cni_result_parse(const char *out, size_t len, struct err *e);
/* The pod's addresses in a result, without prefix lengths, in the plugin's order: those that belong
 * to `ifname` inside a sandbox, or to no interface at all. New array of strings. */
json_t *cni_result_ips(json_t *result, const char *ifname, struct err *e);
/* The same result in another version of 0.3.1 to 1.1.0. New reference. */
json_t *cni_result_convert(json_t *result, const char *version);
/* One line from a failed plugin's stdout (the error object of the specification) or else from the
 * end of its stderr. *code gets the error code, 0 if there is none. */
void cni_error_text(const char *out, size_t out_len, const char *errout, size_t err_len, char *text,
		    size_t size, json_int_t *code);

/* The environment of a call. */
struct cni_env {
	const struct config *cfg; /* plugin_dirs, network_timeout */
	const char *container_id; /* NULL: about no attachment (VERSION, STATUS, GC) */
	const char *netns;        /* "" when it is gone */
	const char *ifname;
	const char *args; /* CNI_ARGS */
	int lock;         /* inherited by the plugin and whatever it starts; -1 = none */
};

/* Run the plugin of `input` for `command`. *result (may be NULL) gets the parsed answer of an ADD.
 * The error names plugin, command and network; ERR_UNAVAILABLE when the plugin is missing or asks
 * to try again, ERR_TIMEOUT when it did not end in time. */
int cni_exec(const struct cni_env *env, const char *command, json_t *input, json_t **result,
	     struct err *e);
/* Settle a list that offers several versions (cniconf.h) on the newest that each of its plugins
 * has. `run` is the run directory, where their answers are kept. */
int cni_negotiate(const struct config *cfg, int run, json_t *list, struct err *e);
#endif
