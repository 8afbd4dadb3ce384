/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include "auto.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_ARTIFACT "application/vnd.oci.artifact.manifest.v1+json"
#define DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

const char manifest_accept[] = OCI_INDEX ", " OCI_MANIFEST ", " DOCKER_INDEX ", " DOCKER_MANIFEST;

static const char *const layer_types[] = {
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.oci.image.layer.v1.tar+zstd",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	NULL,
};

static const char *const config_types[] = {
	"application/vnd.oci.image.config.v1+json",
	"application/vnd.docker.container.image.v1+json",
	"application/octet-stream", /* Docker before 1.10's end */
	NULL,
};

static bool among(const char *const *list, const char *s)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

/* uname's and the field's names for what Go calls otherwise. */
static const struct {
	const char *from, *arch, *variant;
} aliases[] = {
	{"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", ""},
	{"i386", "386", ""},     {"i686", "386", ""},     {"armv7l", "arm", "v7"},
	{"armv6l", "arm", "v6"}, {"armhf", "arm", "v7"},  {"armv8l", "arm", "v8"},
};

static void normalise(struct platform *p)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (strcmp(p->arch, aliases[i].from) == 0) {
			snprintf(p->arch, sizeof p->arch, "%s", aliases[i].arch);
			if (!*p->variant)
				snprintf(p->variant, sizeof p->variant, "%s", aliases[i].variant);
			break;
		}
	if (strcmp(p->arch, "arm64") == 0 && strcmp(p->variant, "v8") == 0)
		p->variant[0] = '\0';
	if (strcmp(p->arch, "arm") == 0 && !*p->variant)
		snprintf(p->variant, sizeof p->variant, "v7");
}

static bool part(const char **s, char *out, size_t size)
{
	size_t n = strcspn(*s, "/");
	if (n == 0 || n >= size)
		return false;
	memcpy(out, *s, n);
	out[n] = '\0';
	*s += n + ((*s)[n] == '/');
	return true;
}

int platform_parse(struct platform *p, const char *s, struct err *e)
{
	struct utsname u;
	*p = (struct platform){.os = "linux"};
	const char *rest = s;
	if (!s && uname(&u) == 0)
		snprintf(p->arch, sizeof p->arch, "%.31s", u.machine);
	else if (!s || !part(&rest, p->os, sizeof p->os) || !part(&rest, p->arch, sizeof p->arch) ||
		 (*rest && !part(&rest, p->variant, sizeof p->variant)) || *rest)
		return err_set(e, ERR_USAGE, "--platform: '%s' is not OS/ARCH[/VARIANT]",
			       s ? s : "");
	normalise(p);
	return 0;
}

int descriptor_parse(json_t *j, const char *what, struct descriptor *d, struct err *e)
{
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "%s: expected object", what);
	const char *type = jsonx_string(j, what, "mediaType", e);
	const char *digest = type ? jsonx_string(j, what, "digest", e) : NULL;
	if (!digest || jsonx_int(j, what, "size", &d->size, e) < 0)
		return -1;
	if (!digest_parse(digest, e))
		return err_wrap(e, "%s", what);
	if (d->size < 0)
		return err_set(e, ERR_BAD_INPUT, "%s: size is negative", what);
	/* Sums of all layers' sizes stay within their type. */
	if (d->size > DESCRIPTOR_SIZE_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: a size of %lld bytes cannot be", what,
			       (long long)d->size);
	if (strlen(type) >= sizeof d->media_type)
		return err_set(e, ERR_BAD_INPUT, "%s: mediaType is too long", what);
	snprintf(d->media_type, sizeof d->media_type, "%s", type);
	snprintf(d->digest, sizeof d->digest, "%s", digest);
	return 0;
}

static int artifact(struct err *e, const char *type)
{
	return err_set(e, ERR_UNSUPPORTED, "an artifact of type '%.128s', not a container image",
		       type);
}

int manifest_is_index(json_t *j, const char *media_type, struct err *e)
{
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "manifest: expected object");
	char bare[128];
	snprintf(bare, sizeof bare, "%.*s", (int)strcspn(media_type, "; \t"), media_type);
	const char *type = jsonx_opt_string(j, "mediaType", bare);
	bool manifests = json_object_get(j, "manifests");
	/* What one reader takes for an index and another for an image is a trick. */
	if (manifests && (json_object_get(j, "layers") || json_object_get(j, "config")))
		return err_set(e, ERR_BAD_INPUT,
			       "manifest: both an index and an image: has manifests and layers");
	if (strcmp(type, OCI_ARTIFACT) == 0)
		return artifact(e, jsonx_opt_string(j, "artifactType", type));
	if (jsonx_opt_int(j, "schemaVersion", 2) == 1)
		return err_set(e, ERR_UNSUPPORTED, "manifest: Docker's schema 1 is not supported");
	if (strcmp(type, OCI_INDEX) == 0 || strcmp(type, DOCKER_INDEX) == 0)
		return 1;
	if (strcmp(type, OCI_MANIFEST) == 0 || strcmp(type, DOCKER_MANIFEST) == 0)
		return 0;
	/* Files and careless servers give none, or a general one. */
	bool general = !*type || strcmp(type, "application/json") == 0 ||
		       strcmp(type, "text/plain") == 0 ||
		       strcmp(type, "application/octet-stream") == 0;
	if (general && manifests)
		return 1;
	if (general && json_object_get(j, "layers"))
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "manifest: unknown media type '%.100s'", type);
}

void manifest_release(struct manifest *m)
{
	for (size_t i = 0; i < m->count; i++)
		json_decref(m->urls[i]);
	m->count = 0;
}

