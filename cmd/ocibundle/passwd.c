/* SPDX-License-Identifier: Apache-2.0 */
#include "passwd.h"

#include "auto.h"
#include "xalloc.h"

#include <stdlib.h>
#include <string.h>

struct field {
	const char *s;
	size_t len;
};

/* The line that starts at *at, without its end; false at the end of the text. */
static bool next_line(const char *text, size_t len, size_t *at, struct field *line)
{
	if (*at >= len)
		return false;
	const char *start = text + *at, *end = memchr(start, '\n', len - *at);
	line->s = start;
	line->len = end ? (size_t)(end - start) : len - *at;
	*at += line->len + 1;
	if (line->len && line->s[line->len - 1] == '\r')
		line->len--;
	return true;
}

/* Split a line at its first `want` - 1 colons; false when it has fewer. A NUL inside a line could
 * make two readers see two different names, so such lines do not count. */
static bool split(struct field line, struct field *f, size_t want)
{
	if (memchr(line.s, '\0', line.len))
		return false;
	for (size_t i = 0; i < want; i++) {
		const char *colon = memchr(line.s, ':', line.len);
		if (!colon && i + 1 < want)
			return false;
		f[i].s = line.s;
		f[i].len = colon ? (size_t)(colon - line.s) : line.len;
		if (colon) {
			line.len -= f[i].len + 1;
			line.s = colon + 1;
		}
	}
	return true;
}

static bool field_is(struct field f, const char *s)
{
	return strlen(s) == f.len && memcmp(f.s, s, f.len) == 0;
}

static bool field_copy(struct field f, char *out, size_t size)
{
	if (f.len >= size)
		return false;
	memcpy(out, f.s, f.len);
	out[f.len] = '\0';
	return true;
}

bool passwd_parse_id(const char *s, size_t len, uint32_t *id)
{
	uint64_t n = 0;
	if (len == 0 || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	if (n >= UINT32_MAX)
		return false;
	*id = (uint32_t)n;
	return true;
}

bool passwd_find(const char *text, size_t len, const char *name, uint32_t uid,
		 struct passwd_entry *out)
{
	struct field line, f[6];
	size_t at = 0;
	while (next_line(text, len, &at, &line)) {
		/* name:password:uid:gid:comment:home:shell */
		if (!split(line, f, ARRAY_LEN(f)) || f[0].len == 0)
			continue;
		if (!passwd_parse_id(f[2].s, f[2].len, &out->uid) ||
		    !passwd_parse_id(f[3].s, f[3].len, &out->gid))
			continue;
		if (name ? !field_is(f[0], name) : out->uid != uid)
			continue;
		if (field_copy(f[0], out->name, sizeof out->name) &&
		    field_copy(f[5], out->home, sizeof out->home))
			return true;
	}
	return false;
}

bool group_find(const char *text, size_t len, const char *name, uint32_t *gid)
{
	struct field line, f[3];
	size_t at = 0;
	while (next_line(text, len, &at, &line))
		if (split(line, f, ARRAY_LEN(f)) && f[0].len && field_is(f[0], name) &&
		    passwd_parse_id(f[2].s, f[2].len, gid))
			return true;
	return false;
}

void id_set_add(struct id_set *s, uint32_t id)
{
	if (s->count == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->ids = xrealloc(s->ids, s->cap * sizeof *s->ids);
	}
	s->ids[s->count++] = id;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

void id_set_sort(struct id_set *s)
{
	size_t n = 0;
	if (s->count == 0)
		return;
	qsort(s->ids, s->count, sizeof *s->ids, by_id);
	for (size_t i = 1; i < s->count; i++)
		if (s->ids[i] != s->ids[n])
			s->ids[++n] = s->ids[i];
	s->count = n + 1;
}

void id_set_release(struct id_set *s)
{
	free(s->ids);
	*s = (struct id_set){0};
}

static bool is_member(struct field list, const char *user)
{
	while (list.len) {
		const char *comma = memchr(list.s, ',', list.len);
		struct field one = {list.s, comma ? (size_t)(comma - list.s) : list.len};
		if (field_is(one, user))
			return true;
		if (!comma)
			break;
		list.len -= one.len + 1;
		list.s = comma + 1;
	}
	return false;
}

void group_memberships(const char *text, size_t len, const char *user, struct id_set *out)
{
	struct field line, f[4];
	size_t at = 0;
	uint32_t gid;
	/* name:password:gid:member,member */
	while (out->count < PASSWD_GROUPS_MAX && next_line(text, len, &at, &line))
		if (split(line, f, ARRAY_LEN(f)) && f[0].len &&
		    passwd_parse_id(f[2].s, f[2].len, &gid) && is_member(f[3], user))
			id_set_add(out, gid);
}
