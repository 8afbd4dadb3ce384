/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest, YAML or JSON, through the whole conversion but the writing of files. What comes out of a
 * hostile one must stay within the pod's directory. */
#include "cmd/podmanifest/podmanifest.h"

#include "auto.h"
#include "jsonx.h"

#include <stdlib.h>
#include <string.h>

static const char dir[] = "/nowhere/pod";

static void check_container(json_t *config)
{
	size_t i;
	json_t *m;
	if (strstr(str(config, "log_path"), "..") || str(config, "log_path")[0] == '/')
		abort();
	json_array_foreach (json_object_get(config, "mounts"), i, m) {
		const char *host = str(m, "host_path");
		/* A hostPath volume may be anything that is absolute. */
		if (*host && *host != '/')
			abort();
		if (strncmp(host, dir, strlen(dir)) == 0 && strstr(host, "/../"))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options options = {.cluster_domain = "cluster.local",
				  .resolv_conf = "/etc/resolv.conf",
				  .log_dir = "/logs",
				  .seccomp_dir = "/seccomp",
				  .volumes_dir = dir,
				  .node_memory = "1Gi",
				  .node_cpu = "2",
				  .volumes = {{"data=/data"}, 1}};
	options.no_service_account = size & 1;
	static char manager[] = "cgroupfs";
	struct config cfg = {.cgroup_manager = manager};
	struct err e = {.msg = ""};
	size_t i;
	json_t *c;
	AUTO_PM struct pm p = {.o = &options, .cfg = &cfg, .what = "f"};
	AUTO_JSON json_t *out = manifest_convert(&p, (const char *)data, size, &e);
	if (!out && !*e.msg)
		abort();
	json_array_foreach (json_object_get(out, "containers"), i, c)
		check_container(json_object_get(c, "config"));
	return 0;
}
