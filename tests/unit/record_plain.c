/* SPDX-License-Identifier: Apache-2.0 */
/* Plain records: what is read without jansson is exactly what jansson would have read. */
#include "record_plain.h"

#include "cgroup.h"
#include "jsonx.h"
#include "tap.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct sample {
	char *name, *other;
	json_t *list;
	int64_t n, big;
	bool yes, no;
	struct cgroup_counts used;
};

static const struct member members[] = {{"name", M_STR, offsetof(struct sample, name)},
					{"list", M_LIST, offsetof(struct sample, list)},
					{"n", M_INT, offsetof(struct sample, n)},
					{"used", M_COUNTS, offsetof(struct sample, used)},
					{"yes", M_BOOL, offsetof(struct sample, yes)},
					{"no", M_BOOL, offsetof(struct sample, no)},
					{"big", M_INT, offsetof(struct sample, big)},
					{"other", M_STR, offsetof(struct sample, other)},
					{NULL, M_STR, 0}};

static const char whole[] = "{\"version\":1,\"name\":\"a-b:c d\",\"list\":[],\"n\":-12,"
			    "\"peak_memory\":7,\"yes\":true,\"no\":false,"
			    "\"big\":1795541232757845417,\"other\":\"\"}\n";

static void release(struct sample *s)
{
	free(s->name);
	free(s->other);
	json_decref(s->list);
	*s = (struct sample){0};
}

static bool reads(struct sample *s, const char *text, size_t len)
{
	*s = (struct sample){0};
	if (record_plain_read(members, s, text, len))
		return true;
	release(s);
	return false;
}

static bool same_string(json_t *j, const char *key, const char *have)
{
	const char *want = json_string_value(json_object_get(j, key));
	return strcmp(have, want ? want : "") == 0;
}

/* What jansson makes of the text; false as well when it refuses it. */
static bool agrees(const struct sample *s, const char *text, size_t len)
{
	AUTO_JSON json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	return j && same_string(j, "name", s->name) && same_string(j, "other", s->other) &&
	       json_integer_value(json_object_get(j, "version")) == RECORD_VERSION &&
	       json_integer_value(json_object_get(j, "n")) == s->n &&
	       json_integer_value(json_object_get(j, "big")) == s->big &&
	       json_is_true(json_object_get(j, "yes")) == s->yes &&
	       json_is_true(json_object_get(j, "no")) == s->no && json_array_size(s->list) == 0;
}

static void test_values(void)
{
	struct sample s;
	const char *least = "{\"version\":1}";
	ok(reads(&s, whole, sizeof whole - 1) && strcmp(s.name, "a-b:c d") == 0 && s.n == -12 &&
		   s.yes && !s.no && s.big == 1795541232757845417,
	   "every kind of value");
	ok(s.used.peak_memory == 7, "a counter");
	release(&s);
	ok(reads(&s, least, strlen(least)) && !*s.name && !*s.other && s.list && s.n == 0,
	   "what is absent is empty");
	release(&s);
}

static void test_left_to_jansson(void)
{
	struct sample s;
	const char *const other[] = {"",
				     "{}",
				     "{\"version\":2}",
				     "{\"version\":1,\"name\":\"\\n\"}",
				     "{\"version\":1,\"name\":\"\xc3\xa9\"}",
				     "{\"version\":1,\"list\":[\"x\"]}",
				     "{\"version\":1,\"n\":1.5}",
				     "{\"version\":1,\"n\":99999999999999999999}",
				     "{\"version\":1,\"name\":null}",
				     "{\"version\":1,\"n\":1,\"n\":2}",
				     "{\"version\":1,\"new\":{}}",
				     "{\"version\":1} {}"};
	for (size_t i = 0; i < sizeof other / sizeof *other; i++)
		ok(!reads(&s, other[i], strlen(other[i])), "is left to jansson: %s", other[i]);
}

/* Each byte of a record replaced, left out or doubled. */
static void test_damage(void)
{
	static const char bytes[] = "\"\\{}[],:01-+.etx\x01\x7f\x80 \n\t";
	size_t len = sizeof whole - 1, accepted = 0, wrong = 0;
	char text[sizeof whole + 1];
	struct sample s;
	for (size_t i = 0; i < len; i++) {
		for (size_t k = 0; k < sizeof bytes + 2; k++) {
			size_t skip = k == sizeof bytes, twice = k == sizeof bytes + 1;
			memcpy(text, whole, i + 1);
			memcpy(text + i + twice, whole + i + skip, len - i - skip);
			if (k < sizeof bytes)
				text[i] = bytes[k];
			if (!reads(&s, text, len - skip + twice))
				continue;
			accepted++;
			if (!agrees(&s, text, len - skip + twice)) {
				wrong++;
				printf("# jansson reads otherwise: %.*s\n",
				       (int)(len - skip + twice), text);
			}
			release(&s);
		}
	}
	ok(wrong == 0 && accepted > len, "%zu damaged records were read as jansson reads them",
	   accepted);
}

int main(void)
{
	test_values();
	test_left_to_jansson();
	test_damage();
	return tap_done();
}