int manifest_parse(json_t *j, struct manifest *m, struct err *e)
{
	size_t i;
	json_t *layer;
	char what[40];
	manifest_release(m);
	json_t *config = jsonx_get(j, "manifest", JSON_OBJECT, e, "config", NULL);
	json_t *layers = config ? jsonx_get(j, "manifest", JSON_ARRAY, e, "layers", NULL) : NULL;
	if (!layers || descriptor_parse(config, "manifest: config", &m->config, e) < 0)
		return -1;
	if (!among(config_types, m->config.media_type)) {
		const char *type = jsonx_opt_string(j, "artifactType", "");
		return artifact(e, *type ? type : m->config.media_type);
	}
	if (m->config.size > IMAGE_CONFIG_MAX)
		return err_set(e, ERR_BAD_INPUT, "manifest: config: more than %d bytes",
			       IMAGE_CONFIG_MAX);
	if (json_array_size(layers) > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_BAD_INPUT, "manifest: %zu layers, more than %d",
			       json_array_size(layers), IMAGE_LAYERS_MAX);
	json_array_foreach (layers, i, layer) {
		snprintf(what, sizeof what, "manifest: layers[%zu]", i);
		if (descriptor_parse(layer, what, &m->layers[i], e) < 0)
			return -1;
		if (strstr(m->layers[i].media_type, "+encrypted"))
			return err_set(e, ERR_UNSUPPORTED, "%s: the layer is encrypted", what);
		if (!among(layer_types, m->layers[i].media_type))
			return err_set(e, ERR_UNSUPPORTED, "%s: unknown media type '%s'", what,
				       m->layers[i].media_type);
		m->urls[i] = json_incref(json_object_get(layer, "urls"));
		m->count++;
	}
	return 0;
}

static int variant_level(const struct platform *p)
{
	const char *v = p->variant;
	return v[0] == 'v' && v[1] >= '0' && v[1] <= '9' && !v[2] ? v[1] - '0' : 0;
}

/* Signatures, attestations and other things that are no images may stand in an index, too. */
static bool is_image_entry(json_t *entry)
{
	const char *type = jsonx_opt_string(entry, "mediaType", "");
	return !json_object_get(entry, "artifactType") &&
	       (!*type || strcmp(type, OCI_INDEX) == 0 || strcmp(type, OCI_MANIFEST) == 0 ||
		strcmp(type, DOCKER_INDEX) == 0 || strcmp(type, DOCKER_MANIFEST) == 0);
}

/* How well an entry's platform serves what is wanted: 0 = not at all. */
static int score(const struct platform *have, const struct platform *want)
{
	if (strcmp(have->os, want->os) != 0 || strcmp(have->arch, want->arch) != 0)
		return 0;
	if (strcmp(have->variant, want->variant) == 0)
		return 100;
	/* Older variants run on newer machines. */
	int h = variant_level(have), w = variant_level(want);
	if (strcmp(want->arch, "arm") == 0 && h > 0)
		return h <= w ? 50 + h : 0;
	return !*have->variant ? 50 : !*want->variant ? 10 - h : 1;
}

static void get_platform(json_t *j, struct platform *p)
{
	snprintf(p->os, sizeof p->os, "%s", jsonx_opt_string(j, "os", ""));
	snprintf(p->arch, sizeof p->arch, "%s", jsonx_opt_string(j, "architecture", ""));
	snprintf(p->variant, sizeof p->variant, "%s", jsonx_opt_string(j, "variant", ""));
	normalise(p);
}

static void list_platform(char *list, size_t size, const struct platform *p)
{
	size_t n = strlen(list);
	if (n + 60 < size && *p->os)
		snprintf(list + n, size - n, "%s%.20s/%.20s%s%.10s", n ? ", " : "", p->os, p->arch,
			 *p->variant ? "/" : "", p->variant);
}

int index_choose(json_t *j, const struct platform *want, struct descriptor *out, struct err *e)
{
	size_t i;
	json_t *entry, *best = NULL;
	int best_score = 0;
	char list[400] = "";
	json_t *all = jsonx_get(j, "index", JSON_ARRAY, e, "manifests", NULL);
	if (!all)
		return -1;
	json_array_foreach (all, i, entry) {
		struct platform p = {.os = ""};
		json_t *pj = json_object_get(entry, "platform");
		get_platform(pj, &p);
		list_platform(list, sizeof list, &p);
		/* An entry without a platform serves when nothing better does. */
		int s = !is_image_entry(entry) ? 0 : json_is_object(pj) ? 1 + score(&p, want) : 2;
		if (s > 1 && s > best_score) {
			best = entry;
			best_score = s;
		}
	}
	if (!best)
		return err_set(e, ERR_NOT_FOUND,
			       "no image for %s/%s%s%s in the index, which has: %s", want->os,
			       want->arch, *want->variant ? "/" : "", want->variant,
			       *list ? list : "nothing");
	return descriptor_parse(best, "index: manifests", out, e);
}

int config_diff_ids(json_t *config, size_t count, char (*hex)[DIGEST_HEX_LEN + 1], struct err *e)
{
	json_t *ids = jsonx_get(config, "config", JSON_ARRAY, e, "rootfs", "diff_ids", NULL);
	if (!ids)
		return -1;
	if (json_array_size(ids) != count)
		return err_set(e, ERR_BAD_INPUT,
			       "config: %zu diff_ids, but the manifest has %zu layers",
			       json_array_size(ids), count);
	for (size_t i = 0; i < count; i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		const char *digits = digest_parse(id ? id : "", e);
		if (!digits)
			return err_wrap(e, "config: rootfs.diff_ids[%zu]", i);
		snprintf(hex[i], sizeof hex[i], "%.64s", digits);
	}
	return 0;
}
