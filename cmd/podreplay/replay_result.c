/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a replay: beside what was recorded, against what was expected, for people and for CI. */
#include "replay.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "utf8.h"
#include "xalloc.h"

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_MAX = 64 << 20, TEXT_MAX = 16 << 20 };

/* One line of the report and one case of the JUnit file. */
static void add_check(json_t *checks, const char *name, const char *failure)
{
	json_array_append_new(checks, json_pack("{s:s, s:b, s:s*}", "name", name, "ok", !failure,
						"message", failure));
}

/* ---- how a container stands */

struct outcome {
	const char *state;
	struct exit_record exit;
	bool ended;
};

static void outcome_release(struct outcome *o)
{
	exit_record_release(&o->exit);
}

static void look(const struct replay *r, const struct replay_ctr *k, struct outcome *o)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record rec = {0};
	*o = (struct outcome){.state = "missing"};
	if (!*k->id || ctr_record_read(&r->st, k->id, &rec, &ignored) < 0)
		return;
	enum ctr_state s = ctr_effective(&r->st, &rec, &o->exit);
	o->state = ctr_state_name(s);
	o->ended = s == CTR_EXITED;
}

static json_t *exit_json(const char *state, bool ended, const struct exit_record *x)
{
	json_t *j = json_pack("{s:s}", "state", state);
	if (!ended)
		return j;
	json_object_set_new(j, "exit_code", json_integer(x->exit_code));
	json_object_set_new(j, "signal", json_integer(x->signal));
	json_object_set_new(j, "oom", json_boolean(x->oom));
	json_object_set_new(j, "reason", json_string(x->reason ? x->reason : ""));
	json_object_set_new(j, "ms", json_integer((x->finished_at - x->started_at) / 1000000));
	return j;
}

static bool is_same(const struct replay_ctr *k, const char *recorded, const struct outcome *now)
{
	if (strcmp(recorded, now->state) != 0)
		return false;
	return !k->ended || (k->exit.exit_code == now->exit.exit_code &&
			     k->exit.signal == now->exit.signal && k->exit.oom == now->exit.oom);
}

/* "exited 137 (OOMKilled)", "running" */
static void words_of(json_t *j, char *out, size_t size)
{
	char reason[80];
	utf8_escape(jsonx_opt_string(j, "reason", ""), reason, sizeof reason);
	if (json_object_get(j, "exit_code"))
		snprintf(out, size, "exited %d (%s)", (int)jsonx_opt_int(j, "exit_code", 0),
			 reason);
	else
		snprintf(out, size, "%s", jsonx_opt_string(j, "state", ""));
}

static json_t *rows_of(const struct replay *r)
{
	json_t *rows = json_array(), *index = json_object_get(r->arc.index, "containers");
	for (size_t i = 0; i < r->n_ctrs; i++) {
		const struct replay_ctr *k = &r->ctrs[i];
		__attribute__((cleanup(outcome_release))) struct outcome now;
		const char *recorded = jsonx_opt_string(json_array_get(index, i), "state", "");
		look(r, k, &now);
		json_array_append_new(rows,
				      json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:b, s:s}", "name",
						k->name, "attempt", k->attempt, "id", k->id,
						"recorded_id", k->recorded, "recorded",
						exit_json(recorded, k->ended, &k->exit), "now",
						exit_json(now.state, now.ended, &now.exit), "same",
						is_same(k, recorded, &now), "error", k->error));
	}
	return rows;
}

/* ---- expectations */

/* [CONTAINER=]VALUE; the rest of the word in *value. */
static bool is_about(const char *word, const char *name, const char **value)
{
	const char *eq = strchr(word, '=');
	*value = eq ? eq + 1 : word;
	return !eq ||
	       (strlen(name) == (size_t)(eq - word) && strncmp(word, name, strlen(name)) == 0);
}

/* The pod's own exit code: that of the first container that failed, in their order. The last attempt
 * of each counts. */
static json_t *deciding(json_t *rows, const char *word, const char **value)
{
	size_t i;
	json_t *row, *first = NULL, *last = NULL;
	json_array_foreach (rows, i, row) {
		json_t *now = json_object_get(row, "now");
		if (!is_about(word, jsonx_opt_string(row, "name", ""), value))
			continue;
		last = row;
		if (!first && jsonx_opt_int(now, "exit_code", 0) != 0)
			first = row;
	}
	return strchr(word, '=') || !first ? last : first;
}

