/* SPDX-License-Identifier: Apache-2.0 */
/* err, buf, utf8, digest, jsonx: the values everything else is made of. */
#include "auto.h"
#include "buf.h"
#include "digest.h"
#include "err.h"
#include "jsonx.h"
#include "tap.h"
#include "tool.h"
#include "utf8.h"

#include <string.h>

static void test_err(void)
{
	struct err e;
	char text[64];
	ok(err_set(&e, ERR_NOT_FOUND, "no such %s", "pod") == -1, "err_set returns -1");
	ok(err_exit_status(&e) == 3 && err_grpc_status(&e) == 5, "NOT_FOUND is exit 3, gRPC 5");
	err_wrap(&e, "start %s", "web");
	ok(strcmp(e.msg, "start web: no such pod") == 0, "wrap puts the context first: %s", e.msg);
	ok(e.kind == ERR_NOT_FOUND, "wrap keeps the kind");
	errno = ENOSPC;
	err_sys(&e, "write %s", "x");
	ok(e.kind == ERR_EXHAUSTED && e.errnum == ENOSPC, "ENOSPC is EXHAUSTED");
	ok(strcmp(e.msg, "write x: No space left on device") == 0, "errno's text is added: %s",
	   e.msg);
	err_set(&e, ERR_REGISTRY, "dial");
	err_grpc_message(&e, text, sizeof text);
	ok(strcmp(text, "RegistryUnavailable: dial") == 0, "the kubelet's token comes first");
	for (int k = 0; k < ERR_KIND_COUNT; k++) {
		e.kind = (enum err_kind)k;
		ok(err_kind_of_exit(err_exit_status(&e)) == e.kind, "exit status of %s is its own",
		   err_name(&e));
		ok(err_kind_of_name(err_name(&e)) == e.kind, "name %s leads back", err_name(&e));
	}
	ok(err_kind_of_exit(77) == ERR_FAILED, "an unknown status is FAILED");
	memset(text, 'a', sizeof text);
	text[63] = 0;
	for (int i = 0; i < 40; i++)
		err_wrap(&e, "%s", text);
	ok(strlen(e.msg) < sizeof e.msg && e.msg[0] == 'a', "a long chain keeps its head");
}

static void test_buf(void)
{
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(10);
	ok(buf_addf(&b, &e, "%d-%s", 7, "ab") == 0 && strcmp(b.data, "7-ab") == 0, "addf");
	ok(buf_add(&b, "123456", 6, &e) == 0 && b.len == 10, "up to the limit");
	ok(buf_add(&b, "x", 1, &e) == -1 && e.kind == ERR_EXHAUSTED, "one more is EXHAUSTED");
	ok(b.len == 10 && memcmp(b.data, "7-ab123456", 11) == 0, "the contents stay");
	buf_consume(&b, 5);
	ok(strcmp(b.data, "23456") == 0, "consume drops the head");
	char *s = buf_take(&b);
	ok(strcmp(s, "23456") == 0 && b.len == 0 && !b.data, "take hands over");
	free(s);
	s = buf_take(&b);
	ok(s && !*s, "take of an empty buffer is an empty string");
	free(s);
}

static void test_utf8(void)
{
	static const struct {
		const char *s;
		size_t n;
	} cases[] = {
		{"a", 1},
		{"\xc3\xa9", 2},
		{"\xe2\x82\xac", 3},
		{"\xf0\x9f\x98\x80", 4},
		{"\xc0\x80", 0},
		{"\xe0\x80\x80", 0},
		{"\xed\xa0\x80", 0},
		{"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0},
		{"\xe2\x82", 0},
		{"\x80", 0},
		{"\xff", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ok(utf8_sequence(cases[i].s, strlen(cases[i].s)) == cases[i].n, "utf8 case %zu", i);
	ok(utf8_valid("gr\xc3\xbc\xc3\x9f", 6) && !utf8_valid("a\xff", 2), "utf8_valid");
}

static void test_digest(void)
{
	struct err e;
	char hex[DIGEST_HEX_LEN + 1];
	digest_of("abc", 3, hex);
	ok(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
	   "FIPS 180-4 example");
	ok(!digest_parse("sha512:00", &e) && e.kind == ERR_BAD_INPUT,
	   "other algorithms are refused");
	ok(!digest_parse("sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			 &e),
	   "upper case is refused");
	ok(digest_is_hex(hex) && !digest_is_hex("../x"), "digest_is_hex");
}

static void test_json(void)
{
	struct err e;
	static const char doc[] = "{\"config\":{\"size\":\"12\"},\"n\":5}";
	AUTO_JSON json_t *j = jsonx_parse(doc, sizeof doc - 1, "manifest", &e);
	ok(j != NULL, "parse");
	ok(!jsonx_get(j, "manifest", JSON_INTEGER, &e, "config", "size", NULL), "wrong type");
	ok(strcmp(e.msg, "manifest: config.size: expected integer, found string") == 0,
	   "names the path: %s", e.msg);
	ok(!jsonx_get(j, "manifest", JSON_STRING, &e, "config", "nope", NULL), "missing");
	ok(strcmp(e.msg, "manifest: config.nope: missing") == 0, "names what is missing: %s",
	   e.msg);
	AUTO_JSON json_t *dup = jsonx_parse("{\"a\":1,\"a\":2}", 13, "x", &e);
	ok(!dup && e.kind == ERR_BAD_INPUT, "duplicate keys are refused");
	AUTO_JSON json_t *none = jsonx_parse(NULL, 0, "empty", &e);
	ok(!none, "an empty document is an error");
}

static void test_numbers(void)
{
	long n;
	double d;
	ok(tool_parse_long("-12", &n) == 0 && n == -12, "a number");
	ok(tool_parse_long("12x", &n) == -1 && tool_parse_long("", &n) == -1, "not a number");
	ok(tool_parse_long("99999999999999999999", &n) == -1, "overflow is an error");
	ok(tool_parse_seconds("0.5", &d) == 0 && d == 0.5, "seconds");
	ok(tool_parse_seconds("-1", &d) == -1 && tool_parse_seconds("nan", &d) == -1 &&
		   tool_parse_seconds("inf", &d) == -1,
	   "negative, nan and inf are no seconds");
}

int main(void)
{
	test_err();
	test_buf();
	test_utf8();
	test_digest();
	test_json();
	test_numbers();
	return tap_done();
}
