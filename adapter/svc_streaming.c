/* SPDX-License-Identifier: Apache-2.0 */
#include "svc_streaming.h"

#include "auto.h"
#include "streaming.h"
#include "svc.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum { PORTS_MAX = 100 };

/* The streams that a client asks for, as the CRI bounds them. */
struct streams {
	bool tty, in, out, err;
};

static bool check_streams(struct call *c, const struct streams *s)
{
	if (s->tty && s->err)
		svc_fail(c, ERR_BAD_INPUT, "tty and stderr exclude each other");
	else if (!s->in && !s->out && !s->err)
		svc_fail(c, ERR_BAD_INPUT, "none of stdin, stdout, stderr is asked for");
	else
		return true;
	return false;
}

static size_t put_streams(const struct streams *s, const char **words)
{
	size_t n = 0;
	if (s->tty)
		words[n++] = "--tty";
	if (s->in)
		words[n++] = "--stdin";
	if (s->out)
		words[n++] = "--stdout";
	if (s->err)
		words[n++] = "--stderr";
	return n;
}

static struct ctr *running_ctr(struct call *c, const char *id)
{
	struct ctr *k = svc_need_ctr(c, id);
	if (k && k->state != CTR_RUNNING) {
		svc_fail(c, ERR_BAD_STATE, "container %s is not running", k->o.id);
		return NULL;
	}
	return k;
}

static bool mint(struct call *c, enum stream_kind kind, const char *const *words, size_t n,
		 char url[STREAM_URL_SIZE])
{
	struct err e;
	if (streaming_mint(call_daemon(c)->streaming, kind, call_id(c), words, n, url, &e) == 0)
		return true;
	call_fail(c, &e);
	return false;
}

void svc_exec(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__ExecRequest *r = (const void *)request;
	const struct streams s = {r->tty, r->stdin, r->stdout, r->stderr};
	struct ctr *k = running_ctr(c, r->container_id);
	char url[STREAM_URL_SIZE];
	if (!k || !check_streams(c, &s))
		return;
	if (!r->n_cmd) {
		svc_fail(c, ERR_BAD_INPUT, "exec: no command");
		return;
	}
	AUTO_FREE const char **words = xcalloc(r->n_cmd + 8, sizeof *words);
	size_t n = put_streams(&s, words);
	words[n++] = k->o.id;
	for (size_t i = 0; i < r->n_cmd; i++)
		words[n++] = r->cmd[i];
	if (!mint(c, STREAM_EXEC, words, n, url))
		return;
	Runtime__V1__ExecResponse reply = RUNTIME__V1__EXEC_RESPONSE__INIT;
	reply.url = url;
	call_reply(c, &reply.base);
}

void svc_attach(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__AttachRequest *r = (const void *)request;
	const struct streams s = {r->tty, r->stdin, r->stdout, r->stderr};
	struct ctr *k = running_ctr(c, r->container_id);
	const char *words[8];
	char url[STREAM_URL_SIZE];
	if (!k || !check_streams(c, &s))
		return;
	if (s.tty != k->rec.tty) {
		svc_fail(c, ERR_BAD_INPUT, "container %s has %s terminal", k->o.id,
			 k->rec.tty ? "a" : "no");
		return;
	}
	size_t n = put_streams(&s, words);
	words[n++] = k->o.id;
	if (!mint(c, STREAM_ATTACH, words, n, url))
		return;
	Runtime__V1__AttachResponse reply = RUNTIME__V1__ATTACH_RESPONSE__INIT;
	reply.url = url;
	call_reply(c, &reply.base);
}

void svc_port_forward(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__PortForwardRequest *r = (const void *)request;
	struct pod *p = svc_need_pod(c, r->pod_sandbox_id);
	const char *words[PORTS_MAX + 1];
	char numbers[PORTS_MAX][8], url[STREAM_URL_SIZE];
	size_t n = 0;
	if (!p)
		return;
	if (!pod_ready(p)) {
		svc_fail(c, ERR_BAD_STATE, "pod %s is not ready", p->o.id);
		return;
	}
	if (r->n_port > PORTS_MAX) {
		svc_fail(c, ERR_BAD_INPUT, "more than %d ports", PORTS_MAX);
		return;
	}
	words[n++] = p->o.id;
	for (size_t i = 0; i < r->n_port; i++) {
		if (r->port[i] < 1 || r->port[i] > 65535) {
			svc_fail(c, ERR_BAD_INPUT, "port %d is not within 1 to 65535", r->port[i]);
			return;
		}
		snprintf(numbers[i], sizeof numbers[i], "%u", (unsigned)r->port[i] & 0xffff);
		words[n++] = numbers[i];
	}
	if (!mint(c, STREAM_PORTFORWARD, words, n, url))
		return;
	Runtime__V1__PortForwardResponse reply = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;
	reply.url = url;
	call_reply(c, &reply.base);
}
