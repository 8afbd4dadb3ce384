/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRSTREAM_LINK_WIRE_H
#define CTRSTREAM_LINK_WIRE_H
/* link.c's other half: channels as SPDY streams or as WebSocket channels. */
#include "link.h"

void wire_init(struct link *l);
void wire_release(struct link *l);
int wire_feed(struct link *l, const uint8_t *data, size_t len, struct err *e);
int wire_write(struct chan *c, const void *data, size_t len, struct err *e);
int wire_end(struct chan *c, struct err *e);
int wire_break(struct chan *c, struct err *e);
void wire_taken(struct chan *c, size_t n);
void wire_finish(struct link *l);
/* SPDY frames that go through WebSocket messages. */
void wire_pass_on(struct link *l);

/* Of link.c. */
struct chan *chan_new(struct link *l, uint32_t id, enum chan_kind kind);
struct chan *chan_find(const struct link *l, uint32_t id);
void chan_feed(struct chan *c, const uint8_t *p, size_t n);
void link_touch(struct link *l);
void link_over(struct link *l);
void link_broken(struct link *l, const struct err *e);
#endif
