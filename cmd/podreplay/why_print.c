/* SPDX-License-Identifier: Apache-2.0 */
/* The document of why.h for people. */
#include "why.h"

#include "auto.h"
#include "jsonx.h"
#include "utf8.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum {
	SHORT = 12,
	STEPS_SHOWN = 40,
	COMMAND_SIZE = 110,
	TEXT_SIZE = 4096,
	CLOCK = 11,
	CLOCK_LEN = 12
};

static const char *str(json_t *j, const char *key)
{
	return jsonx_opt_string(j, key, "");
}

/* Names and words come from anywhere: no control character reaches a terminal. */
static void say(const char *before, const char *text, const char *after)
{
	char clean[TEXT_SIZE];
	utf8_escape(text, clean, sizeof clean);
	printf("%s%s%s", before, clean, after);
}

/* "10:00:00.123" of a time. */
static const char *clock_of(const char *time, char out[CLOCK_LEN + 1])
{
	size_t n = strlen(time);
	snprintf(out, CLOCK_LEN + 1, "%.*s", CLOCK_LEN, n > CLOCK ? time + CLOCK : "");
	return out;
}

/* Without the program's directory and what is said on every call; ids cut to what people take. */
static char *brief(const char *command)
{
	static const char *const common[] = {"--config", "--root", "--runroot", "--handler",
					     "--origin"};
	char *out = xmalloc(strlen(command) + 1);
	size_t n = 0;
	bool skip = false, first = true;
	for (const char *s = command; *s && strncmp(s, "- <", 3) != 0;) {
		size_t len = strcspn(s, " ");
		const char *word = s;
		bool is_common = false;
		s += len + (s[len] == ' ');
		for (size_t i = 0; i < ARRAY_LEN(common); i++)
			is_common |= strlen(common[i]) == len && strncmp(common[i], word, len) == 0;
		if (skip || is_common) {
			skip = is_common;
			continue;
		}
		const char *slash = first ? memrchr(word, '/', len) : NULL;
		if (slash) {
			len -= (size_t)(slash + 1 - word);
			word = slash + 1;
		}
		if (len == ID_LEN && strspn(word, "0123456789abcdef") >= ID_LEN)
			len = SHORT;
		if (n)
			out[n++] = ' ';
		memcpy(out + n, word, len);
		n += len;
		first = false;
	}
	out[n] = '\0';
	return out;
}

static void print_step(json_t *st, bool is_first_failed)
{
	char clock[CLOCK_LEN + 1];
	AUTO_FREE char *command = brief(str(st, "command"));
	json_int_t exit = jsonx_opt_int(st, "exit", 0), times = jsonx_opt_int(st, "times", 1);
	if (strlen(command) > COMMAND_SIZE)
		memcpy(command + COMMAND_SIZE - 3, "...", 4);
	printf("%s %s %7lld ms  ", is_first_failed ? ">" : " ", clock_of(str(st, "time"), clock),
	       (long long)jsonx_opt_int(st, "ms", 0));
	say("", command, "");
	if (strcmp(str(st, "rpc"), "hand") != 0)
		say("  (", str(st, "rpc"), ")");
	if (times > 1)
		printf("  %lld times", (long long)times);
	if (exit)
		printf("  exit %lld", (long long)exit);
	printf("\n");
	if (exit && *str(st, "error"))
		say("                             ", str(st, "error"), "\n");
}

static void print_event(json_t *ev)
{
	char clock[CLOCK_LEN + 1];
	printf("  %s             ", clock_of(str(ev, "time"), clock));
	say("container ", str(ev, "container"), " ");
	printf("%s\n", str(ev, "event"));
}

/* Steps and events in one row, by their time. */
static void print_story(json_t *doc)
{
	json_t *steps = json_object_get(doc, "steps"), *events = json_object_get(doc, "events");
	size_t n = json_array_size(steps), i = 0, k = 0;
	json_int_t failed = jsonx_opt_int(doc, "first_failed", -1);
	printf("\nwhat happened\n");
	/* The end is what tells, and what failed. */
	if (n > STEPS_SHOWN) {
		i = n - STEPS_SHOWN;
		printf("  ... %zu steps before (--json has them)\n", i);
		if (failed >= 0 && (size_t)failed < i)
			print_step(json_array_get(steps, (size_t)failed), true);
	}
	const char *from = i ? str(json_array_get(steps, i), "time") : "";
	while (i < n || k < json_array_size(events)) {
		json_t *st = json_array_get(steps, i), *ev = json_array_get(events, k);
		if (ev && (!st || strcmp(str(ev, "time"), str(st, "time")) < 0)) {
			if (strcmp(str(ev, "time"), from) >= 0)
				print_event(ev);
			k++;
		} else {
			print_step(st, (json_int_t)i == failed);
			i++;
		}
	}
}

static void print_verdict(json_t *v, const char *indent)
{
	size_t i;
	json_t *t;
	say(indent, str(v, "text"), "\n");
	if (*str(v, "words")) {
		printf("%s", indent);
		say("  \"", str(v, "words"), "\"\n");
	}
	json_array_foreach (json_object_get(v, "try"), i, t) {
		printf("%s", indent);
		say(i ? "       " : "  try: ", json_string_value(t), "\n");
	}
}

