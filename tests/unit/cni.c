/* SPDX-License-Identifier: Apache-2.0 */
/* podnet's pure half of CNI: configurations and results, good and hostile. */
#include "cmd/podnet/cni_convert.c"
#include "cmd/podnet/cni_input.c"
#include "cmd/podnet/cni_result.c"
#include "tap.h"

static json_t *parse(const char *text)
{
	json_error_t je;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &je);
	if (!j)
		printf("Bail out! %s: %s\n", text, je.text);
	return j;
}

static const struct {
	const char *conf, *want; /* list, or the error's text when it does not start with { */
} lists[] = {
	{"{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}",
	 "{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}"},
	{"{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"a\",\"mtu\":9}",
	 "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"plugins\":[{\"cniVersion\":\"0.3.1\",\"name\":"
	 "\"n\",\"type\":\"a\",\"mtu\":9}]}"},
	{"{\"cniVersions\":[\"0.4.0\",\"1.1.0\",\"9.0.0\"],\"cniVersion\":\"1.0.0\",\"name\":\"n\","
	 "\"type\":\"a\"}",
	 "{\"cniVersion\":\"1.1.0\",\"cniVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"],"
	 "\"name\":\"n\",\"plugins\":[{\"cniVersions\":[\"0.4.0\","
	 "\"1.1.0\",\"9.0.0\"],\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"a\"}]}"},
	{"{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"disableCheck\":true,\"disableGC\":\"true\","
	 "\"plugins\":[{\"type\":\"a\"}]}",
	 "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"disableCheck\":true,\"disableGC\":true,"
	 "\"plugins\":[{\"type\":\"a\"}]}"},
	{"{\"cniVersions\":[\"9.0.0\",7],\"name\":\"n\",\"type\":\"a\"}", "f: cniVersion: missing"},
	{"[]", "f: expected object, found array"},
	{"{\"name\":\"n\",\"type\":\"a\"}", "f: cniVersion: missing"},
	{"{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"type\":\"a\"}",
	 "f: cniVersion: '0.2.0' is not supported (0.3.1 to 1.1.0 are)"},
	{"{\"cniVersion\":4,\"name\":\"n\",\"type\":\"a\"}", "f: cniVersion: expected string"},
	{"{\"cniVersion\":\"1.0.0\",\"type\":\"a\"}", "f: name: missing"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"../x\",\"type\":\"a\"}",
	 "f: name: '../x' is no network name"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}", "f: neither plugins nor type"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":{}}",
	 "f: plugins: expected array, found object"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[]}",
	 "f: plugins: the list is empty"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},7]}",
	 "f: plugins[1]: expected object, found integer"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{}]}",
	 "f: plugins[0].type: expected string"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"../../bin/sh\"}]}",
	 "f: plugins[0].type: '../../bin/sh' is no plugin name"},
	{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"capabilities\":"
	 "[]}]}",
	 "f: plugins[0].capabilities: expected object"},
};

static void test_lists(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct err e = {.msg = ""};
		AUTO_JSON json_t *doc = parse(lists[i].conf);
		AUTO_JSON json_t *list = cni_list_of(doc, "f", &e);
		bool good = lists[i].want[0] == '{';
		AUTO_JSON json_t *want = good ? parse(lists[i].want) : NULL;
		ok(good ? list && json_equal(list, want) : !list && !strcmp(e.msg, lists[i].want),
		   "list %s%s%s", lists[i].conf, *e.msg ? ": " : "", e.msg);
	}
}

