/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "event.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "tool.h"
#include "tool_format.h"

#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* A subscription stands some moments after nn_connect, and nanomsg does not tell when: a greeting
 * that comes back proves it. */
enum { HELLO_EVERY_MS = 20, HELLO_MS = 3000, MESSAGE_MAX = 8192 };

static const char *kind, *format;

struct watcher {
	const struct tool_ctx *ctx;
	int ask, feed, bell, signals;
	char hello[64];
	bool heard;        /* the greeting has come back */
	long long ends_at; /* proc_now_ms; 0 = never */
	const char *const *ids;
	int n_ids;
};

static int nn_failed(const char *what, const char *address, struct err *e)
{
	return err_set(e, ERR_FAILED, "%s %s: %s", what, address, nn_strerror(nn_errno()));
}

static int open_sockets(struct watcher *w, struct err *e)
{
	char bus[256], feed[256];
	const char *run = w->ctx->st.run_path;
	size_t size = sizeof w->bell;
	if (!event_address(run, bus, sizeof bus) || !event_feed_address(run, feed, sizeof feed))
		return err_set(e, ERR_BAD_INPUT, "runroot %s is too long for a socket", run);
	if (!event_heard(&w->ctx->st))
		return err_set(e, ERR_UNAVAILABLE, "no crispd runs on %s", run);
	w->feed = nn_socket(AF_SP, NN_SUB);
	w->ask = nn_socket(AF_SP, NN_REQ);
	if (w->feed < 0 || w->ask < 0)
		return nn_failed("event bus", bus, e);
	if (nn_setsockopt(w->feed, NN_SUB, NN_SUB_SUBSCRIBE, "", 0) < 0 ||
	    nn_connect(w->feed, feed) < 0 ||
	    nn_getsockopt(w->feed, NN_SOL_SOCKET, NN_RCVFD, &w->bell, &size) < 0)
		return nn_failed("event feed", feed, e);
	return nn_connect(w->ask, bus) < 0 ? nn_failed("event bus", bus, e) : 0;
}

static bool is_wanted(const struct watcher *w, json_t *j)
{
	if (kind && strcmp(kind, jsonx_opt_string(j, "kind", "")) != 0)
		return false;
	for (int i = 0; i < w->n_ids; i++) {
		size_t n = strlen(w->ids[i]);
		if (strncmp(jsonx_opt_string(j, "id", ""), w->ids[i], n) == 0 ||
		    strncmp(jsonx_opt_string(j, "pod", ""), w->ids[i], n) == 0 ||
		    strcmp(jsonx_opt_string(j, "name", ""), w->ids[i]) == 0)
			return true;
	}
	return w->n_ids == 0;
}

static void print_line(json_t *j)
{
	json_t *code = json_object_get(j, "exit_code");
	printf("%.23sZ  %-9s  %-8s  %-13.13s  %s", jsonx_opt_string(j, "time", ""),
	       jsonx_opt_string(j, "kind", ""), jsonx_opt_string(j, "event", ""),
	       jsonx_opt_string(j, "id", ""), jsonx_opt_string(j, "name", ""));
	if (code)
		printf("  exited %lld (%s)", (long long)json_integer_value(code),
		       jsonx_opt_string(j, "reason", ""));
	putchar('\n');
}

static int take(struct watcher *w, const char *text, size_t len, struct err *e)
{
	struct err ignored;
	AUTO_JSON json_t *j = jsonx_parse(text, len, "event", &ignored);
	if (!j)
		return 0;
	if (strcmp(jsonx_opt_string(j, "kind", ""), "hello") == 0) {
		w->heard = w->heard || strcmp(jsonx_opt_string(j, "id", ""), w->hello) == 0;
		return 0;
	}
	if (!is_wanted(w, j))
		return 0;
	if (format)
		tool_format_print(format, j);
	else if (w->ctx->json)
		printf("%.*s\n", (int)len, text);
	else
		print_line(j);
	return fflush(stdout) == 0 ? 0 : err_sys(e, "stdout");
}

static int drain(struct watcher *w, struct err *e)
{
	char text[MESSAGE_MAX];
	for (;;) {
		int n = nn_recv(w->feed, text, sizeof text, NN_DONTWAIT);
		if (n < 0)
			return 0;
		if ((size_t)n <= sizeof text && take(w, text, (size_t)n, e) < 0)
			return -1;
	}
}

/* Returns 1 when it is time to end. */
static int wait_for_more(struct watcher *w, int at_most_ms, struct err *e)
{
	struct pollfd p[] = {{.fd = w->bell, .events = POLLIN},
			     {.fd = w->signals, .events = POLLIN}};
	long long left = w->ends_at ? w->ends_at - proc_now_ms() : -1;
	if (w->ends_at && left <= 0)
		return 1;
	if (at_most_ms >= 0 && (left < 0 || left > at_most_ms))
		left = at_most_ms;
	if (poll(p, 2, (int)left) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	if (p[1].revents)
		return 1;
	return drain(w, e);
}

static int greet(struct watcher *w, struct err *e)
{
	char text[128];
	long long until = proc_now_ms() + HELLO_MS;
	snprintf(w->hello, sizeof w->hello, "ctrevents-%ld-%lld", (long)getpid(), until);
	int len = snprintf(text, sizeof text, "{\"kind\":\"hello\",\"event\":\"\",\"id\":\"%s\"}",
			   w->hello);
	while (!w->heard) {
		if (proc_now_ms() > until)
			return err_set(e, ERR_TIMEOUT, "crispd does not answer");
		(void)nn_send(w->ask, text, (size_t)len, NN_DONTWAIT);
		int r = wait_for_more(w, HELLO_EVERY_MS, e);
		if (r)
			return r;
	}
	return 0;
}

static int watch(struct watcher *w, struct err *e)
{
	int r = 0;
	if (open_sockets(w, e) < 0 || (w->signals = proc_end_signals(e)) < 0 ||
	    (r = greet(w, e)) < 0)
		return -1;
	if (r == 0)
		log_info("listening");
	while (r == 0)
		r = wait_for_more(w, -1, e);
	return r < 0 ? -1 : 0;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct watcher w = {.ctx = c,
			    .ask = -1,
			    .feed = -1,
			    .signals = -1,
			    .ids = (const char *const *)argv,
			    .n_ids = argc};
	if (kind && strcmp(kind, "pod") != 0 && strcmp(kind, "container") != 0 &&
	    strcmp(kind, "image") != 0)
		return err_set(e, ERR_USAGE, "--kind: '%s' is not pod, container or image", kind);
	if (tool_format_check(format, e) < 0)
		return -1;
	if (c->timeout >= 0)
		w.ends_at = proc_now_ms() + (long long)(c->timeout * 1000);
	int r = watch(&w, e);
	if (w.feed >= 0)
		nn_close(w.feed);
	if (w.ask >= 0)
		nn_close(w.ask);
	auto_close(&w.signals);
	return r;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{"kind", 0, OPT_STRING, &kind, "KIND", "only pod, container or image"},
		TOOL_FORMAT_OPT(&format),
		{.name = NULL},
	};
	static const struct verb verbs[] = {
		{"", "[POD|CTR...]",
		 "tell what happens to pods, containers and images, as it happens", opts, 0, -1,
		 run},
		{.name = NULL},
	};
	static const struct tool tool = {"ctrevents", "follow the events of crispd",
					 TOOL_STATE | TOOL_JSON | TOOL_TIMEOUT, NULL, verbs};
	return tool_main(&tool, argc, argv);
}
