/* SPDX-License-Identifier: Apache-2.0 */
#include "tool_format.h"

#include "auto.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tool_format_check(const char *format, struct err *e)
{
	for (const char *s = format ? format : ""; *s; s++) {
		if (*s == '\\' && (!s[1] || !strchr("nt\\", s[1])))
			return err_set(e, ERR_USAGE, "--format: '%.2s' is not \\n, \\t or \\\\", s);
		if (*s == '\\' || strncmp(s, "{{", 2) == 0) {
			s++;
			continue;
		}
		if (*s != '{')
			continue;
		size_t n = strcspn(s + 1, "{}");
		if (n == 0 || s[1 + n] != '}')
			return err_set(e, ERR_USAGE,
				       "--format: '%.40s' begins with no {name} ({{ is a brace)",
				       s);
		s += n + 1;
	}
	return 0;
}

/* The member at a path of n bytes; NULL = none. */
static const json_t *member(const json_t *j, const char *path, size_t n)
{
	for (const char *end = path + n; j && path <= end;) {
		const char *dot = memchr(path, '.', (size_t)(end - path));
		size_t len = (size_t)((dot ? dot : end) - path);
		char key[256];
		if (len >= sizeof key)
			return NULL;
		memcpy(key, path, len);
		key[len] = '\0';
		long i;
		if (!json_is_array(j))
			j = json_object_get(j, key);
		else if (tool_parse_long(key, &i) == 0 && i >= 0)
			j = json_array_get(j, (size_t)i);
		else
			j = NULL;
		path += len + 1;
	}
	return j;
}

static void print_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

static void print_value(const json_t *j)
{
	if (json_is_string(j)) {
		print_text(json_string_value(j));
	} else if (j && !json_is_null(j)) {
		AUTO_FREE char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
		print_text(text ? text : "");
	}
}

void tool_format_print(const char *format, const json_t *row)
{
	size_t i;
	const json_t *item;
	for (const char *s = format; *s; s++) {
		if (*s == '\\') {
			s++;
			putchar(*s == 'n' ? '\n' : *s == 't' ? '\t' : *s);
			continue;
		}
		if (*s != '{' || s[1] == '{') {
			putchar(*s);
			s += *s == '{';
			continue;
		}
		size_t n = strcspn(s + 1, "}");
		const json_t *j = member(row, s + 1, n);
		s += n + 1;
		if (!json_is_array(j)) {
			print_value(j);
			continue;
		}
		json_array_foreach ((json_t *)j, i, item) {
			if (i > 0)
				putchar(' ');
			print_value(item);
		}
	}
	putchar('\n');
}