static void test_input(void)
{
	AUTO_JSON json_t *list =
		parse("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\","
		      "\"name\":\"x\","
		      "\"capabilities\":{\"portMappings\":true,\"dns\":false}},{\"type\":\"b\"}]}");
	AUTO_JSON json_t *rt = parse("{\"portMappings\":[1],\"dns\":{},\"bandwidth\":{}}");
	AUTO_JSON json_t *prev = parse("{\"ips\":[]}");
	AUTO_JSON json_t *a = cni_plugin_input(list, 0, rt, NULL);
	AUTO_JSON json_t *b = cni_plugin_input(list, 1, rt, prev);
	AUTO_JSON json_t *want_a = parse("{\"type\":\"a\",\"name\":\"n\",\"cniVersion\":\"1.0.0\","
					 "\"runtimeConfig\":{\"portMappings\":[1]}}");
	AUTO_JSON json_t *want_b = parse("{\"type\":\"b\",\"name\":\"n\",\"cniVersion\":\"1.0.0\","
					 "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[]}}");
	ok(json_equal(a, want_a), "only what a plugin's capabilities ask for is injected");
	ok(json_equal(b, want_b), "prevResult is injected, no empty runtimeConfig");
	ok(json_object_get(json_array_get(json_object_get(list, "plugins"), 0), "capabilities"),
	   "the list itself is left as it was");
}

static const struct {
	const char *result, *want; /* array, or the error's text */
} results[] = {
	{"{\"cniVersion\":\"0.3.1\",\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\","
	 "\"sandbox\":\"/n\"}],\"ips\":[{\"version\":\"4\",\"interface\":1,\"address\":\"10.0.0.2/"
	 "24\",\"gateway\":\"10.0.0.1\"}]}",
	 "[\"10.0.0.2\"]"},
	{"{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"br\",\"mac\":\"x\"},{\"name\":"
	 "\"eth0\",\"sandbox\":\"/n\"},{\"name\":\"eth1\",\"sandbox\":\"/n\"}],\"ips\":[{"
	 "\"interface\":0,\"address\":\"10.0.0.1/24\"},{\"interface\":2,\"address\":\"10.9.0.1/"
	 "24\"},{\"interface\":1,\"address\":\"fd00::2/64\"},{\"interface\":1,\"address\":\"10.0."
	 "0.2/24\"}]}",
	 "[\"fd00::2\", \"10.0.0.2\"]"},
	{"{\"ips\":[{\"address\":\"10.0.0.2/24\"},{\"address\":\"10.0.0.3\",\"interface\":-1}]}",
	 "[\"10.0.0.2\", \"10.0.0.3\"]"},
	{"{}", "[]"},
	{"{\"ips\":null}", "[]"},
	{"{\"ips\":{}}", "result: ips: expected array, found object"},
	{"{\"ips\":[1]}", "result: ips[0]: expected object"},
	{"{\"ips\":[{\"address\":7}]}", "result: ips[0].address: expected string"},
	{"{\"ips\":[{\"address\":\"10.0.0.256/24\"}]}",
	 "result: ips[0].address: '10.0.0.256/24' is no address"},
	{"{\"ips\":[{\"address\":\"1.2.3.4/24\",\"interface\":\"0\"}]}",
	 "result: ips[0].interface: expected integer"},
	{"{\"ips\":[{\"address\":\"1.2.3.4/24\",\"interface\":5}],\"interfaces\":[{}]}",
	 "result: ips[0].interface: no interface 5"},
	{"{\"ips\":[{\"address\":\"1.2.3.4/24\",\"interface\":9223372036854775807}]}",
	 "result: ips[0].interface: no interface 9223372036854775807"},
};

static void test_results(void)
{
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		struct err e = {.msg = ""};
		AUTO_JSON json_t *r = parse(results[i].result);
		AUTO_JSON json_t *ips = cni_result_ips(r, "eth0", &e);
		bool good = results[i].want[0] == '[';
		AUTO_JSON json_t *want = good ? parse(results[i].want) : NULL;
		ok(good ? ips && json_equal(ips, want) : !ips && !strcmp(e.msg, results[i].want),
		   "result %s%s%s", results[i].result, *e.msg ? ": " : "", e.msg);
	}
	AUTO_JSON json_t *many = parse("{\"ips\":[]}");
	for (int i = 0; i < 65; i++)
		json_array_append_new(json_object_get(many, "ips"),
				      json_pack("{s:s}", "address", "1.2.3.4/8"));
	struct err e;
	ok(!cni_result_ips(many, "eth0", &e), "65 addresses are too many");
}

