/* SPDX-License-Identifier: Apache-2.0 */
/* A record of calls (cricall --replay), and what is done with its answers: each is compared with the
 * one before it, with ids learned as if one server had given the one and another the other. */
#include "cmd/cricall/compare.c"
#include "cmd/cricall/tape.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	struct tape t;
	struct ids ids;
	if (tape_parse(&t, (const char *)data, size, "fuzz", &e) < 0)
		return 0;
	ids_init(&ids);
	for (size_t i = 0; i < t.n; i++) {
		const struct tape_call *c = &t.calls[i], *o = &t.calls[i ? i - 1 : 0];
		ids_learn(&ids, &c->method, json_array_get(c->messages, 0),
			  json_array_get(o->messages, 0));
		AUTO_JSON json_t *request = json_deep_copy(c->request);
		ids_translate(&ids, request);
		AUTO_JSON json_t *a = answer_plain(&ids, &c->method, c->messages, true);
		AUTO_JSON json_t *b = answer_plain(&ids, &c->method, o->messages, false);
		AUTO_JSON json_t *list = json_array();
		answer_compare(a, b, list, 8);
	}
	ids_release(&ids);
	tape_release(&t);
	return 0;
}
