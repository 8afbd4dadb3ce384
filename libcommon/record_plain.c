/* SPDX-License-Identifier: Apache-2.0 */
#include "record_plain.h"

#include "cgroup.h"
#include "flatjson.h"
#include "xalloc.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	const struct member *members, *next; /* the file has them in the table's order, as a rule */
	void *rec;
	uint64_t seen; /* a bit for each member: twice is damage */
	bool version_known;
};

static bool is_named(const struct flatjson_member *f, const char *name)
{
	return strncmp(name, f->name, f->name_len) == 0 && name[f->name_len] == '\0';
}

static bool is_word(const struct flatjson_member *f, const char *word)
{
	return !f->is_string && f->value_len == strlen(word) &&
	       memcmp(f->value, word, f->value_len) == 0;
}

static bool take_string(const struct flatjson_member *f, char **out)
{
	if (!f->is_string)
		return false;
	for (size_t i = 0; i < f->value_len; i++) {
		unsigned char c = (unsigned char)f->value[i];
		if (c < 0x20 || c >= 0x7f || c == '\\')
			return false;
	}
	*out = xstrndup(f->value, f->value_len);
	return true;
}

static bool take_int(const struct flatjson_member *f, int64_t *out)
{
	char text[24], *end;
	if (f->is_string || f->value_len >= sizeof text)
		return false;
	memcpy(text, f->value, f->value_len);
	text[f->value_len] = '\0';
	/* JSON knows no other digits behind a leading 0, and no sign but one. */
	const char *digits = text + (*text == '-');
	if (*digits < '0' || *digits > '9' || (*digits == '0' && digits[1]))
		return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool take_count(const struct flatjson_member *f, char *counts)
{
	for (const struct cgroup_counter *k = cgroup_counters; k->name; k++)
		if (is_named(f, k->name))
			return take_int(f, (int64_t *)(void *)(counts + k->offset));
	return false;
}

static bool take_value(const struct member *m, char *rec, const struct flatjson_member *f)
{
	void *at = rec + m->offset;
	switch (m->type) {
	case M_STR:
		return take_string(f, at);
	case M_INT:
		return take_int(f, at);
	case M_BOOL:
		*(bool *)at = is_word(f, "true");
		return *(bool *)at || is_word(f, "false");
	case M_LIST:
		*(json_t **)at = json_array();
		return is_word(f, "[]");
	case M_COUNTS:
		break;
	}
	return false;
}

static const struct member *find(const struct reader *r, const struct flatjson_member *f)
{
	if (r->next->name && is_named(f, r->next->name))
		return r->next;
	for (const struct member *m = r->members; m->name; m++)
		if (is_named(f, m->name))
			return m;
	return NULL;
}

static bool take_member(void *arg, const struct flatjson_member *f)
{
	struct reader *r = arg;
	const struct member *m = find(r, f);
	if (m) {
		uint64_t bit = UINT64_C(1) << (m - r->members);
		bool twice = r->seen & bit;
		r->seen |= bit;
		r->next = m + 1;
		return !twice && take_value(m, r->rec, f);
	}
	if (is_named(f, "version")) {
		int64_t version;
		r->version_known = take_int(f, &version) && version == RECORD_VERSION;
		return r->version_known;
	}
	for (m = r->members; m->name; m++)
		if (m->type == M_COUNTS)
			return take_count(f, (char *)r->rec + m->offset);
	return false;
}

static void fill_absent(const struct member *m, char *rec)
{
	for (; m->name; m++) {
		void *at = rec + m->offset;
		if (m->type == M_STR && !*(char **)at)
			*(char **)at = xstrdup("");
		else if (m->type == M_LIST && !*(json_t **)at)
			*(json_t **)at = json_array();
	}
}

bool record_plain_read(const struct member *members, void *rec, const char *text, size_t len)
{
	struct reader r = {.members = members, .next = members, .rec = rec};
	const char *end = text ? flatjson_each(text, len, take_member, &r) : NULL;
	if (!end || !r.version_known)
		return false;
	for (; end < text + len; end++)
		if (*end != '\n' && *end != ' ')
			return false;
	fill_absent(members, rec);
	return true;
}
