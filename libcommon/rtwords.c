/* SPDX-License-Identifier: Apache-2.0 */
#include "rtwords.h"

#include "flatjson.h"

#include <stdio.h>
#include <string.h>

struct line {
	const char *start;
	size_t len;
};

/* The line before `*end`, which moves to its start; false when there is none. Empty lines are
 * passed over. */
static bool previous_line(const char *text, const char **end, struct line *l)
{
	const char *e = *end;
	while (e > text && (e[-1] == '\n' || e[-1] == '\r' || e[-1] == ' '))
		e--;
	if (e == text)
		return false;
	const char *start = memrchr(text, '\n', (size_t)(e - text));
	start = start ? start + 1 : text;
	*l = (struct line){start, (size_t)(e - start)};
	*end = start;
	return true;
}

static void copy(char *out, size_t size, const char *s, size_t len)
{
	size_t n = len < size - 1 ? len : size - 1;
	memcpy(out, s, n);
	out[n] = '\0';
}

static bool json_error(const struct line *l, char *out, size_t size)
{
	char level[16] = "error";
	if (l->start[0] != '{' || !flatjson_string(l->start, l->len, "msg", out, size))
		return false;
	flatjson_string(l->start, l->len, "level", level, sizeof level);
	return strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0;
}

/* logrus' text form: …level=error msg="…" */
static bool logrus(const struct line *l, char *out, size_t size)
{
	static const char mark[] = " msg=\"";
	const char *msg = memmem(l->start, l->len, mark, sizeof mark - 1);
	if (!msg || l->len < 5 || memcmp(l->start, "time=", 5) != 0)
		return false;
	msg += sizeof mark - 1;
	const char *end = l->start + l->len;
	size_t n = 0;
	for (; msg < end && *msg != '"' && n + 1 < size; msg++) {
		if (*msg == '\\' && msg + 1 < end)
			msg++;
		out[n++] = *msg;
	}
	out[n] = '\0';
	return true;
}

static void plain(const struct line *l, char *out, size_t size)
{
	const char *s = l->start, *end = l->start + l->len;
	const char *stamp = memmem(s, l->len, "Z: ", 3);
	if (stamp && s[0] >= '0' && s[0] <= '9' && stamp - s < 40)
		s = stamp + 3;
	const char *tag = end > s && *s == '[' ? memmem(s, (size_t)(end - s), "]: ", 3) : NULL;
	if (tag)
		s = tag + 3;
	copy(out, size, s, (size_t)(end - s));
}

void rtwords_pick(const char *log, size_t log_len, const char *text, size_t text_len, char *out,
		  size_t size)
{
	struct line l;
	out[0] = '\0';
	bool found = false;
	for (const char *end = log ? log + log_len : NULL; end && !found;) {
		if (!previous_line(log, &end, &l))
			break;
		found = json_error(&l, out, size);
	}
	const char *text_end = text ? text + text_len : NULL;
	if (!found)
		out[0] = '\0';
	if (!found && text && previous_line(text, &text_end, &l) && !json_error(&l, out, size) &&
	    !logrus(&l, out, size))
		plain(&l, out, size);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}
