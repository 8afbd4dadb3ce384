/* SPDX-License-Identifier: Apache-2.0 */
/* A PodSandboxConfig from anywhere: read, judged by podnet, written again. What passes must be safe
 * to put into CNI_ARGS, resolv.conf and below /proc/sys. */
#include "cmd/podnet/capabilities.c"
#include "cmd/podnet/spec.c"
#include "cmd/podnet/sysctl.c"
#include "pbjson.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_passed(const struct pod_spec *s)
{
	const char *path;
	json_t *value;
	size_t separators = 0;
	for (const char *c = s->k8s_args; *c; c++)
		separators += *c == ';' || *c == '=';
	if (separators != 7 || !*s->hostname || strchr(s->hostname, '\n'))
		abort();
	json_object_foreach (s->sysctls, path, value)
		if (scope_of(path) == SCOPE_NONE || strstr(path, "..") || path[0] == '/')
			abort();
	/* Each line starts with a keyword of ours. */
	for (const char *l = s->resolv; l && *l; l = strchr(l, '\n') + 1)
		if (strncmp(l, "search ", 7) && strncmp(l, "nameserver ", 11) &&
		    strncmp(l, "options ", 8))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	AUTO_JSON json_t *defaults = json_object();
	struct config cfg = {.default_sysctls = defaults};
	AUTO_POD_SPEC struct pod_spec s = {0};
	AUTO_PB ProtobufCMessage *m = pbjson_parse(&runtime__v1__pod_sandbox_config__descriptor,
						   (const char *)data, size, "fuzz", &e);
	if (m && pod_spec_of(&s, (Runtime__V1__PodSandboxConfig *)m, &cfg, &e) == 0)
		check_passed(&s);
	return 0;
}
