/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_MANIFEST_H
#define OCIPULL_MANIFEST_H
/* Manifests and indexes (OCI image specification and Docker's schema 2), read from untrusted JSON.
 * Nothing here touches the world. */
#include "digest.h"
#include "err.h"
#include "image.h"

#include <jansson.h>
#include <stdbool.h>

enum {
	MANIFEST_MAX = 4 << 20,
	IMAGE_CONFIG_MAX = 8 << 20,
};
#define DESCRIPTOR_SIZE_MAX (1LL << 50) /* no layer is larger */

struct platform {
	char os[32], arch[32], variant[32];
};

struct descriptor {
	char media_type[128];
	char digest[DIGEST_STR_LEN + 1];
	json_int_t size;
};

struct manifest {
	struct descriptor config;
	size_t count;
	struct descriptor layers[IMAGE_LAYERS_MAX];
	/* Where a layer may also be had, an array (its members are not looked at); NULL = nowhere
	 * else. */
	json_t *urls[IMAGE_LAYERS_MAX];
};

/* What to accept from a registry. */
extern const char manifest_accept[];

/* "OS/ARCH[/VARIANT]", in the names of Go or of uname. NULL: this machine. */
int platform_parse(struct platform *p, const char *s, struct err *e);

/* 1 an index, 0 an image's manifest, -1 neither. media_type: the transport's, "" = unknown. */
int manifest_is_index(json_t *j, const char *media_type, struct err *e);
int manifest_parse(json_t *j, struct manifest *m, struct err *e);
void manifest_release(struct manifest *m); /* for one that was parsed, or is all zero */
/* The entry of an index for a platform. ERR_NOT_FOUND names the platforms that there are. */
int index_choose(json_t *j, const struct platform *p, struct descriptor *out, struct err *e);
int descriptor_parse(json_t *j, const char *what, struct descriptor *d, struct err *e);
/* The diff IDs (hex) of a configuration, which must be `count`. */
int config_diff_ids(json_t *config, size_t count, char (*hex)[DIGEST_HEX_LEN + 1], struct err *e);
#endif
