/* SPDX-License-Identifier: Apache-2.0 */
#include "diff.h"

#include "auto.h"
#include "buf.h"
#include "jsonx.h"
#include "podreplay.h"
#include "utf8.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>

enum {
	LINES_MAX = 200000,
	DEPTH_MAX = 64,
	LINE_BYTES = 4 << 20,
	SLACK_MS = 100,
	ORDERED_MAX = 100,
	WINDOW = 60, /* lines of a log in which two are looked for that are alike again */
};
/* What is less than a second apart has no order. */
static const int64_t ORDER_NS = 1000000000;

struct diff {
	json_t *list, *times;
	const char *ctr; /* name of the container that is compared */
};

static void differ(struct diff *d, const char *what, const char *path, json_t *a, json_t *b)
{
	json_t *j = json_object();
	if (d->ctr)
		json_object_set_new(j, "container", json_string(d->ctr));
	json_object_set_new(j, "what", json_string(what));
	if (path)
		json_object_set_new(j, "path", json_string(path));
	json_object_set_new(j, "a", a ? a : json_null());
	json_object_set_new(j, "b", b ? b : json_null());
	json_array_append_new(d->list, j);
}

static void compare_int(struct diff *d, const char *what, int64_t a, int64_t b)
{
	if (a != b)
		differ(d, what, NULL, json_integer(a), json_integer(b));
}

/* ---- logs ---- */

struct lines {
	char **v;
	size_t n;
};

/* The whole lines of one stream, plain. */
static void lines_of(struct lines *out, const struct story_ctr *c, bool is_stderr)
{
	struct story_line l;
	struct err ignored;
	size_t at = 0;
	AUTO_BUF struct buf held = BUF_INIT(LINE_BYTES);
	*out = (struct lines){0};
	while (c->log && out->n < LINES_MAX && story_next_line(c->log, c->log_len, &at, &l)) {
		if (l.is_stderr != is_stderr)
			continue;
		(void)buf_add(&held, l.text, l.len, &ignored);
		if (l.is_partial)
			continue;
		if ((out->n & (out->n - 1)) == 0)
			out->v = xrealloc(out->v, (out->n ? 2 * out->n : 1) * sizeof *out->v);
		out->v[out->n++] = plain_text(held.data ? held.data : "", held.len);
		buf_clear(&held);
	}
}

