/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_YAMLJSON_H
#define CRISP_YAMLJSON_H
/* YAML files of the Kubernetes world (CDI specifications, manifests) as JSON: maps, lists and scalars.
 * Plain scalars are what Go's reader of these files makes of them (YAML 1.1): null, booleans (also yes,
 * no, on, off), integers (also octal with a leading 0); all else, fractions included, is text. No tags;
 * a key that comes twice is refused.
 *
 * Input is hostile: depth, nodes and bytes are bounded, and what an alias stands for counts again at
 * each place, so that a few lines cannot become gigabytes. Errors are ERR_BAD_INPUT and name the
 * document and the line. A program that calls these is linked with libyaml. */
#include "err.h"

#include <jansson.h>
#include <stddef.h>

/* One document, without anchors and aliases; a new reference. */
json_t *yaml_to_json(const char *text, size_t len, const char *what, struct err *e);
/* A new array of all documents in the text, empty ones left out. Anchors, aliases and merge keys
 * ("<<") are resolved. */
json_t *yaml_to_json_all(const char *text, size_t len, const char *what, struct err *e);
#endif
