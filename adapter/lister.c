/* SPDX-License-Identifier: Apache-2.0 */
#include "lister.h"

#include "crispd.h"
#include "image.h"
#include "packed.h"
#include "xalloc.h"

#include "cri.pb-c.h"

#include <stdio.h>

enum {
	MESSAGE_MAX = 1 << 20, /* more only for an element that is larger by itself */
	WAITING_MAX = 1 << 20, /* no further message is made while so much is not fetched */
	MESSAGE_ITEMS = 4096,
};

struct lister {
	struct call *call;
	lister_element *element;
	size_t n, at;
	char (*ids)[IMAGE_ID_SIZE];
};

struct lister *lister_new(struct call *c, lister_element *element, size_t max)
{
	struct lister *l = xcalloc(1, sizeof *l);
	l->call = c;
	l->element = element;
	l->ids = xcalloc(max + 1, sizeof *l->ids);
	return l;
}

void lister_add(struct lister *l, const char *id)
{
	snprintf(l->ids[l->n++], sizeof *l->ids, "%s", id);
}

static void lister_free(void *arg)
{
	struct lister *l = arg;
	free(l->ids);
	free(l);
}

/* False when the call is over. */
static bool send_message(struct lister *l)
{
	struct crispd *d = call_daemon(l->call);
	/* All these answers have their list in field 1: the elements make the difference. */
	Runtime__V1__StreamContainersResponse m = RUNTIME__V1__STREAM_CONTAINERS_RESPONSE__INIT;
	AUTO_ARENA struct arena a = {0};
	size_t bytes = 0, len, max = (size_t)d->cfg.grpc_max_send_msg_size;
	max = max < MESSAGE_MAX ? max : MESSAGE_MAX;
	for (; l->at < l->n && m.base.n_unknown_fields < MESSAGE_ITEMS; l->at++) {
		uint8_t *data = l->element(d, l->ids[l->at], &a, &len);
		if (!data)
			continue;
		/* One byte for the field's tag. */
		if (bytes && bytes + len + 1 > max)
			break;
		packed_append(&m.base, &a, MESSAGE_ITEMS, data, len);
		bytes += len + 1;
	}
	return bytes == 0 || call_send(l->call, &m.base);
}

static void pump(void *arg)
{
	struct lister *l = arg;
	while (l->at < l->n) {
		if (call_queued(l->call) > WAITING_MAX) {
			call_on_room(l->call, WAITING_MAX, pump, l);
			return;
		}
		if (!send_message(l)) {
			lister_free(l);
			return;
		}
	}
	call_end(l->call);
	lister_free(l);
}

void lister_send(struct lister *l)
{
	call_on_cancel(l->call, lister_free, l);
	pump(l);
}