static void expect_exit(json_t *checks, json_t *rows, const char *word)
{
	const char *value = word;
	char text[256];
	long want;
	json_t *row = deciding(rows, word, &value), *now = json_object_get(row, "now");
	AUTO_FREE char *name = xasprintf("exit %s", word);
	if (!row)
		snprintf(text, sizeof text, "no such container");
	else if (tool_parse_long(value, &want) < 0)
		snprintf(text, sizeof text, "'%.80s' is no exit code", value);
	else if (!json_object_get(now, "exit_code"))
		snprintf(text, sizeof text, "container %.64s has not ended",
			 jsonx_opt_string(row, "name", ""));
	else if (jsonx_opt_int(now, "exit_code", 0) != want)
		snprintf(text, sizeof text, "container %.64s exited with %d",
			 jsonx_opt_string(row, "name", ""),
			 (int)jsonx_opt_int(now, "exit_code", 0));
	else
		text[0] = '\0';
	add_check(checks, name, *text ? text : NULL);
}

/* The text of a CRI log, without the heads of its lines; pieces of one line are put together. */
static char *log_text(const struct replay *r, const struct replay_ctr *k)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record rec = {0};
	AUTO_BUF struct buf in = BUF_INIT(LOG_MAX);
	AUTO_BUF struct buf out = BUF_INIT(LOG_MAX);
	if (!*k->id || ctr_record_read(&r->st, k->id, &rec, &ignored) < 0 || !*rec.log_path ||
	    fs_read_at(AT_FDCWD, rec.log_path, &in, &ignored) < 0)
		return xstrdup("");
	char *text = in.data;
	for (char *line; (line = strsep(&text, "\n"));) {
		char *stream = strchr(line, ' '), *tag = stream ? strchr(stream + 1, ' ') : NULL;
		char *rest = tag ? strchr(tag + 1, ' ') : NULL;
		if (!rest)
			continue;
		(void)buf_addstr(&out, rest + 1, &ignored);
		if (tag[1] == 'F')
			(void)buf_addstr(&out, "\n", &ignored);
	}
	return buf_take(&out);
}

static int expect_log(const struct replay *r, json_t *checks, const char *pattern, struct err *e)
{
	regex_t re;
	char why[200];
	bool found = false;
	int bad = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
	if (bad) {
		regerror(bad, &re, why, sizeof why);
		return err_set(e, ERR_USAGE, "--expect-log '%.200s': %s", pattern, why);
	}
	for (size_t i = 0; i < r->n_ctrs && !found; i++) {
		AUTO_FREE char *text = log_text(r, &r->ctrs[i]);
		found = regexec(&re, text, 0, NULL, 0) == 0;
	}
	regfree(&re);
	AUTO_FREE char *name = xasprintf("log %s", pattern);
	add_check(checks, name, found ? NULL : "no line of any container matches");
	return 0;
}

static void expect_same(json_t *checks, json_t *rows)
{
	size_t i;
	json_t *row;
	json_array_foreach (rows, i, row) {
		char was[128], is[128], text[300];
		AUTO_FREE char *name =
			xasprintf("%s %d as recorded", jsonx_opt_string(row, "name", ""),
				  (int)jsonx_opt_int(row, "attempt", 0));
		words_of(json_object_get(row, "recorded"), was, sizeof was);
		words_of(json_object_get(row, "now"), is, sizeof is);
		snprintf(text, sizeof text, "was %s, is %s", was, is);
		add_check(checks, name, jsonx_opt_bool(row, "same", false) ? NULL : text);
	}
}

static json_t *checks_of(const struct replay *r, json_t *rows, struct err *e)
{
	const struct replay_options *o = r->opt;
	AUTO_JSON json_t *checks = json_array();
	if (o->expect_same)
		expect_same(checks, rows);
	for (int i = 0; i < o->expect_exit.count; i++)
		expect_exit(checks, rows, o->expect_exit.v[i]);
	for (int i = 0; i < o->expect_log.count; i++)
		if (expect_log(r, checks, o->expect_log.v[i], e) < 0)
			return NULL;
	return json_incref(checks);
}

/* ---- JUnit XML, as CI systems read it */

static void xml(FILE *f, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '<')
			fputs("&lt;", f);
		else if (c == '>')
			fputs("&gt;", f);
		else if (c == '&')
			fputs("&amp;", f);
		else if (c == '"')
			fputs("&quot;", f);
		else if (c < 0x20 && c != '\n' && c != '\t') /* XML 1.0 has no word for them */
			putc('?', f);
		else
			putc(c, f);
	}
}

