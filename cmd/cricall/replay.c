/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include "auto.h"
#include "client.h"
#include "compare.h"
#include "grpc.h"
#include "jsonx.h"
#include "pbjson.h"
#include "proc.h"
#include "redact.h"
#include "tape.h"
#include "xalloc.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { DIFFERENCES_MAX = 8, AGAIN_MS = 50, VALUE_SIZE = 100 };

enum verdict { SAME, DIFFERENT, SKIPPED, VERDICTS };
static const char *const verdict_names[] = {"same", "different", "skipped"};

struct player {
	const struct replay_opts *o;
	struct tape tape;
	struct ids ids;
	size_t counts[VERDICTS];
};

/* What one call gave. */
struct result {
	json_t *messages;
	int code;
	char text[1024];
};

struct taker {
	const struct cri_method *m;
	json_t *messages;
};

static int take_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
	struct taker *t = arg;
	AUTO_PB ProtobufCMessage *m = protobuf_c_message_unpack(t->m->output, NULL, len,
								data ? data : (const uint8_t *)"");
	if (!m)
		return err_set(e, ERR_FAILED, "INTERNAL: the answer is not a %s",
			       t->m->output->short_name);
	json_t *j = pbjson_write(m, 0, e);
	return j ? json_array_append_new(t->messages, j) : -1;
}

/* The client that asked gave up by its own clock: nothing to wait longer for. */
static bool was_given_up(const struct tape_call *c)
{
	return c->code == GRPC_DEADLINE_EXCEEDED || c->code == GRPC_CANCELLED;
}

static long long due_of(const struct player *p, const struct tape_call *c)
{
	if (was_given_up(c))
		return proc_now_ms() + c->us / 1000 + 1;
	return p->o->timeout < 0 ? -1 : proc_now_ms() + (long long)(p->o->timeout * 1000);
}

/* Credentials were not recorded: what stands for them would be refused. */
static void drop_redacted_auth(json_t *request)
{
	json_t *auth = json_object_get(request, "auth"), *v;
	const char *key;
	json_object_foreach (auth, key, v)
		if (json_is_string(v) && strcmp(json_string_value(v), REDACTED) == 0) {
			json_object_del(request, "auth");
			return;
		}
}

static uint8_t *pack(const struct player *p, const struct tape_call *c, size_t *len, struct err *e)
{
	AUTO_FREE char *what = xasprintf("%s: line %zu: request", p->o->file, c->line);
	AUTO_JSON json_t *request = json_deep_copy(c->request);
	ids_translate(&p->ids, request);
	drop_redacted_auth(request);
	AUTO_PB ProtobufCMessage *m = pbjson_read(c->method.input, request, what, e);
	if (!m)
		return NULL;
	*len = protobuf_c_message_get_packed_size(m);
	uint8_t *packed = xmalloc(*len + 1);
	protobuf_c_message_pack(m, packed);
	return packed;
}

/* -1: the server cannot be reached, or a signal came. */
static int send_call(const struct player *p, const struct tape_call *c, struct result *r,
		     struct err *e)
{
	struct taker taker = {&c->method, json_array()};
	struct client_call call = {.max_message = p->o->max_message,
				   .streaming = c->method.streaming,
				   .due_ms = due_of(p, c),
				   .on_message = take_message,
				   .arg = &taker,
				   .code = &r->code};
	AUTO_FREE uint8_t *request = pack(p, c, &call.request_len, e);
	AUTO_FREE char *path = cri_method_path(&c->method);
	json_decref(r->messages);
	r->messages = taker.messages;
	r->text[0] = '\0';
	call.request = request;
	call.path = path;
	AUTO_CLOSE int fd = request ? client_connect(p->o->socket, call.due_ms, e) : -1;
	if (fd < 0)
		return -1;
	if (client_run(fd, &call, e) < 0)
		snprintf(r->text, sizeof r->text, "%s", e->msg);
	if (r->code < 0)
		return err_set(e, ERR_CANCELLED, "interrupted");
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);
	return n >= k && strcmp(s + n - k, end) == 0;
}

static bool is_read(const char *rpc)
{
	static const char *const ends[] = {"Status", "Stats", "Info"};
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends_with(rpc, ends[i]))
			return true;
	return strncmp(rpc, "List", 4) == 0 || strncmp(rpc, "Stream", 6) == 0;
}

static json_t *code_json(int code)
{
	const char *name = grpc_code_name(code);
	return name ? json_string(name) : json_integer(code);
}

/* A new array of what differs; empty = the same. */
static json_t *differences(const struct player *p, const struct tape_call *c,
			   const struct result *r)
{
	json_t *list = json_array();
	bool both_late = was_given_up(c) && r->code == GRPC_DEADLINE_EXCEEDED;
	if (c->code != r->code && !both_late) {
		json_t *d = json_pack("{s:s,s:o,s:o}", "path", "code", "recorded",
				      code_json(c->code), "now", code_json(r->code));
		if (*r->text)
			json_object_set_new(d, "text", json_string(r->text));
		json_array_append_new(list, d);
	} else if (r->code == 0 && !c->omitted) {
		AUTO_JSON json_t *recorded = answer_plain(&p->ids, &c->method, c->messages, true);
		AUTO_JSON json_t *now = answer_plain(&p->ids, &c->method, r->messages, false);
		answer_compare(recorded, now, list, DIFFERENCES_MAX);
	}
	return list;
}

