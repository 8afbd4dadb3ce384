/* SPDX-License-Identifier: Apache-2.0 */
/* grpc: framing in every fragmentation, timeouts, status messages, codes. */
#include "auto.h"
#include "grpc.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

static struct err err;

/* Feeds `in` in steps; the messages joined by '|' go to out. The last result. */
static int deframe(const void *in, size_t len, size_t step, size_t limit, char *out, bool *within)
{
	struct grpc_deframer d;
	int r = 0;
	size_t at = 0;
	grpc_deframer_init(&d, limit);
	*out = '\0';
	while (at < len && r >= 0) {
		size_t n = len - at < step ? len - at : step;
		const uint8_t *p = (const uint8_t *)in + at;
		at += n;
		do {
			r = grpc_deframe(&d, &p, &n, &err);
			if (r == 1) {
				size_t end = strlen(out);
				memcpy(out + end, d.msg.data ? d.msg.data : "", d.msg.len);
				memcpy(out + end + d.msg.len, "|", 2);
			}
		} while (r == 1 && n);
		if (r == 0 && n)
			abort(); /* "all taken" */
	}
	*within = grpc_deframer_is_within(&d);
	grpc_deframer_release(&d);
	return r;
}

static void test_framing(void)
{
	static const char in[] = "\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1x";
	char out[64];
	bool within;
	for (size_t step = 1; step < sizeof in; step++) {
		int r = deframe(in, sizeof in - 1, step, 3, out, &within);
		ok(r == 1 && !within && strcmp(out, "abc||x|") == 0,
		   "three messages, %zu bytes at a time", step);
	}
	for (size_t cut = 1; cut < 8; cut++)
		ok(deframe(in, cut, 4, 3, out, &within) == 0 && within && !*out, "cut after %zu",
		   cut);
	ok(deframe(in, 8, 4, 3, out, &within) == 1 && !within, "not cut");
	ok(deframe(in, sizeof in - 1, 4, 2, out, &within) < 0 && err.kind == ERR_EXHAUSTED && !*out,
	   "%s", err.msg);
	ok(deframe("\1\0\0\0\0", 5, 5, 9, out, &within) < 0 && err.kind == ERR_FAILED, "%s",
	   err.msg);
	ok(deframe("\2\0\0\0\0", 5, 5, 9, out, &within) < 0 && err.kind == ERR_FAILED, "%s",
	   err.msg);
	ok(deframe("\0\377\377\377\377", 5, 5, 16 << 20, out, &within) < 0 &&
		   err.kind == ERR_EXHAUSTED,
	   "%s", err.msg);
	uint8_t prefix[GRPC_PREFIX_LEN];
	grpc_prefix_write(prefix, 0x01020304);
	ok(memcmp(prefix, "\0\1\2\3\4", 5) == 0, "prefix");
}

static void test_timeout(void)
{
	static const struct {
		const char *s;
		long long ms;
	} good[] = {{"1S", 1000},       {"99999999H", 99999999LL * 3600000},
		    {"2M", 120000},     {"7m", 7},
		    {"1u", 1},          {"1000u", 1},
		    {"1001u", 2},       {"1n", 1},
		    {"0n", 0},          {"99999999n", 100},
		    {"00000001S", 1000}};
	static const char *const bad[] = {"",    "S",   "1",   "123456789S", "1s",
					  "-1S", "1SS", " 1S", "1 S",        "1.5S"};
	static const struct {
		long long ms;
		const char *s;
	} out[] = {{0, "0m"},
		   {-5, "0m"},
		   {1500, "1500m"},
		   {99999999, "99999999m"},
		   {100000000, "100000S"},
		   {100000001, "100001S"},
		   {99999999000LL, "99999999S"},
		   {99999999001LL, "1666667M"},
		   {9223372036854775807LL, "99999999H"}};
	long long ms;
	char text[GRPC_TIMEOUT_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ok(grpc_timeout_parse(good[i].s, &ms) && ms == good[i].ms, "timeout %s", good[i].s);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ok(!grpc_timeout_parse(bad[i], &ms), "not a timeout: '%s'", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++) {
		grpc_timeout_format(out[i].ms, text);
		if (!ok(strcmp(text, out[i].s) == 0, "timeout of %lld ms", out[i].ms))
			printf("# got %s\n", text);
	}
}

static void encodes(const char *text, size_t size, const char *want)
{
	char out[64] = "untouched";
	grpc_message_encode(text, out, size);
	if (!ok(strcmp(out, want) == 0, "encoded to '%s'", want))
		printf("# got %s\n", out);
}

static void decodes(const char *text, const char *want)
{
	char s[64];
	snprintf(s, sizeof s, "%s", text);
	grpc_message_decode(s);
	ok(strcmp(s, want) == 0, "decoded from '%s'", text);
}

static void test_message(void)
{
	encodes("plain text, ~!", 64, "plain text, ~!");
	encodes("100% \n\x7f", 64, "100%25 %0A%7F");
	encodes("\xc3\xa9", 64, "%C3%A9");
	encodes("a\xff", 64, "a%FF");
	encodes("abc", 3, "ab");
	encodes("a\xc3\xa9", 7, "a");
	encodes("a\xc3\xa9", 8, "a%C3%A9");
	encodes("%", 3, "");
	encodes("a", 0, "untouched");
	decodes("100%25 %0a%7F", "100% \n\x7f");
	decodes("%C3%A9", "\xc3\xa9");
	decodes("a%", "a%");
	decodes("a%4", "a%4");
	decodes("%zz%4g%41", "%zz%4gA");
	decodes("a%00b", "ab");
	decodes("\xff", "\xff");
}

static void test_codes(void)
{
	ok(strcmp(grpc_code_name(5), "NOT_FOUND") == 0 &&
		   strcmp(grpc_code_name(16), "UNAUTHENTICATED") == 0 && !grpc_code_name(17) &&
		   !grpc_code_name(-1),
	   "names");
	ok(grpc_code_of_http(404) == GRPC_UNIMPLEMENTED &&
		   grpc_code_of_http(503) == GRPC_UNAVAILABLE &&
		   grpc_code_of_http(302) == GRPC_UNKNOWN,
	   "from HTTP");
	ok(grpc_code_of_reset(8) == GRPC_CANCELLED && grpc_code_of_reset(2) == GRPC_INTERNAL,
	   "from a reset");
	/* The way out and back: every kind, but those that share INTERNAL with FAILED. */
	for (int k = 0; k < ERR_KIND_COUNT; k++) {
		struct err e = {.kind = (enum err_kind)k, .msg = "text"};
		char text[128];
		err_grpc_message(&e, text, sizeof text);
		enum err_kind back = grpc_err_kind(err_grpc_status(&e), text);
		ok(back == e.kind || (e.kind == ERR_USAGE && back == ERR_FAILED), "%s comes back",
		   err_name(&e));
	}
	ok(grpc_err_kind(GRPC_UNKNOWN, "no token") == ERR_FAILED &&
		   grpc_err_kind(GRPC_UNKNOWN, NULL) == ERR_FAILED &&
		   grpc_err_kind(99, "") == ERR_FAILED &&
		   grpc_err_kind(GRPC_UNAUTHENTICATED, "") == ERR_DENIED,
	   "the others");
}

int main(void)
{
	test_framing();
	test_timeout();
	test_message();
	test_codes();
	return tap_done();
}