static void lines_release(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static json_t *line_json(const struct lines *l, size_t i)
{
	if (i >= l->n)
		return NULL;
	json_t *s = json_string(l->v[i]);
	return s ? s : json_string("(not text)");
}

/* Where two logs that differ at i and k are alike again: lines of a, and of b, until then. */
static void resync(const struct lines *x, const struct lines *y, size_t i, size_t k, size_t *in_a,
		   size_t *in_b)
{
	for (size_t sum = 1; sum <= WINDOW; sum++)
		for (*in_a = 0; *in_a <= sum; ++*in_a) {
			*in_b = sum - *in_a;
			size_t p = i + *in_a, q = k + *in_b;
			if ((p < x->n && q < y->n && plain_equal(x->v[p], y->v[q])) ||
			    (p == x->n && q == y->n))
				return;
		}
	*in_a = *in_b = 1;
}

static void compare_stream(struct diff *d, const struct story_ctr *a, const struct story_ctr *b,
			   bool is_stderr)
{
	struct lines x, y;
	size_t told = 0, i = 0, k = 0, in_a, in_b;
	lines_of(&x, a, is_stderr);
	lines_of(&y, b, is_stderr);
	while ((i < x.n || k < y.n) && told < DIFF_PER_PART) {
		if (i < x.n && k < y.n && plain_equal(x.v[i], y.v[k])) {
			i++;
			k++;
			continue;
		}
		resync(&x, &y, i, k, &in_a, &in_b);
		for (; (in_a || in_b) && told < DIFF_PER_PART; told++) {
			AUTO_FREE char *path = xasprintf(
				"%s line %zu", is_stderr ? "stderr" : "stdout", (in_a ? i : k) + 1);
			differ(d, "log", path, in_a ? line_json(&x, i) : NULL,
			       in_b ? line_json(&y, k) : NULL);
			i += in_a != 0;
			k += in_b != 0;
			in_a -= in_a != 0;
			in_b -= in_b != 0;
		}
	}
	lines_release(&x);
	lines_release(&y);
}

/* ---- documents ---- */

struct walk {
	struct diff *d;
	size_t told;
	int depth;
};

static void compare_json(struct walk *w, const char *path, json_t *a, json_t *b);

static void compare_objects(struct walk *w, const char *path, json_t *a, json_t *b)
{
	const char *key, *dot = *path ? "." : "";
	json_t *v;
	json_object_foreach (a, key, v) {
		AUTO_FREE char *at = xasprintf("%s%s%s", path, dot, key);
		compare_json(w, at, v, json_object_get(b, key));
	}
	json_object_foreach (b, key, v) {
		AUTO_FREE char *at = xasprintf("%s%s%s", path, dot, key);
		if (!json_object_get(a, key))
			compare_json(w, at, NULL, v);
	}
}

static void compare_json(struct walk *w, const char *path, json_t *a, json_t *b)
{
	if (json_equal(a, b) || w->told >= DIFF_PER_PART || w->depth > DEPTH_MAX ||
	    (json_is_string(a) && json_is_string(b) &&
	     plain_equal(json_string_value(a), json_string_value(b))))
		return;
	w->depth++;
	if (json_is_object(a) && json_is_object(b)) {
		compare_objects(w, path, a, b);
	} else if (json_is_array(a) && json_is_array(b) &&
		   json_array_size(a) == json_array_size(b)) {
		for (size_t i = 0; i < json_array_size(a); i++) {
			AUTO_FREE char *at = xasprintf("%s[%zu]", path, i);
			compare_json(w, at, json_array_get(a, i), json_array_get(b, i));
		}
	} else {
		differ(w->d, "config.json", path, json_incref(a), json_incref(b));
		w->told++;
	}
	w->depth--;
}

static void compare_specs(struct diff *d, const struct plain *pa, const struct plain *pb,
			  const struct story_ctr *a, const struct story_ctr *b)
{
	struct walk w = {.d = d};
	/* A pod that was stopped has no bundles any more. */
	if (!a->spec || !b->spec)
		return;
	AUTO_JSON json_t *x = plain_json(pa, a->spec), *y = plain_json(pb, b->spec);
	compare_json(&w, "", x, y);
}

/* ---- containers ---- */

static void compare_ends(struct diff *d, const struct story_ctr *a, const struct story_ctr *b)
{
	if (a->state != b->state) {
		differ(d, "state", NULL, json_string(ctr_state_name(a->state)),
		       json_string(ctr_state_name(b->state)));
		return;
	}
	if (a->state != CTR_EXITED)
		return;
	compare_int(d, "exit_code", a->exit.exit_code, b->exit.exit_code);
	compare_int(d, "signal", a->exit.signal, b->exit.signal);
	if (a->exit.oom != b->exit.oom)
		differ(d, "oom", NULL, json_boolean(a->exit.oom), json_boolean(b->exit.oom));
	if (strcmp(a->exit.reason, b->exit.reason) != 0)
		differ(d, "reason", NULL, json_string(a->exit.reason), json_string(b->exit.reason));
}

static const struct story_ctr *same_of(const struct story *s, const struct story_ctr *c)
{
	for (size_t i = 0; i < s->n_ctrs; i++)
		if (strcmp(s->ctrs[i].name, c->name) == 0 && s->ctrs[i].attempt == c->attempt)
			return &s->ctrs[i];
	return NULL;
}

static void compare_ctrs(struct diff *d, const struct story *a, const struct story *b)
{
	struct plain pa, pb;
	plain_init(&pa, a);
	plain_init(&pb, b);
	for (size_t i = 0; i < a->n_ctrs; i++) {
		const struct story_ctr *x = &a->ctrs[i], *y = same_of(b, x);
		d->ctr = x->name;
		if (!y) {
			differ(d, "container", NULL, json_true(), json_false());
			continue;
		}
		compare_ends(d, x, y);
		compare_stream(d, x, y, false);
		compare_stream(d, x, y, true);
		compare_specs(d, &pa, &pb, x, y);
	}
	for (size_t i = 0; i < b->n_ctrs; i++) {
		d->ctr = b->ctrs[i].name;
		if (!same_of(a, &b->ctrs[i]))
			differ(d, "container", NULL, json_false(), json_true());
	}
	d->ctr = NULL;
}

/* ---- order ---- */

enum { CREATED, STARTED, EXITED, EVENTS };
static const char *const event_names[EVENTS] = {"created", "started", "exited"};

static int64_t event_time(const struct story_ctr *c, int event)
{
	bool refused = c->state == CTR_EXITED && strcmp(c->exit.reason, "StartError") == 0;
	if (event == CREATED)
		return c->rec.created_at;
	if (event == STARTED)
		return refused ? 0 : c->rec.started_at;
	return c->state == CTR_EXITED && !refused ? c->exit.finished_at : 0;
}

static bool is_before(int64_t x, int64_t y)
{
	return x > 0 && y > 0 && y - x >= ORDER_NS;
}

static void compare_pair(struct diff *d, const struct story_ctr *const x[2],
			 const struct story_ctr *const y[2], int i, int k)
{
	int64_t x0 = event_time(x[0], i), x1 = event_time(x[1], k);
	int64_t y0 = event_time(y[0], i), y1 = event_time(y[1], k);
	AUTO_FREE char *first = xasprintf("%s %s", x[0]->name, event_names[i]);
	AUTO_FREE char *second = xasprintf("%s %s", x[1]->name, event_names[k]);
	if (is_before(x0, x1) && is_before(y1, y0))
		differ(d, "order", second, json_sprintf("after %s", first),
		       json_sprintf("before %s", first));
	else if (is_before(x1, x0) && is_before(y0, y1))
		differ(d, "order", second, json_sprintf("before %s", first),
		       json_sprintf("after %s", first));
}

static void compare_order(struct diff *d, const struct story *a, const struct story *b)
{
	size_t n = a->n_ctrs < ORDERED_MAX ? a->n_ctrs : ORDERED_MAX;
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++) {
			const struct story_ctr *x[2] = {&a->ctrs[i], &a->ctrs[k]};
			const struct story_ctr *y[2] = {same_of(b, x[0]), same_of(b, x[1])};
			for (int e = 0; y[0] && y[1] && e < EVENTS * EVENTS; e++)
				compare_pair(d, x, y, e / EVENTS, e % EVENTS);
		}
}

