/* SPDX-License-Identifier: Apache-2.0 */
#include "story.h"

#include "auto.h"
#include "xalloc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { HEAD_MAX = 64, STAMP_MIN = 20 };

static bool digits(const char *s, size_t n, int *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		*out = *out * 10 + (s[i] - '0');
	}
	return true;
}

bool story_time(const char *s, size_t len, int64_t *ns)
{
	struct tm tm = {0};
	static const char form[] = "0000-00-00T00:00:00";
	int *const parts[] = {&tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			      &tm.tm_hour, &tm.tm_min, &tm.tm_sec};
	int fraction = 0;
	size_t at = 0, n = 0;
	if (len < STAMP_MIN)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t width = i == 0 ? 4 : 2;
		if (!digits(s + at, width, parts[i]) ||
		    (form[at + width] && s[at + width] != form[at + width]))
			return false;
		at += width + 1;
	}
	if (s[at - 1] == '.')
		for (; n < 9 && at + n < len && isdigit((unsigned char)s[at + n]); n++)
			fraction = fraction * 10 + (s[at + n] - '0');
	for (size_t i = n; i < 9; i++)
		fraction *= 10;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (tm.tm_year < 70 || tm.tm_year > 300)
		return false;
	*ns = (int64_t)timegm(&tm) * 1000000000 + fraction;
	return true;
}

static const char *word_end(const char *s, const char *end)
{
	const char *blank = memchr(s, ' ', (size_t)(end - s));
	return blank ? blank : end;
}

/* The text between quotes, with its escapes undone; "" when it is none. */
static char *unquote(const char *s, const char *end)
{
	char *out = xmalloc((size_t)(end - s) + 1);
	size_t n = 0;
	for (s += s < end && *s == '"'; s < end && *s != '"'; s++) {
		if (*s == '\\' && s + 1 < end)
			s++;
		out[n++] = *s;
	}
	out[n] = '\0';
	return out;
}

/* "req=17 exit=0 ms=12 error="…"" */
static void take_fields(struct story_step *st, const char *s, const char *end)
{
	while (s < end) {
		const char *stop = word_end(s, end);
		size_t n = (size_t)(stop - s);
		if (n > 4 && strncmp(s, "req=", 4) == 0) {
			free(st->req);
			st->req = xstrndup(s + 4, n - 4);
		} else if (n > 5 && strncmp(s, "exit=", 5) == 0) {
			st->exit_status = (int)strtol(s + 5, NULL, 10);
		} else if (n > 3 && strncmp(s, "ms=", 3) == 0) {
			st->ms = strtoll(s + 3, NULL, 10);
		} else if (n > 6 && strncmp(s, "error=", 6) == 0) {
			free(st->error);
			st->error = unquote(s + 6, end);
			return;
		} else if (n > 8 && strncmp(s, "warning=", 8) == 0) {
			return;
		}
		s = stop + (stop < end);
	}
}

static void step_release(struct story_step *st)
{
	free(st->command);
	free(st->rpc);
	free(st->req);
	free(st->error);
}

/* The command is split from its comment at the last " # " (journal.h). */
static bool parse_step(const char *line, size_t len, struct story_step *st)
{
	const char *end = line + len, *mark = NULL;
	for (const char *p = end - 3; p > line && !mark; p--)
		if (memcmp(p, " # ", 3) == 0)
			mark = p;
	if (!mark)
		return false;
	const char *stamp = mark + 3, *rpc = word_end(stamp, end);
	int64_t when;
	if (rpc == end || !story_time(stamp, (size_t)(rpc - stamp), &when))
		return false;
	rpc++;
	const char *fields = word_end(rpc, end);
	*st = (struct story_step){
		.when = when,
		.command = xstrndup(line, (size_t)(mark - line)),
		.rpc = xstrndup(rpc, (size_t)(fields - rpc)),
		.req = xstrdup(""),
		.error = xstrdup(""),
		.times = 1,
	};
	take_fields(st, fields + (fields < end), end);
	return true;
}

static bool is_word(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && strncmp(s, word, len) == 0;
}

bool story_step_is(const struct story_step *st, const char *tool, const char *verb)
{
	const char *s = st->command;
	size_t n = strcspn(s, " ");
	const char *slash = memrchr(s, '/', n);
	const char *name = slash ? slash + 1 : s;
	if (!is_word(name, n - (size_t)(name - s), tool))
		return false;
	/* What crispd says before the verb are options with a value. */
	for (s += n; *s == ' '; s += n) {
		s++;
		n = strcspn(s, " ");
		if (*s != '-')
			return is_word(s, n, verb);
		s += n + (s[n] == ' ');
		n = strcspn(s, " ");
	}
	return false;
}

static bool is_again(const struct story_step *a, const struct story_step *b)
{
	return strcmp(a->rpc, "ExecSync") == 0 && strcmp(a->rpc, b->rpc) == 0 &&
	       a->exit_status == b->exit_status && strcmp(a->command, b->command) == 0 &&
	       strcmp(a->error, b->error) == 0;
}

void story_add_journal(struct story *s, const char *text, size_t len)
{
	while (len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;
		struct story_step st;
		if (s->n_steps < STORY_STEPS_MAX && n > 3 && parse_step(text, n, &st)) {
			if (s->n_steps && is_again(&s->steps[s->n_steps - 1], &st)) {
				s->steps[s->n_steps - 1].times++;
				step_release(&st);
			} else {
				/* Grown by powers of two. */
				if ((s->n_steps & (s->n_steps - 1)) == 0)
					s->steps = xrealloc(s->steps,
							    (s->n_steps ? 2 * s->n_steps : 1) *
								    sizeof *s->steps);
				s->steps[s->n_steps++] = st;
			}
		}
		n += nl != NULL;
		text += n;
		len -= n;
	}
}

bool story_next_line(const char *log, size_t log_len, size_t *at, struct story_line *l)
{
	if (*at >= log_len)
		return false;
	const char *line = log + *at, *nl = memchr(line, '\n', log_len - *at);
	size_t len = nl ? (size_t)(nl - line) : log_len - *at;
	const char *end = line + len;
	*at += len + (nl != NULL);
	*l = (struct story_line){.stamp = line, .text = line, .len = len};
	const char *a = memchr(line, ' ', len < HEAD_MAX ? len : HEAD_MAX);
	if (!a || end - a < 10 || (memcmp(a, " stdout ", 8) != 0 && memcmp(a, " stderr ", 8) != 0))
		return true;
	const char *b = memchr(a + 8, ' ', (size_t)(end - a - 8));
	if (!b || (a[8] != 'P' && a[8] != 'F'))
		return true;
	*l = (struct story_line){
		.stamp = line,
		.stamp_len = (size_t)(a - line),
		.text = b + 1,
		.len = (size_t)(end - b - 1),
		.is_stderr = a[4] == 'e',
		.is_partial = a[8] == 'P',
	};
	return true;
}
