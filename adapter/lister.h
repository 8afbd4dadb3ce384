/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_LISTER_H
#define CRISP_LISTER_H
/* The answer of a Stream* list: what is listed is decided at once, the elements are made and sent a
 * bounded message at a time, as the client takes them. So each comes exactly once, however long
 * the list and however slow its reader; one that is removed meanwhile does not come. */
#include "arena.h"
#include "call.h"

#include <stdint.h>

struct lister;

/* The element as it stands in a repeated field, length first (packed.h): borrowed until the loop is
 * entered again, or in the arena. NULL: it is gone. */
typedef uint8_t *lister_element(struct crispd *d, const char *id, struct arena *a, size_t *len);

/* Room for max ids. */
struct lister *lister_new(struct call *c, lister_element *element, size_t max);
void lister_add(struct lister *l, const char *id);
/* Takes the call and the lister over. */
void lister_send(struct lister *l);
#endif
