/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of user namespaces: ranges, overlaps, limits. */
#include "libcommon/userns_map.c"
#include "tap.h"

#include "jsonx.h"

#include <stdlib.h>
#include <string.h>

enum { LINES = USERNS_LINES_MAX + 1 };

static struct {
	Runtime__V1__IDMapping line[LINES];
	Runtime__V1__IDMapping *list[LINES];
	size_t n;
} map;

/* "inside outside length, …" */
static Runtime__V1__IDMapping **lines(const char *text)
{
	int used;
	map.n = 0;
	for (; map.n < LINES; map.n++, text += used) {
		Runtime__V1__IDMapping *m = &map.line[map.n];
		runtime__v1__idmapping__init(m);
		used = 0;
		if (sscanf(text, "%" SCNu32 " %" SCNu32 " %" SCNu32 " , %n", &m->container_id,
			   &m->host_id, &m->length, &used) < 3)
			break;
		map.list[map.n] = m;
		if (!used)
			used = (int)strlen(text);
	}
	return map.list;
}

/* NULL `text`: refused, with `word` in the message. */
static void maps(const char *what, const char *asked, const char *text, const char *word)
{
	struct err e = {0};
	Runtime__V1__IDMapping **list = lines(asked);
	AUTO_FREE char *got = userns_map(list, map.n, "ids", &e);
	if (text)
		ok(got && strcmp(got, text) == 0, "%s", what);
	else
		ok(!got && e.kind == ERR_BAD_INPUT && strstr(e.msg, word), "%s: %s", what, e.msg);
}

static void test_map(void)
{
	maps("one line", "0 100000 65536", "0 100000 65536\n", NULL);
	maps("neighbours on both sides", "0 1000 10, 10 1010 5, 20 990 10",
	     "0 1000 10\n10 1010 5\n20 990 10\n", NULL);
	maps("up to the last id", "0 0 4294967295", "0 0 4294967295\n", NULL);
	maps("the last id alone is none", "4294967295 0 1", NULL, "go beyond 32 bits");
	maps("beyond the end inside", "2 0 4294967294", NULL, "ids[0]: 4294967294 ids from 2");
	maps("beyond the end outside", "0 4294967000 1000", NULL, "(host: 4294967000)");
	maps("nothing", "0 0 0", NULL, "ids[0].length: 0 maps nothing");
	maps("nothing, later", "0 0 1, 5 5 0", NULL, "ids[1].length");
	maps("the same ids inside", "0 1000 10, 9 2000 1", NULL, "ids[1]: overlaps ids[0]");
	maps("the same ids outside", "0 1000 10, 20 1009 1", NULL, "ids[1]: overlaps ids[0]");
	maps("one within another", "0 1000 100, 200 5000 1, 10 6000 2", NULL,
	     "ids[2]: overlaps ids[0]");
	maps("around another", "50 1000 1, 0 5000 100", NULL, "ids[1]: overlaps ids[0]");
	maps("no line", "", NULL, "0 lines");
}

static void test_limit(void)
{
	struct err e;
	for (size_t i = 0; i < LINES; i++) {
		runtime__v1__idmapping__init(&map.line[i]);
		map.list[i] = &map.line[i];
		map.line[i].container_id = UINT32_MAX - 2 - (uint32_t)i;
		map.line[i].host_id = UINT32_MAX - 2 - (uint32_t)i;
		map.line[i].length = 1;
	}
	AUTO_FREE char *full = userns_map(map.list, USERNS_LINES_MAX, "ids", &e);
	ok(full && strlen(full) == (size_t)USERNS_LINES_MAX * strlen("4294967293 4294967293 1\n"),
	   "as many lines as the kernel takes");
	ok(!userns_map(map.list, LINES, "ids", &e) && strstr(e.msg, "lines, not 1 to"),
	   "one more: %s", e.msg);
}

/* `word` NULL: taken. */
static void pod(const char *what, Runtime__V1__NamespaceMode mode, const char *uids,
		const char *gids, const char *word)
{
	struct err e = {0};
	Runtime__V1__UserNamespace u = RUNTIME__V1__USER_NAMESPACE__INIT;
	Runtime__V1__IDMapping copy[2], *first[2];
	lines(uids);
	u.n_uids = map.n;
	for (size_t i = 0; i < map.n && i < ARRAY_LEN(copy); i++) {
		copy[i] = map.line[i];
		first[i] = &copy[i];
	}
	u.uids = first;
	u.mode = mode;
	u.gids = lines(gids);
	u.n_gids = map.n;
	int r = userns_check(&u, "userns", &e);
	ok(word ? r < 0 && e.kind == ERR_BAD_INPUT && strstr(e.msg, word) : r == 0, "%s: %s", what,
	   e.msg);
	ok(userns_wanted(&u) == (mode == RUNTIME__V1__NAMESPACE_MODE__POD), "%s: wanted", what);
}

#define POD RUNTIME__V1__NAMESPACE_MODE__POD
#define NODE RUNTIME__V1__NAMESPACE_MODE__NODE

static void test_pod(void)
{
	static const char good[] = "0 100000 65536";
	struct err e;
	ok(userns_check(NULL, "userns", &e) == 0 && !userns_wanted(NULL), "none asked for");
	pod("a pod", POD, good, good, NULL);
	pod("no uids", POD, "", good, "userns.uids: 0 lines");
	pod("no gids", POD, good, "", "userns.gids: 0 lines");
	pod("two lines", POD, "0 1000 1, 1 2000 1", good, "userns.uids: 2 lines");
	pod("without root", POD, good, "1 100000 10", "userns.gids[0].container_id: 1");
	pod("an empty line", POD, "0 1 0", good, "userns.uids[0].length");
	pod("too long", POD, good, "0 1 4294967295", "userns.gids[0]");
	pod("the host's", NODE, "", "", NULL);
	pod("the host's with a map", NODE, "", good, "mode NODE has no mappings");
	pod("another mode", RUNTIME__V1__NAMESPACE_MODE__CONTAINER, good, good,
	    "userns.mode: only POD or NODE");
}

static void test_outside(void)
{
	uint32_t id = 7;
	Runtime__V1__IDMapping **list = lines("0 1000 10, 4294967290 5000 5");
	ok(userns_outside(list, map.n, 9, &id) && id == 1009, "the last of a line");
	ok(userns_outside(list, map.n, 4294967294, &id) && id == 5004, "the last line");
	id = 7;
	ok(!userns_outside(list, map.n, 10, &id) && id == 7, "the first beyond a line");
	ok(!userns_outside(list, map.n, 4294967289, &id) &&
		   !userns_outside(list, map.n, UINT32_MAX, &id),
	   "around the last line");
	AUTO_JSON json_t *oci = userns_oci_map(list, map.n);
	AUTO_FREE char *text = json_dumps(oci, JSON_COMPACT);
	ok(text && strcmp(text, "[{\"containerID\":0,\"hostID\":1000,\"size\":10},"
				"{\"containerID\":4294967290,\"hostID\":5000,\"size\":5}]") == 0,
	   "as config.json has it: %s", text);
	ok(userns_same_map(list, 2, list, 2) && !userns_same_map(list, 2, list, 1) &&
		   !userns_same_map(list, 1, list + 1, 1) && userns_same_map(list, 0, list, 0),
	   "the same or not");
}

int main(void)
{
	test_map();
	test_limit();
	test_pod();
	test_outside();
	return tap_done();
}
