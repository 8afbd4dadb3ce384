/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "imgpulls.h"
#include "jsonx.h"
#include "ocistore.h"
#include "record.h"

#include <stdio.h>
#include <string.h>

struct sums {
	size_t layers, done;
	double bytes, size;
};

static void sum_up(json_t *pull, struct sums *s)
{
	size_t i;
	json_t *l, *layers = json_object_get(pull, "layers");
	*s = (struct sums){.layers = json_array_size(layers)};
	json_array_foreach (layers, i, l) {
		const char *state = jsonx_opt_string(l, "state", "");
		bool present = strcmp(state, "present") == 0;
		s->done += present || strcmp(state, "done") == 0;
		if (present)
			continue;
		s->bytes += (double)jsonx_opt_int(l, "bytes", 0);
		s->size += (double)jsonx_opt_int(l, "size", 0);
	}
}

static void print_pull(json_t *pull)
{
	struct sums s;
	char layers[48];
	json_int_t now = (json_int_t)record_now_ns(), started = jsonx_opt_int(pull, "started", now);
	sum_up(pull, &s);
	snprintf(layers, sizeof layers, "%zu of %zu", s.done, s.layers);
	printf("%-50s %8lld %6.0fs %12s %9.1f of %.1f MB\n",
	       jsonx_opt_string(pull, "reference", "-"), (long long)jsonx_opt_int(pull, "pid", 0),
	       (double)(now - started) / 1e9, layers, s.bytes / 1e6, s.size / 1e6);
}

int store_pulls(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	size_t i;
	json_t *pull;
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *list = imgstore_pulls(&c->st, e);
	if (!list)
		return -1;
	if (!c->json)
		printf("%-50s %8s %7s %12s %9s\n", "IMAGE", "PID", "SINCE", "LAYERS", "BYTES");
	json_array_foreach (list, i, pull) {
		if (!c->json) {
			print_pull(pull);
			continue;
		}
		json_dumpf(pull, stdout, JSON_COMPACT);
		putchar('\n');
	}
	return 0;
}
