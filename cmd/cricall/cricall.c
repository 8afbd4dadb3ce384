/* SPDX-License-Identifier: Apache-2.0 */
/* Any call of the CRI from a shell: the request as JSON, the answer as JSON. */
#include "auto.h"
#include "client.h"
#include "cri_method.h"
#include "jsonx.h"
#include "pbjson.h"
#include "proc.h"
#include "replay.h"
#include "skeleton.h"
#include "tool.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/crisp/crisp.sock"

static const char *socket_name;
static bool want_list, want_describe;
static long max_message = 16 << 20;
static const char *replay_file;
static double settle = 10;

static const struct opt opts[] = {
	{"socket", 's', OPT_STRING, &socket_name, "PATH",
	 "the CRI socket ($CONTAINER_RUNTIME_ENDPOINT, " DEFAULT_SOCKET ")"},
	{"max-message", 0, OPT_INT, &max_message, "BYTES", "largest message either way (16 MiB)"},
	{"list", 0, OPT_FLAG, &want_list, NULL, "name the methods"},
	{"describe", 0, OPT_FLAG, &want_describe, NULL, "print the method's request, to be edited"},
	{"replay", 0, OPT_STRING, &replay_file, "FILE",
	 "send the calls of a record (crispd --record), compare the answers"},
	{"settle", 0, OPT_SECONDS, &settle, "SECONDS",
	 "how long a replayed read may take to become what was recorded (10)"},
	{0},
};

static const char *socket_path(void)
{
	const char *env = getenv("CONTAINER_RUNTIME_ENDPOINT");
	return socket_name ? socket_name : env && *env ? env : DEFAULT_SOCKET;
}

static void list_methods(void)
{
	struct cri_method m;
	for (size_t i = 0; cri_method_at(i, &m); i++)
		printf("%s%s\n", m.name, m.streaming ? " stream" : "");
}

static int describe(const struct cri_method *m, struct err *e)
{
	AUTO_JSON json_t *j = skeleton(m->input);
	AUTO_FREE char *text = json_dumps(j, JSON_INDENT(2));
	if (!text)
		return err_set(e, ERR_EXHAUSTED, "out of memory");
	puts(text);
	return 0;
}

/* The operand is a file, "-", or the request itself when it begins like a JSON object. */
static uint8_t *read_request(const struct cri_method *m, const char *operand, size_t *len,
			     struct err *e)
{
	AUTO_PB ProtobufCMessage *request = NULL;
	if (!operand)
		request = pbjson_parse(m->input, "{}", 2, "request", e);
	else if (operand[strspn(operand, " \t\n")] == '{')
		request = pbjson_parse(m->input, operand, strlen(operand), "request", e);
	else
		request = pbjson_load(m->input, operand, e);
	if (!request)
		return NULL;
	*len = protobuf_c_message_get_packed_size(request);
	if (*len > (size_t)max_message)
		return err_set_p(e, ERR_EXHAUSTED, "the request of %zu bytes is larger than %ld",
				 *len, max_message);
	uint8_t *packed = xmalloc(*len + 1);
	protobuf_c_message_pack(request, packed);
	return packed;
}

struct output {
	const struct cri_method *method;
	int flags; /* enum pbjson_flags */
};

static int print_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
	const struct output *o = arg;
	AUTO_PB ProtobufCMessage *m = protobuf_c_message_unpack(o->method->output, NULL, len,
								data ? data : (const uint8_t *)"");
	if (!m)
		return err_set(e, ERR_FAILED, "INTERNAL: the answer is not a %s",
			       o->method->output->short_name);
	AUTO_FREE char *text = pbjson_dump(m, o->flags, NULL, e);
	if (!text)
		return -1;
	if (puts(text) < 0 || fflush(stdout) != 0)
		return err_sys(e, "write to standard output");
	return 0;
}

static int call(const struct cri_method *m, const char *operand, double timeout, struct err *e)
{
	struct output out = {m, !m->streaming && isatty(STDOUT_FILENO) ? PBJSON_PRETTY : 0};
	struct client_call c = {.max_message = (size_t)max_message,
				.streaming = m->streaming,
				.due_ms = -1,
				.on_message = print_message,
				.arg = &out};
	AUTO_FREE uint8_t *request = read_request(m, operand, &c.request_len, e);
	AUTO_FREE char *path = cri_method_path(m);
	if (!request)
		return -1;
	if (timeout >= 0)
		c.due_ms = proc_now_ms() + (long long)(timeout * 1000);
	c.path = path;
	c.request = request;
	AUTO_CLOSE int fd = client_connect(socket_path(), c.due_ms, e);
	if (fd < 0)
		return -1;
	return client_run(fd, &c, e);
}

static int run(struct tool_ctx *t, int argc, char **argv, struct err *e)
{
	struct cri_method m;
	if (max_message < 1 || max_message > UINT32_MAX)
		return err_set(e, ERR_USAGE, "--max-message: %ld is out of range", max_message);
	if (replay_file && argc > 0)
		return err_set(e, ERR_USAGE, "--replay takes no operands");
	if (replay_file) {
		struct replay_opts o = {.socket = socket_path(),
					.file = replay_file,
					.max_message = (size_t)max_message,
					.timeout = t->timeout,
					.settle = settle,
					.json = t->json};
		return replay(&o, e);
	}
	if (want_list && argc > 0)
		return err_set(e, ERR_USAGE, "--list takes no operands");
	if (want_list) {
		list_methods();
		return 0;
	}
	if (argc < 1)
		return err_set(e, ERR_USAGE, "missing operand: METHOD");
	if (!cri_method_find(argv[0], &m))
		return err_set(e, ERR_USAGE, "no method '%s' ('cricall --list' names them)",
			       argv[0]);
	if (want_describe)
		return describe(&m, e);
	if (call(&m, argv[1], t->timeout, e) < 0)
		return err_wrap(e, "%s", m.name);
	return 0;
}

static const struct verb verbs[] = {
	{"", "METHOD [FILE|-|JSON]", "send a request of the CRI and print the answer", NULL, 0, 2,
	 run},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tool tool = {.name = "cricall",
					 .summary =
						 "send a request of the CRI and print the answer",
					 .flags = TOOL_NO_CONFIG | TOOL_TIMEOUT | TOOL_JSON,
					 .opts = opts,
					 .verbs = verbs};
	return tool_main(&tool, argc, argv);
}