/* ---- times ---- */

/* Milliseconds of the last step of that kind, for that id; -1 = there is none. */
static long long ms_of(const struct story *s, const char *tool, const char *verb, const char *id)
{
	for (size_t i = s->n_steps; i-- > 0;)
		if (story_step_is(&s->steps[i], tool, verb) && strstr(s->steps[i].command, id))
			return s->steps[i].ms;
	return -1;
}

static void add_time(struct diff *d, const char *name, long long a, long long b, double slower)
{
	if (a < 0 || b < 0)
		return;
	json_array_append_new(d->times, json_pack("{s:s, s:I, s:I}", "step", name, "a_ms",
						  (json_int_t)a, "b_ms", (json_int_t)b));
	if (slower > 0 && (double)b > slower * (double)a && b - a >= SLACK_MS)
		differ(d, "time", name, json_integer(a), json_integer(b));
}

static void compare_times(struct diff *d, const struct story *a, const struct story *b,
			  double slower)
{
	static const char *const verbs[][2] = {
		{"ocibundle", "create"}, {"ctrrun", "create"}, {"ctrrun", "start"}};
	add_time(d, "podnet create", ms_of(a, "podnet", "create", a->pod),
		 ms_of(b, "podnet", "create", b->pod), slower);
	for (size_t i = 0; i < a->n_ctrs; i++) {
		const struct story_ctr *x = &a->ctrs[i], *y = same_of(b, x);
		for (size_t k = 0; y && k < ARRAY_LEN(verbs); k++) {
			AUTO_FREE char *name =
				xasprintf("%s %s %s", verbs[k][0], verbs[k][1], x->name);
			add_time(d, name, ms_of(a, verbs[k][0], verbs[k][1], x->id),
				 ms_of(b, verbs[k][0], verbs[k][1], y->id), slower);
		}
		if (y && event_time(x, STARTED) > 0 && event_time(x, EXITED) > 0 &&
		    event_time(y, STARTED) > 0 && event_time(y, EXITED) > 0) {
			AUTO_FREE char *name = xasprintf("%s ran", x->name);
			add_time(
				d, name, (event_time(x, EXITED) - event_time(x, STARTED)) / 1000000,
				(event_time(y, EXITED) - event_time(y, STARTED)) / 1000000, slower);
		}
	}
}

