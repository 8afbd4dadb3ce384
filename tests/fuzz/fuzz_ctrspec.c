/* SPDX-License-Identifier: Apache-2.0 */
/* A ContainerConfig from anywhere, and behind a zero byte the configuration of its image: read, judged,
 * and made into a config.json in an empty root file system. What is refused has a reason; what is not
 * must be valid UTF-8, stay inside, and come out the same twice. */
#include "cmd/ocibundle/bundle.h"

#include "auto.h"
#include "jsonx.h"
#include "pbjson.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_paths(const json_t *spec)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(spec, "mounts"), i, m) {
		const char *at = jsonx_opt_string(m, "destination", "");
		if (at[0] != '/' || !at[1] || !path_is_plain(at))
			abort();
	}
	json_array_foreach (json_object_get(json_object_get(spec, "linux"), "devices"), i, m)
		if (!path_is_plain(jsonx_opt_string(m, "path", "..")))
			abort();
}

/* Of the host's network and IPC: nothing that is pinned is needed. */
static const char pod_text[] = "{\"linux\":{\"security_context\":{\"namespace_options\":"
			       "{\"network\":\"NODE\",\"ipc\":\"NODE\"}}}}";

static char *build(const Runtime__V1__ContainerConfig *ctr, json_t *config, struct err *e)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	static struct config cfg;
	static char root[] = "/nonexistent/root", run[] = "/nonexistent/run";
	if (!cfg.root && config_load(&cfg, NULL, e) < 0)
		abort();
	struct state st = {.root_path = root, .run_path = run};
	struct handler handler = {.name = xstrdup("crun"),
				  .path = xstrdup("/usr/bin/crun"),
				  .rro = true,
				  .rro_said = true};
	AUTO_BUF struct buf why = BUF_INIT(4 << 20);
	static Runtime__V1__PodSandboxConfig *pod;
	if (!pod)
		pod = (Runtime__V1__PodSandboxConfig *)pbjson_parse(
			&runtime__v1__pod_sandbox_config__descriptor, pod_text, sizeof pod_text - 1,
			"pod", e);
	AUTO_BUNDLE struct bundle b = {.cfg = &cfg,
				       .st = &st,
				       .ctr = ctr,
				       .pod = pod,
				       .handler = &handler,
				       .why = &why,
				       .dry_run = true};
	b.rootfs = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b.img.config = json_incref(config);
	b.mount_images = json_array();
	b.pod_rec.id = xstrdup(id);
	b.pod_rec.cgroup_parent = xstrdup("/pods");
	b.pod_rec.netns = xstrdup("");
	memcpy(b.id, id, sizeof id);
	bundle_derive(&b);
	json_t *spec = check_request(&b, e) < 0 ? NULL : spec_build(&b, e);
	handler_release(&handler);
	if (!spec)
		return NULL;
	check_paths(spec);
	char *text = json_dumps(spec, JSON_COMPACT);
	json_decref(spec);
	if (!text)
		abort();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t len = zero ? (size_t)(zero - data) : size;
	AUTO_JSON json_t *config =
		zero ? json_loadb((const char *)zero + 1, size - len - 1, 0, NULL) : json_object();
	AUTO_PB Runtime__V1__ContainerConfig *ctr = (Runtime__V1__ContainerConfig *)pbjson_parse(
		&runtime__v1__container_config__descriptor, (const char *)data, len, "c", &e);
	if (!ctr || !config)
		return 0;
	AUTO_FREE char *first = build(ctr, config, &e);
	if (!first && !*e.msg)
		abort();
	AUTO_FREE char *second = first ? build(ctr, config, &e) : NULL;
	if (first && (!second || strcmp(first, second) != 0))
		abort();
	return 0;
}
