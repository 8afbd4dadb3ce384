/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_IMGPIN_H
#define CRISP_IMGPIN_H
/* Pins: images that neither RemoveImage nor the kubelet's collection takes. Two sources: the
 * configuration's pinned_images (names and globs), and what somebody has pinned by hand:
 *
 *	<root>/pins/<file>   an empty file; named as in names/ for a name (the pin follows the name
 *	                     to another image), or by the hex digits of an image id
 *
 * A pin whose name or image is gone is gone with the next `ocistore gc`. */
#include "image.h"

/* What is pinned by hand: name or "sha256:…" -> true (new reference). */
json_t *imgpin_read(const struct state *s, struct err *e);
/* Both are durable and succeed when it is so already. The store's lock is held. */
int imgpin_set(const struct state *s, const char *what, struct err *e);
int imgpin_clear(const struct state *s, const char *what, struct err *e);
/* names/ spelling of what is pinned. 0 or -1. */
int imgpin_file(const char *what, char *out, size_t size);

/* Why the image with that id is pinned, for people: ["pinned_images: r.io/a:*", "pin: r.io/a:1"]; empty = it
 * is not. names as of image_names. A new reference. */
json_t *imgpin_reasons(const json_t *patterns, const json_t *pins, json_t *names, const char *id);
#endif
