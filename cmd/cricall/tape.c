/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "grpc.h"
#include "jsonx.h"
#include "xalloc.h"

#include <string.h>

static struct tape_call *add_call(struct tape *t)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->calls = xrealloc(t->calls, t->cap * sizeof *t->calls);
	}
	t->calls[t->n] = (struct tape_call){.code = TAPE_UNANSWERED, .messages = json_array()};
	return &t->calls[t->n++];
}

/* The number of a code's name. */
static int code_of(const json_t *v)
{
	for (int i = 0; json_is_string(v) && i <= GRPC_UNAUTHENTICATED; i++)
		if (strcmp(grpc_code_name(i), json_string_value(v)) == 0)
			return i;
	json_int_t n = json_integer_value(v);
	return json_is_integer(v) && n >= 0 && n < 1000 ? (int)n : -1;
}

static int take_head(struct tape *t, json_t *j, const char *what, struct err *e)
{
	json_int_t version;
	if (jsonx_int(j, what, "version", &version, e) < 0)
		return -1;
	if (strcmp(jsonx_opt_string(j, "record", ""), "cri") != 0 || version != 1)
		return err_set(e, ERR_BAD_INPUT, "%s: not a record of calls in version 1", what);
	/* Numbers count anew. What was not answered before is not answered any more. */
	json_object_clear(t->open);
	return 0;
}

static int take_request(struct tape *t, json_t *j, const char *req, const char *rpc, size_t line,
			const char *what, struct err *e)
{
	struct cri_method m;
	json_t *request = json_object_get(j, "request");
	if (!cri_method_find(rpc, &m))
		return err_set(e, ERR_BAD_INPUT, "%s: no method '%.60s'", what, rpc);
	if (request && !json_is_object(request))
		return err_set(e, ERR_BAD_INPUT, "%s: request: expected object, found %s", what,
			       jsonx_type_name(json_typeof(request)));
	if (t->n >= TAPE_CALLS_MAX)
		return err_set(e, ERR_EXHAUSTED, "%s: too many calls", what);
	struct tape_call *c = add_call(t);
	c->method = m;
	c->request = json_incref(request);
	c->line = line;
	json_object_set_new(t->open, req, json_integer((json_int_t)t->n - 1));
	return 0;
}

/* A message of a stream, or the end of a call. */
static int take_answer(struct tape *t, json_t *j, const char *req, const char *rpc,
		       const char *what, struct err *e)
{
	json_t *at = json_object_get(t->open, req), *code = json_object_get(j, "code");
	json_t *message = json_object_get(j, code ? "answer" : "message");
	if (!at) /* its request is in the file before */
		return 0;
	struct tape_call *c = &t->calls[json_integer_value(at)];
	if (strcmp(c->method.name, rpc) != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: an answer of %.60s to %s", what, rpc,
			       c->method.name);
	if (message && !json_is_object(message))
		return err_set(e, ERR_BAD_INPUT, "%s: a message that is no object", what);
	if (message)
		json_array_append(c->messages, message);
	else if (json_object_get(j, "omitted"))
		c->omitted = true;
	if (!code)
		return 0;
	c->code = code_of(code);
	if (c->code < 0)
		return err_set(e, ERR_BAD_INPUT, "%s: code: no code of gRPC", what);
	c->us = jsonx_opt_int(j, "us", 0);
	json_object_del(t->open, req);
	return 0;
}

static int take_line(struct tape *t, const char *text, size_t len, size_t line, const char *file,
		     struct err *e)
{
	AUTO_FREE char *what = xasprintf("%s: line %zu", file, line);
	AUTO_JSON json_t *j = jsonx_parse(text, len, what, e);
	if (!j)
		return -1;
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "%s: expected an object", what);
	if (json_object_get(j, "record"))
		return take_head(t, j, what, e);
	if (line == 1)
		return err_set(e, ERR_BAD_INPUT, "%s: not a record of calls", file);
	const char *req = jsonx_string(j, what, "req", e);
	const char *rpc = req ? jsonx_string(j, what, "rpc", e) : NULL;
	if (!rpc)
		return -1;
	json_int_t lost = jsonx_opt_int(j, "lost", 0);
	t->lost += lost > 0 ? (size_t)lost : 0;
	if (json_object_get(j, "code") || json_object_get(j, "message"))
		return take_answer(t, j, req, rpc, what, e);
	/* A message of a stream that was left out has neither, but a call that is known. */
	if (json_object_get(j, "omitted") && json_object_get(t->open, req))
		return take_answer(t, j, req, rpc, what, e);
	return take_request(t, j, req, rpc, line, what, e);
}

int tape_parse(struct tape *t, const char *text, size_t len, const char *what, struct err *e)
{
	size_t line = 0;
	*t = (struct tape){.open = json_object()};
	while (len) {
		const char *end = memchr(text, '\n', len);
		if (!end)
			break;
		size_t n = (size_t)(end - text);
		line++;
		if (n && take_line(t, text, n, line, what, e) < 0) {
			tape_release(t);
			return -1;
		}
		text += n + 1;
		len -= n + 1;
	}
	if (line)
		return 0;
	tape_release(t);
	return err_set(e, ERR_BAD_INPUT, "%s: not a record of calls", what);
}

int tape_load(struct tape *t, const char *operand, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(TAPE_MAX);
	*t = (struct tape){0};
	if (fs_read_operand(operand, &b, e) < 0)
		return -1;
	return tape_parse(t, b.data ? b.data : "", b.len, operand, e);
}

void tape_release(struct tape *t)
{
	for (size_t i = 0; i < t->n; i++) {
		json_decref(t->calls[i].request);
		json_decref(t->calls[i].messages);
	}
	free(t->calls);
	json_decref(t->open);
	*t = (struct tape){0};
}
