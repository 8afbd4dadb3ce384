/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as JSON: what scalars are, aliases and merges, and that hostile documents stay small. */
#include "tap.h"
#include "yamljson.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *yaml, *want; /* all documents, or the error when it does not start with [ */
} cases[] = {
	{"a: 1\nb: -2\nc: 010\nd: 0x1f\ne: 1.5\nf: '1'\ng:\nh: ~\n",
	 "[{\"a\":1,\"b\":-2,\"c\":8,\"d\":31,\"e\":\"1.5\",\"f\":\"1\",\"g\":null,\"h\":null}]"},
	{"[yes, No, on, OFF, y, 'yes', true, yess, 100m, 1e3, 9223372036854775807]",
	 "[[true,false,true,false,true,\"yes\",true,\"yess\",\"100m\",\"1e3\",\"9223372036854775807"
	 "\"]]"},
	{"a: |\n  x\n  y\nb: >-\n  x\n  y\n", "[{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}]"},
	{"--- # nothing\n---\na: 1\n...\n---\nb: 2\n", "[{\"a\":1},{\"b\":2}]"},
	{"", "[]"},
	{"a: &x {k: v}\nb: *x\nc: [*x, *x]\n",
	 "[{\"a\":{\"k\":\"v\"},\"b\":{\"k\":\"v\"},\"c\":[{\"k\":\"v\"},{\"k\":\"v\"}]}]"},
	{"a: &x {k: v, l: w}\nb:\n  <<: *x\n  k: own\n",
	 "[{\"a\":{\"k\":\"v\",\"l\":\"w\"},\"b\":{\"k\":\"own\",\"l\":\"w\"}}]"},
	{"a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}\n",
	 "[{\"a\":{\"k\":1},\"b\":{\"k\":2,\"m\":3},\"c\":{\"k\":1,\"m\":3}}]"},
	{"a: &x 1\n---\nb: *x\n", "f: line 3: an alias without its anchor"},
	{"a: &x [*x]\n", "f: line 1: an alias without its anchor"},
	{"a: {<<: 3}\n", "f: line 1: a merge of what is no map"},
	{"a: 1\na: 2\n", "f: line 2: a key that comes twice"},
	{"a: !!str 1\n", "f: line 1: tags are not supported"},
	{"a: [1\nb: 2\n", "f: line 2: did not find expected ',' or ']'"},
	{"? [a]\n: 1\n", "f: line 1: a key that is not a word"},
	{"a: \"\\0\"\n", "f: line 1: a NUL in a text"},
};

static void check(const char *yaml, const char *want)
{
	struct err e = {.msg = ""};
	json_t *j = yaml_to_json_all(yaml, strlen(yaml), "f", &e);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (!ok(strcmp(text ? text : e.msg, want) == 0, "%.40s", yaml))
		printf("# got %s\n", text ? text : e.msg);
	free(text);
	json_decref(j);
}

/* Each line ten times the one before: by names alone 10^9 nodes. */
static void test_bomb(void)
{
	char text[4096];
	size_t n = (size_t)snprintf(text, sizeof text, "a0: &a0 [x]\n");
	for (int i = 1; i < 10; i++) {
		n += (size_t)snprintf(text + n, sizeof text - n, "a%d: &a%d [", i, i);
		for (int k = 0; k < 10; k++)
			n += (size_t)snprintf(text + n, sizeof text - n, "*a%d,", i - 1);
		n += (size_t)snprintf(text + n, sizeof text - n, "]\n");
	}
	check(text, "f: line 6: too large or nested too deep");
}

/* One long text, many times: few nodes, many bytes. */
static void test_heavy(void)
{
	enum { LONG = 1 << 20, TIMES = 40 };
	char *text = malloc(LONG + TIMES * 8 + 64);
	if (!text)
		return;
	size_t n = (size_t)sprintf(text, "a: &a ");
	memset(text + n, 'x', LONG);
	n += LONG;
	n += (size_t)sprintf(text + n, "\nb: [");
	for (int i = 0; i < TIMES; i++)
		n += (size_t)sprintf(text + n, "*a,");
	sprintf(text + n, "]\n");
	check(text, "f: line 2: too large or nested too deep");
	free(text);
}

static void test_deep(void)
{
	char text[256];
	memset(text, '[', 100);
	text[100] = '\0';
	check(text, "f: line 1: too large or nested too deep");
	/* Shallow where it stands, deep through aliases. */
	size_t n = (size_t)snprintf(text, sizeof text, "a: &a [[[[[[[[[[x]]]]]]]]]]\n");
	for (int i = 0; i < 3; i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
				      "%c: &%c [[[[[[[[[[*%c]]]]]]]]]]\n", 'b' + i, 'b' + i,
				      'a' + i);
	check(text, "f: line 3: too large or nested too deep");
}

int main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check(cases[i].yaml, cases[i].want);
	test_bomb();
	test_heavy();
	test_deep();
	return tap_done();
}