static void print_peak(const char *what, json_int_t peak, json_int_t limit)
{
	AUTO_FREE char *p = why_bytes(peak), *l = why_bytes(limit);
	printf("  %s: peak %s, limit %s", what, peak ? p : "not known", limit ? l : "none");
}

static void print_memory(json_t *m)
{
	json_int_t peak = jsonx_opt_int(m, "peak", 0), limit = jsonx_opt_int(m, "limit", 0);
	json_int_t met = jsonx_opt_int(m, "limit_met", 0), now = jsonx_opt_int(m, "now", 0);
	json_int_t swap = jsonx_opt_int(m, "swap_peak", 0);
	json_int_t both = jsonx_opt_int(m, "with_swap_peak", 0);
	json_int_t all = jsonx_opt_int(m, "with_swap_limit", 0);
	AUTO_FREE char *n = why_bytes(now);
	if (peak || limit) {
		print_peak("memory", peak, limit);
		if (met)
			printf(" (met %lld times)", (long long)met);
		printf("%s%s\n", now ? ", now " : "", now ? n : "");
	}
	/* Only of one that has swapped. */
	if (swap) {
		print_peak("swap", swap, all > limit ? all - limit : 0);
		printf("\n");
	} else if (both > peak) {
		print_peak("memory and swap", both, all);
		printf("\n");
	}
}

static void print_cpu(json_t *cpu)
{
	double limit = json_number_value(json_object_get(cpu, "limit"));
	if (limit > 0)
		printf("  cpu: limit %.2f", limit);
	if (limit > 0 && json_object_get(cpu, "periods"))
		printf(", held back in %lld of %lld periods (%lld %%), for %lld ms",
		       (long long)jsonx_opt_int(cpu, "throttled", 0),
		       (long long)jsonx_opt_int(cpu, "periods", 0),
		       (long long)jsonx_opt_int(cpu, "throttled_percent", 0),
		       (long long)jsonx_opt_int(cpu, "throttled_ms", 0));
	if (limit > 0)
		printf("\n");
}

static void print_pids(json_t *pids)
{
	json_int_t peak = jsonx_opt_int(pids, "peak", 0), limit = jsonx_opt_int(pids, "limit", 0);
	json_int_t refused = jsonx_opt_int(pids, "refused", 0);
	if (!peak)
		return;
	printf("  processes: peak %lld, limit ", (long long)peak);
	if (limit)
		printf("%lld", (long long)limit);
	else
		printf("none");
	if (refused)
		printf(", one more refused %lld times", (long long)refused);
	printf("\n");
}

/* An image's id as people take it. */
static void say_image(const char *image)
{
	bool is_id = strncmp(image, "sha256:", 7) == 0;
	char text[TEXT_SIZE];
	snprintf(text, sizeof text, "%.*s", is_id ? 7 + SHORT : TEXT_SIZE - 1, image);
	say(", image ", text, "");
}

static void print_ctr(json_t *c)
{
	size_t i;
	json_t *item, *x = json_object_get(c, "exit"), *log = json_object_get(c, "log");
	say("\ncontainer ", str(c, "name"), "");
	printf(" (%.*s)", SHORT, str(c, "id"));
	say_image(str(c, "image"));
	printf(": %s", str(c, "state"));
	if (x) {
		printf(", exit code %lld", (long long)jsonx_opt_int(x, "code", 0));
		if (*str(x, "signal_name"))
			printf(", signal %lld (%s)", (long long)jsonx_opt_int(x, "signal", 0),
			       str(x, "signal_name"));
		say(", ", str(x, "reason"), "");
	}
	printf("\n");
	print_verdict(json_object_get(c, "verdict"), "  ");
	printf("  asked:");
	json_array_foreach (json_object_get(json_object_get(c, "asked"), "args"), i, item)
		say(" ", json_is_string(item) ? json_string_value(item) : "?", "");
	printf("\n");
	print_memory(json_object_get(c, "memory"));
	print_cpu(json_object_get(c, "cpu"));
	print_pids(json_object_get(c, "pids"));
	if (json_array_size(log))
		printf("  the end of its log:\n");
	json_array_foreach (log, i, item) {
		printf("    %s ", strcmp(str(item, "stream"), "stderr") == 0 ? "err" : "out");
		say("", str(item, "text"), "\n");
	}
}

void why_print(json_t *doc)
{
	size_t i;
	json_t *pod = json_object_get(doc, "pod"), *c, *ctrs = json_object_get(doc, "containers");
	say("pod ", str(pod, "name"), "");
	printf(" (%.*s)", SHORT, str(pod, "id"));
	say(" in ", str(pod, "namespace"), "");
	printf(", made %s: ", strcmp(str(pod, "origin"), "cri") == 0 ? "over the CRI" : "by hand");
	say("", str(pod, "state"), "");
	if (*str(pod, "reason"))
		say(": ", str(pod, "reason"), "");
	printf("\n");
	/* One container's verdict is beside it. */
	if (json_array_size(ctrs) != 1 ||
	    !json_equal(json_object_get(doc, "verdict"),
			json_object_get(json_array_get(ctrs, 0), "verdict")))
		print_verdict(json_object_get(doc, "verdict"), "");
	json_array_foreach (ctrs, i, c)
		print_ctr(c);
	print_story(doc);
}
