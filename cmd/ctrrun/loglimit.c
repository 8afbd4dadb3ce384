/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "jsonx.h"
#include "log.h"

#include <string.h>

enum { RATE_MIN = 1024 };

static const char *known_policy(const char *name)
{
	static const char *const names[] = {"block", "drop", "sample"};
	for (size_t i = 0; name && i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return names[i];
	return NULL;
}

static void lower(struct log_limit *l, long rate)
{
	if (rate >= RATE_MIN && (!l->rate || rate < l->rate))
		l->rate = rate;
}

static void annotated(struct log_limit *l, const struct ctr *k, enum object_kind kind,
		      const char *id)
{
	struct err ignored;
	long rate;
	AUTO_CLOSE int dir = id_is_valid(id) ? object_open(&k->c->st, kind, id, &ignored) : -1;
	AUTO_JSON json_t *conf = dir < 0 ? NULL : object_config_read(dir, kind, &ignored);
	json_t *notes = json_object_get(conf, "annotations");
	const char *text = jsonx_opt_string(notes, "crisp.log_rate_limit", NULL);
	const char *policy = jsonx_opt_string(notes, "crisp.log_rate_policy", NULL);
	if (text && tool_parse_long(text, &rate) == 0 && rate >= RATE_MIN)
		lower(l, rate);
	else if (text)
		log_warn("annotation crisp.log_rate_limit: '%.32s' is not a number from %d on",
			 text, RATE_MIN);
	if (known_policy(policy))
		l->policy = known_policy(policy);
	else if (policy)
		log_warn("annotation crisp.log_rate_policy: '%.32s' is not block, drop or sample",
			 policy);
}

struct log_limit loglimit_of(const struct ctr *k)
{
	struct log_limit l = {.policy = "block"};
	lower(&l, k->handler.log_rate_limit);
	if (known_policy(k->handler.log_rate_policy))
		l.policy = known_policy(k->handler.log_rate_policy);
	/* The container's own word is the last one. */
	annotated(&l, k, OBJ_POD, k->rec.pod_id);
	annotated(&l, k, OBJ_CONTAINER, k->id);
	return l;
}