static const struct {
	const char *from, *version, *to;
} conversions[] = {
	{"{\"cniVersion\":\"0.4.0\",\"ips\":[{\"version\":\"4\",\"address\":\"10.0.0.2/24\"}]}",
	 "1.0.0", "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.2/24\"}]}"},
	{"{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.0.2/24\"},{\"address\":\"fd00::2/"
	 "64\"}],"
	 "\"interfaces\":[{\"name\":\"eth0\",\"mtu\":1400,\"socketPath\":\"/"
	 "s\"}],\"routes\":[{\"dst\":"
	 "\"0.0.0.0/0\",\"priority\":5}]}",
	 "0.3.1",
	 "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"address\":\"10.0.0.2/"
	 "24\",\"version\":\"4\"},{\"address\":"
	 "\"fd00::2/"
	 "64\",\"version\":\"6\"}],\"interfaces\":[{\"name\":\"eth0\"}],\"routes\":[{\"dst\":"
	 "\"0.0.0.0/0\"}]}"},
	{"{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"eth0\",\"mtu\":1400}]}", "1.1.0",
	 "{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"eth0\",\"mtu\":1400}]}"},
	{"{\"ips\":[1,{\"address\":7}],\"interfaces\":7,\"routes\":null}", "0.4.0",
	 "{\"ips\":[1,{\"address\":7}],\"interfaces\":7,\"routes\":null,\"cniVersion\":\"0.4.0\"}"},
};

static void test_conversions(void)
{
	for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
		AUTO_JSON json_t *from = parse(conversions[i].from);
		AUTO_JSON json_t *before = json_deep_copy(from);
		AUTO_JSON json_t *want = parse(conversions[i].to);
		AUTO_JSON json_t *to = cni_result_convert(from, conversions[i].version);
		ok(json_equal(to, want) && json_equal(from, before), "as %s: %s",
		   conversions[i].version, conversions[i].from);
	}
}

static void test_answers(void)
{
	static const char *const bad[] = {
		"", "garbage", "[]", "null", "{\"code\":7,\"msg\":\"m\"}", "{\"a\":1,\"a\":2}"};
	struct err e;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_JSON json_t *j = cni_result_parse(bad[i], strlen(bad[i]), &e);
		ok(!j && e.kind == ERR_FAILED, "no result: '%s'", bad[i]);
	}
	AUTO_JSON json_t *good = cni_result_parse("{\"cniVersion\":\"1.0.0\"}", 22, &e);
	ok(good != NULL, "an object is a result");
}

static void test_errors(void)
{
	static const struct {
		const char *out, *err, *want;
		int code;
	} t[] = {
		{"{\"code\":11,\"msg\":\"busy\",\"details\":\"later\"}", "",
		 "busy: later (code 11)", 11},
		{"{\"code\":3,\"msg\":\"no\"}", "x", "no (code 3)", 3},
		{"rubbish", "first\nsecond \n\n", "second", 0},
		{"only out\n", "", "only out", 0},
		{"", "", "no message", 0},
		{"{\"msg\":\"bare\"}", "", "bare (code 0)", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		char text[1024];
		json_int_t code;
		cni_error_text(t[i].out, strlen(t[i].out), t[i].err, strlen(t[i].err), text,
			       sizeof text, &code);
		ok(!strcmp(text, t[i].want) && code == t[i].code, "error text: %s", text);
	}
	ok(cni_version_at_least("1.1.0", "0.4.0") && cni_version_at_least("0.4.0", "0.4.0") &&
		   !cni_version_at_least("0.3.1", "0.4.0"),
	   "versions are ordered");
}

int main(void)
{
	test_lists();
	test_input();
	test_results();
	test_conversions();
	test_answers();
	test_errors();
	return tap_done();
}
