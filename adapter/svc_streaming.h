/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SVC_STREAMING_H
#define CRISP_SVC_STREAMING_H
/* Exec, Attach, PortForward: the request is checked, the answer is a URL (streaming.h). */
#include "call.h"

void svc_exec(struct call *c, const ProtobufCMessage *request);
void svc_attach(struct call *c, const ProtobufCMessage *request);
void svc_port_forward(struct call *c, const ProtobufCMessage *request);
#endif