/* Did the record's server say the same a while later? */
static bool was_said_later(const struct player *p, size_t at, const struct result *r)
{
	const struct tape_call *c = &p->tape.calls[at];
	for (size_t i = at + 1; i < p->tape.n; i++) {
		const struct tape_call *later = &p->tape.calls[i];
		if (later->code == TAPE_UNANSWERED ||
		    strcmp(later->method.name, c->method.name) != 0 ||
		    !json_equal(later->request, c->request))
			continue;
		AUTO_JSON json_t *list = differences(p, later, r);
		if (json_array_size(list) == 0)
			return true;
	}
	return false;
}

/* Sends the call, a read until it is as recorded or the time for that is over. *list: what differs. */
static int play(struct player *p, size_t at, struct result *r, json_t **list, struct err *e)
{
	const struct tape_call *c = &p->tape.calls[at];
	long long until = proc_now_ms() + (long long)(p->o->settle * 1000);
	for (;;) {
		if (send_call(p, c, r, e) < 0)
			return -1;
		if (c->code == 0 && r->code == 0)
			ids_learn(&p->ids, &c->method, json_array_get(c->messages, 0),
				  json_array_get(r->messages, 0));
		*list = c->code == TAPE_UNANSWERED ? json_array() : differences(p, c, r);
		if (json_array_size(*list) == 0 || !is_read(c->method.name))
			return 0;
		if (was_said_later(p, at, r)) {
			json_array_clear(*list);
			return 0;
		}
		if (proc_now_ms() >= until)
			return 0;
		json_decref(*list);
		/* Nothing tells when a server's answer changes. */
		poll(NULL, 0, AGAIN_MS);
	}
}

/* Why a call cannot be sent; NULL = it can. */
static const char *why_not(const struct tape_call *c)
{
	if (!c->request)
		return "its request was too large to be recorded";
	if (strcmp(c->method.name, "GetContainerEvents") == 0)
		return "it does not end by itself";
	return NULL;
}

static void print_value(const char *label, const json_t *v)
{
	AUTO_FREE char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	printf("%s%.*s%s", label, VALUE_SIZE, text, strlen(text) > VALUE_SIZE ? "…" : "");
}

static void print_people(const struct tape_call *c, enum verdict v, const char *why,
			 const json_t *list)
{
	size_t i;
	json_t *d;
	if (v == SKIPPED)
		printf("line %zu: %s: skipped: %s\n", c->line, c->method.name, why);
	json_array_foreach ((json_t *)list, i, d) {
		const char *text = jsonx_opt_string(d, "text", NULL);
		printf("line %zu: %s: %s: ", c->line, c->method.name,
		       jsonx_opt_string(d, "path", ""));
		print_value("recorded ", json_object_get(d, "recorded"));
		print_value(", now ", json_object_get(d, "now"));
		printf("%s%s\n", text ? ": " : "", text ? text : "");
	}
}

static void print_json(const struct tape_call *c, enum verdict v, const char *why,
		       const json_t *list)
{
	AUTO_JSON json_t *j = json_pack("{s:I,s:s,s:s}", "line", (json_int_t)c->line, "rpc",
					c->method.name, "result", verdict_names[v]);
	if (why)
		json_object_set_new(j, "why", json_string(why));
	if (json_array_size(list))
		json_object_set(j, "differences", (json_t *)list);
	AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
	puts(text ? text : "");
}

static int play_one(struct player *p, size_t at, struct err *e)
{
	const struct tape_call *c = &p->tape.calls[at];
	const char *why = why_not(c);
	struct result r = {.code = 0};
	AUTO_JSON json_t *list = NULL;
	int n = why ? 0 : play(p, at, &r, &list, e);
	json_decref(r.messages);
	if (n < 0) {
		err_wrap(e, "line %zu: %s", c->line, c->method.name);
		return -1;
	}
	enum verdict v = why ? SKIPPED : json_array_size(list) ? DIFFERENT : SAME;
	if (!why && c->code == TAPE_UNANSWERED) {
		v = SKIPPED;
		why = "sent, but it has no answer in the record";
	}
	p->counts[v]++;
	(p->o->json ? print_json : print_people)(c, v, why, list);
	return fflush(stdout) == 0 ? 0 : err_sys(e, "write to standard output");
}

static void print_sum(const struct player *p)
{
	size_t calls = p->tape.n;
	if (p->o->json)
		printf("{\"calls\":%zu,\"same\":%zu,\"different\":%zu,\"skipped\":%zu,\"lost\":%zu}"
		       "\n",
		       calls, p->counts[SAME], p->counts[DIFFERENT], p->counts[SKIPPED],
		       p->tape.lost);
	else
		printf("%zu calls: %zu same, %zu different, %zu skipped%s\n", calls,
		       p->counts[SAME], p->counts[DIFFERENT], p->counts[SKIPPED],
		       p->tape.lost ? " (the record lacks lines that could not be written)" : "");
}

int replay(const struct replay_opts *o, struct err *e)
{
	struct player p = {.o = o};
	int n = tape_load(&p.tape, o->file, e);
	ids_init(&p.ids);
	for (size_t i = 0; n == 0 && i < p.tape.n; i++)
		n = play_one(&p, i, e);
	if (n == 0)
		print_sum(&p);
	ids_release(&p.ids);
	tape_release(&p.tape);
	if (n == 0)
		return p.counts[DIFFERENT] ? 1 : 0;
	/* 1 is for answers that differ. */
	if (e->kind == ERR_FAILED)
		e->kind = ERR_UNAVAILABLE;
	return -1;
}
