/* SPDX-License-Identifier: Apache-2.0 */
#include "podnet.h"

#include "auto.h"
#include "event.h"
#include "journal.h"
#include "jsonx.h"
#include "pbjson.h"

#include "cri.pb-c.h"

#include <string.h>

/* What a pod is said to need, after it was made. It is kept for whoever asks; a pod has no limits
 * that we would set (its cgroup is the client's). */

static int store(const struct pod *p, const json_t *wanted, struct err *e)
{
	enum { UPDATE_MAX = 1 << 20 };
	struct err none;
	AUTO_JSON json_t *all = jsonx_read_at(p->dir, "resources.json", UPDATE_MAX, &none);
	if (!json_is_object(all)) {
		json_decref(all);
		all = json_object();
	}
	/* A part that is not named stays. */
	json_object_update(all, (json_t *)wanted);
	return jsonx_replace_at(p->dir, "resources.json", 0600, all, 0, e);
}

int cmd_update(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	AUTO_POD struct pod p = {.dir = -1};
	int64_t began = record_now_ns();
	(void)argc;
	AUTO_PB ProtobufCMessage *m = pbjson_load(
		&runtime__v1__update_pod_sandbox_resources_request__descriptor, argv[1], e);
	AUTO_JSON json_t *wanted = m ? pbjson_write(m, 0, e) : NULL;
	if (!wanted || object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0)
		return -1;
	json_object_del(wanted, "pod_sandbox_id");
	AUTO_CLOSE int lock = object_lock(&c->st, OBJ_POD, id, pod_lock_ms(c), e);
	if (lock < 0 || pod_open(&p, c, id, e) < 0)
		return -1;
	int r = store(&p, wanted, e);
	const char *words[] = {"update", id, argv[1], NULL};
	journal_by_hand(&c->st, id, words, NULL, began, r < 0 ? e : NULL);
	if (r == 0)
		event_publish(&c->st, "changed", "pod", id, id, false);
	return r;
}