json_t *diff_stories(const struct story *a, const struct story *b, double slower)
{
	struct diff d = {json_array(), json_array(), NULL};
	compare_ctrs(&d, a, b);
	compare_order(&d, a, b);
	compare_times(&d, a, b, slower);
	return json_pack("{s:i, s:b, s:o, s:o}", "version", 1, "same", json_array_size(d.list) == 0,
			 "differences", d.list, "times", d.times);
}

/* ---- the verb ---- */

static double slower;

const struct opt diff_table[] = {
	{"slower", 0, OPT_SECONDS, &slower, "FACTOR",
	 "a step that takes so many times as long differs, too"},
	{.name = NULL},
};

static void print_value(const char *label, const json_t *v)
{
	enum { SHOWN = 200 };
	AUTO_FREE char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	printf("%s%.*s%s", label, SHOWN, text ? text : "",
	       text && strlen(text) > SHOWN ? "..." : "");
}

static void print_people(json_t *doc)
{
	size_t i;
	json_t *j;
	json_array_foreach (json_object_get(doc, "differences"), i, j) {
		char name[256];
		utf8_escape(jsonx_opt_string(j, "container", ""), name, sizeof name);
		printf("%s%s%s", name, *name ? ": " : "", jsonx_opt_string(j, "what", ""));
		utf8_escape(jsonx_opt_string(j, "path", ""), name, sizeof name);
		printf("%s%s", *name ? " " : "", name);
		print_value(": ", json_object_get(j, "a"));
		print_value(", then ", json_object_get(j, "b"));
		printf("\n");
	}
	json_array_foreach (json_object_get(doc, "times"), i, j) {
		char name[256];
		utf8_escape(jsonx_opt_string(j, "step", ""), name, sizeof name);
		printf("%8lld ms %8lld ms  %s\n", (long long)jsonx_opt_int(j, "a_ms", 0),
		       (long long)jsonx_opt_int(j, "b_ms", 0), name);
	}
	printf("%s\n", jsonx_opt_bool(doc, "same", false) ? "same" : "different");
}

static int compare_files(struct tool_ctx *c, char **files, struct err *e)
{
	AUTO_ARC struct arc a = ARC_NONE;
	AUTO_ARC struct arc b = ARC_NONE;
	AUTO_STORY struct story x = {0};
	AUTO_STORY struct story y = {0};
	if (arc_open(&a, files[0], NULL, ARC_WITHOUT_IMAGES, e) < 0 ||
	    arc_open(&b, files[1], NULL, ARC_WITHOUT_IMAGES, e) < 0 ||
	    story_read_archive(&x, &a, e) < 0 || story_read_archive(&y, &b, e) < 0)
		return -1;
	AUTO_JSON json_t *doc = diff_stories(&x, &y, slower);
	if (!doc)
		return err_set(e, ERR_BAD_INPUT, "the archives cannot be compared");
	if (c->json) {
		AUTO_FREE char *text = json_dumps(doc, JSON_INDENT(2));
		puts(text ? text : "");
	} else {
		print_people(doc);
	}
	return jsonx_opt_bool(doc, "same", false) ? 0 : 1;
}

int podreplay_diff(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	int r = compare_files(c, argv, e);
	/* 1 says that they differ, and nothing else. */
	if (r < 0 && e->kind == ERR_FAILED)
		e->kind = ERR_UNAVAILABLE;
	return r;
}
