/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SERVICES_H
#define CRISP_SERVICES_H
/* The handlers in the table of call.h (services.c); one svc_*.c an area. */
#include "call.h"

/* svc_runtime.c: about crisp itself; nothing here waits for anything. */
void svc_version(struct call *c, const ProtobufCMessage *request);
void svc_status(struct call *c, const ProtobufCMessage *request);
void svc_runtime_config(struct call *c, const ProtobufCMessage *request);
void svc_update_runtime_config(struct call *c, const ProtobufCMessage *request);
#endif