static void junit_case(FILE *f, json_t *check, const char *suite)
{
	fputs("    <testcase classname=\"podreplay.", f);
	xml(f, suite);
	fputs("\" name=\"", f);
	xml(f, jsonx_opt_string(check, "name", ""));
	fputs("\">", f);
	if (!jsonx_opt_bool(check, "ok", false)) {
		fputs("\n      <failure message=\"", f);
		xml(f, jsonx_opt_string(check, "message", ""));
		fputs("\"/>\n    ", f);
	}
	fputs("</testcase>\n", f);
}

static void junit_logs(const struct replay *r, FILE *f)
{
	fputs("    <system-out>", f);
	for (size_t i = 0; i < r->n_ctrs; i++) {
		AUTO_FREE char *text = log_text(r, &r->ctrs[i]);
		size_t len = strlen(text);
		xml(f, r->ctrs[i].name);
		fputs(":\n", f);
		if (utf8_valid(text, len < TEXT_MAX ? len : TEXT_MAX))
			xml(f, text);
	}
	fputs("</system-out>\n", f);
}

static int write_junit(const struct replay *r, json_t *checks, int failed, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len, i;
	json_t *check;
	const char *pod = jsonx_opt_string(json_object_get(r->arc.index, "pod"), "name", "");
	FILE *f = open_memstream(&text, &len);
	if (!f)
		return err_sys(e, "--junit");
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
		   "  <testsuite name=\"podreplay.");
	xml(f, pod);
	fprintf(f, "\" tests=\"%zu\" failures=\"%d\" errors=\"0\">\n", json_array_size(checks) + 1,
		failed);
	AUTO_JSON json_t *ran = json_pack("{s:s, s:b}", "name", "replayed", "ok", 1);
	junit_case(f, ran, pod);
	json_array_foreach (checks, i, check)
		junit_case(f, check, pod);
	junit_logs(r, f);
	fputs("  </testsuite>\n</testsuites>\n", f);
	if (fclose(f) != 0)
		return err_sys(e, "--junit");
	return fs_replace_file_at(AT_FDCWD, r->opt->junit, 0644, text, len, 0, e) < 0
		       ? err_wrap(e, "--junit")
		       : 0;
}

/* ---- for people */

/* What others wrote, for a terminal. */
static void print_text(const char *before, const char *text, const char *after)
{
	char clean[1024];
	utf8_escape(text, clean, sizeof clean);
	printf("%s%s%s", before, clean, after);
}

static void print_rows(json_t *rows, json_t *checks)
{
	size_t i;
	json_t *j;
	printf("%-24s %-8s %-28s %-28s\n", "CONTAINER", "ATTEMPT", "RECORDED", "NOW");
	json_array_foreach (rows, i, j) {
		char was[128], is[128], name[100];
		words_of(json_object_get(j, "recorded"), was, sizeof was);
		words_of(json_object_get(j, "now"), is, sizeof is);
		utf8_escape(jsonx_opt_string(j, "name", ""), name, sizeof name);
		printf("%-24s %-8d %-28s %-28s%s\n", name, (int)jsonx_opt_int(j, "attempt", 0), was,
		       is, jsonx_opt_bool(j, "same", false) ? "" : "  differs");
		if (*jsonx_opt_string(j, "error", ""))
			print_text("    ", jsonx_opt_string(j, "error", ""), "\n");
	}
	json_array_foreach (checks, i, j) {
		const char *why = jsonx_opt_string(j, "message", "");
		print_text(jsonx_opt_bool(j, "ok", false) ? "ok   " : "FAIL ",
			   jsonx_opt_string(j, "name", ""), *why ? ": " : "\n");
		if (*why)
			print_text("", why, "\n");
	}
}

int replay_result(struct replay *r, struct err *e)
{
	size_t i;
	json_t *check;
	int failed = 0;
	AUTO_JSON json_t *rows = rows_of(r);
	AUTO_JSON json_t *checks = checks_of(r, rows, e);
	if (!checks)
		return -1;
	json_array_foreach (checks, i, check)
		failed += !jsonx_opt_bool(check, "ok", false);
	if (r->opt->junit && write_junit(r, checks, failed, e) < 0)
		return -1;
	if (r->c->json) {
		AUTO_JSON json_t *out =
			json_pack("{s:O, s:s, s:O, s:O, s:b}", "pod",
				  json_object_get(r->arc.index, "pod"), "archive", r->arc.digest,
				  "containers", rows, "checks", checks, "over_time", r->over_time);
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_rows(rows, checks);
	}
	return failed ? 1 : 0;
}
